"""Every limit of a sandbox: what a command, a sandbox and a run may use, and their defaults.

Nothing else in this package sets one; the factories and the supervisor enforce what stands here.
How each is enforced is in docs/sandbox.md, "What is promised".
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import record

MAX_WORKSPACE_BYTES = 64 << 20  # the seeds of article 32 stay below 1 MiB
MAX_WORKSPACE_PATHS = 10_000

# What a workspace's names may be, and its listing; beyond that it is too large to read back.
MAX_PATH_BYTES = 4000  # the kernel takes 4095, the sandbox's own folder included
MAX_NAME_BYTES = 255  # of one part of a path
MAX_LISTING_BYTES = 1 << 20  # all paths together
# Processor time for listing or reading back: links through links can make either take minutes. The
# largest workspace takes half a second. It is not time by the clock: a busy machine changes no
# result.
READING_S = 2.5


@record
class CommandLimits:
    """What one command may use.

    Attributes:
        timeout_s: wall clock, seconds; article 32, section "The sandbox".
        output_bytes: of each stream, how many bytes are kept from its beginning; the rest is read
            and dropped, so that a full pipe never blocks the command.
    """

    timeout_s: float = 10.0
    output_bytes: int = 1 << 20


@record
class SandboxLimits:
    """What one sandbox may use; a command that meets a limit fails, and the sandbox lives on.

    Attributes:
        memory_mib: all processes together, MiB.
        processes: how many at once.
        cpus: processor time, in cores.
        workspace_bytes: how much `Sandbox.snapshot` reads back.
        workspace_paths: how many files and empty directories it reads back.
    """

    memory_mib: int = 512
    processes: int = 64
    cpus: float = 1.0
    workspace_bytes: int = MAX_WORKSPACE_BYTES
    workspace_paths: int = MAX_WORKSPACE_PATHS


# A run in a container asks the harness for its sandboxes (`harness.runtime.sandbox_server`) and may
# tighten the limits above, never loosen them; a command may take longer, up to this.
MAX_SANDBOXES = 64  # of one run at once; the articles run 16 rollouts at a time
MAX_SANDBOX = SandboxLimits()
MAX_COMMAND = CommandLimits(timeout_s=600.0)

# the file systems beside the workspace: held in memory, emptied after every command
TMP_BYTES, TMP_INODES = 64 << 20, 4096
SHM_BYTES, SHM_INODES = 16 << 20, 256

_OPEN_FILES = 256
_LOCKED_BYTES = 64 << 10  # mlock
_SUPERVISOR_BYTES = 48 << 20  # Python with its modules: 25 MiB; and a listing
_PAGE_BYTES = 4096
_INODES_PER_PATH = 4  # a path may need directories of its own
_INODES_OF_EMPTY = 64


def workspace_bytes(limits: SandboxLimits) -> int:
    """Return the size of a workspace's file system, bytes: each file takes whole pages."""
    return limits.workspace_bytes + limits.workspace_paths * _PAGE_BYTES


def workspace_inodes(limits: SandboxLimits) -> int:
    """Return how many files and directories the file system of a workspace can hold."""
    return limits.workspace_paths * _INODES_PER_PATH + _INODES_OF_EMPTY


def memory_bytes(limits: SandboxLimits) -> int:
    """Return the memory limit of a whole sandbox: it must survive when its file systems are full.

    Files in memory count as memory. When the commands have ended, the supervisor reads the
    workspace back, and for a moment holds it twice.
    """
    return commands_bytes(limits) + _SUPERVISOR_BYTES


def commands_bytes(limits: SandboxLimits) -> int:
    """Return how much of `memory_bytes` the commands and all files of a sandbox may take."""
    file_systems = workspace_bytes(limits) + TMP_BYTES + SHM_BYTES
    at_rest = file_systems + 2 * limits.workspace_bytes
    return max(limits.memory_mib << 20, at_rest)


def resource_limits(limits: SandboxLimits) -> Mapping[str, int]:
    """Return the resource limits of every process of a command: name in `resource` -> value."""
    return {
        "core": 0,
        "fsize": workspace_bytes(limits),
        "nofile": _OPEN_FILES,
        "memlock": _LOCKED_BYTES,
        "msgqueue": 0,
    }
