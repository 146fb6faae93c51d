"""What a command finds in every box, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import record
from harness.sandbox.base import BoxLimits

WORKSPACE = "/workspace"
HOST_NAME = "box"
NOBODY = 65534
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": WORKSPACE, "LANG": "C.UTF-8"}

TMP_BYTES, TMP_INODES = 64 << 20, 4096
SHM_BYTES, SHM_INODES = 16 << 20, 256
_KEEPER_BYTES = 48 << 20  # Python with its modules: 25 MiB
_PAGE_BYTES = 4096
_INODES_PER_PATH = 4  # a path may need directories of its own
_INODES_OF_EMPTY = 64


@record
class Disk:
    """A file system in memory, with a bound on what it holds.

    Attributes:
        path: where the keeper mounts it.
        size_bytes: of all files, each rounded up to whole pages.
        inodes: how many files, directories and links.
    """

    path: str
    size_bytes: int
    inodes: int


@record
class Place:
    """What a keeper is told of its box.

    Attributes:
        base: what a command's ``/`` is to the keeper, as far as the disks go; empty where both see
            the same. The keeper reads and writes the workspace from there, so that links lead it
            where they lead a command.
        scratch: directories that are emptied after every command.
        prefix: what a command's shell is started through; empty where the keeper is in the box.
        disks: what the keeper mounts; empty where it finds everything made.
        files: small files that the keeper writes before anything runs: path -> text.
        user: whom a command runs as; None for whom the keeper is.
        limits: resource limits of a command, by the end of their names in `resource`.
        memory_bytes: what the processes may hold together, looked at by the keeper; None where
            the kernel holds them to it.
        seccomp: the filter, in hex.
        environment: all that a command finds in its environment.
    """

    base: str = ""
    scratch: tuple[str, ...]
    prefix: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    files: Mapping[str, str]
    user: int | None = None
    limits: Mapping[str, int]
    memory_bytes: int | None = None
    seccomp: str
    environment: Mapping[str, str]


def workspace_bytes(limits: BoxLimits) -> int:
    """Return how large the disk of a workspace is: each file takes whole pages."""
    return limits.workspace_bytes + limits.workspace_paths * _PAGE_BYTES


def workspace_inodes(limits: BoxLimits) -> int:
    """Return how many files and directories the disk of a workspace can hold."""
    return limits.workspace_paths * _INODES_PER_PATH + _INODES_OF_EMPTY


def memory_bytes(limits: BoxLimits) -> int:
    """Return what a box as a whole may hold: it must live when its disks are full.

    Files in memory are its commands' memory; when those have ended, its keeper reads the workspace
    back, and holds it twice for a moment.
    """
    disks = workspace_bytes(limits) + TMP_BYTES + SHM_BYTES
    at_rest = disks + 2 * limits.workspace_bytes
    return max(limits.memory_mib << 20, at_rest) + _KEEPER_BYTES


def command_limits(limits: BoxLimits) -> Mapping[str, int]:
    """Return the resource limits of every process of a command, by `resource`'s names."""
    return {
        "core": 0,
        "fsize": workspace_bytes(limits),
        "nofile": 256,
        "memlock": 64 << 10,
        "msgqueue": 0,
    }
