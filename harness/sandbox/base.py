"""The protocol between an agent's turn and the box its command runs in.

Article 32 runs ``bash -c COMMAND`` on the host, with inherited standard input and no isolation. A
box of this protocol keeps what decides a result (the shell, the working directory, the time limit,
exit code 124) and differs in what must not: standard input is empty, the environment is fixed,
nothing outside the workspace can be changed, there is no network, and no process outlives `run`.

What every backend owes is tested by one suite, on all of them.
"""

from __future__ import annotations

from typing import Protocol, Self

from harness.errors import HostError
from harness.records import record
from harness.sandbox.workspace import MAX_BYTES, MAX_PATHS, Workspace

TIMED_OUT = 124  # the exit code that `timeout` gives, and article 32 with it


class SandboxUnavailable(HostError):  # noqa: N818 - a state of the machine
    """The box could not be made, or broke: nothing is said about the command. Never a failed one.

    A backend raises this, and only this, for whatever is not the command's own doing: no daemon,
    no user namespaces, a full disk of the host, a box that somebody else ended.
    """


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
class BoxLimits:
    """What one box may use; a command that meets a limit fails, and the box lives on.

    Attributes:
        memory_mib: of all its processes together, MiB.
        processes: how many at once.
        cpus: how many cores' worth of time.
        workspace_bytes: how much `snapshot` reads back.
        workspace_paths: how many files and empty directories it reads back.
    """

    memory_mib: int = 512
    processes: int = 64
    cpus: float = 1.0
    workspace_bytes: int = MAX_BYTES
    workspace_paths: int = MAX_PATHS


@record
class CommandResult:
    """What one command did.

    Attributes:
        exit_code: as the shell reports it; `TIMED_OUT` when the limit ended it, 128 + n for
            signal n.
        stdout: decoded as UTF-8, bytes that are not UTF-8 replaced.
        stderr: the same.
        timed_out: the time limit ended it, and with it every process that it had started.
        truncated: one of the streams was longer than `CommandLimits.output_bytes`.
        wall_s: how long it ran, seconds.
    """

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool = False
    truncated: bool = False
    wall_s: float = 0.0


class Sandbox(Protocol):
    """One box with one workspace; it exists between ``__enter__`` and ``__exit__``.

    Nothing starts in ``__init__``. A box is used by one thread at a time. Every method but
    `destroy` raises `SandboxUnavailable` when the box is not there.
    """

    def __enter__(self) -> Self:
        """Make the box, with an empty workspace."""
        ...

    def __exit__(self, *_: object) -> None:
        """Destroy the box, however the block ended."""
        ...

    def materialise(self, workspace: Workspace) -> None:
        """Make the workspace hold exactly `workspace`; whatever was there, and ran, is gone.

        Raises:
            InputError: `workspace_problems` finds any; the box is left as it was.
        """
        ...

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008 - frozen
        """Run ``bash -c command`` in the workspace's root and wait until all it started has ended.

        Standard input is empty. The environment is ``PATH=/usr/bin:/bin``, ``HOME`` (the
        workspace's root) and ``LANG=C.UTF-8``, nothing else. Processes left in the background are
        ended when the shell exits. A text that is no valid shell is the shell's own failure.
        """
        ...

    def list(self) -> tuple[str, ...]:
        """Return the sorted paths of the workspace, as `snapshot` would."""
        ...

    def snapshot(self) -> Workspace:
        """Return what the workspace holds now; links are treated as in `workspace.read_tree`.

        Modes do not count: a file that the agent made unreadable is read all the same.

        Raises:
            WorkspaceOverflow: the agent left more than `BoxLimits` allows.
        """
        ...

    def reset(self) -> None:
        """Make the workspace hold again what `materialise` last put there (nothing, if never)."""
        ...

    def destroy(self) -> None:
        """End every process of the box and remove it; a second time does nothing."""
        ...
