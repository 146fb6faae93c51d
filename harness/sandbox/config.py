"""What a supervisor is told of its sandbox, and what a command finds in every sandbox."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import record

WORKSPACE = "/workspace"
HOST_NAME = "sandbox"
NOBODY = 65534
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": WORKSPACE, "LANG": "C.UTF-8"}


@record
class Disk:
    """A file system in memory of bounded size.

    Attributes:
        path: where the supervisor mounts it.
        size_bytes: of all files, each rounded up to whole pages.
        inodes: how many files, directories and links.
    """

    path: str
    size_bytes: int
    inodes: int


@record
class SupervisorConfig:
    """How one sandbox is laid out, as its supervisor sees it.

    Attributes:
        root: the directory that holds what a command sees at ``/``, as far as the disks go; empty
            where supervisor and command share one root. The supervisor reads and writes the
            workspace from there, so that links lead it where they lead a command.
        scratch: directories that are emptied after every command.
        prefix: the program, with arguments, that starts a command's shell, such as bubblewrap;
            empty where the supervisor is inside the sandbox.
        disks: what the supervisor mounts; empty where everything is mounted already.
        files: small files that the supervisor writes before anything runs: path -> text.
        user: the user id of a command; None for the supervisor's own.
        resource_limits: of a command: name in `resource`, without ``RLIMIT_`` -> value.
        memory_bytes: what the processes may hold together, where the supervisor must check it; None
            where the kernel enforces it.
        seccomp: the filter (`harness.sandbox.seccomp`), in hex.
        environment: the whole environment of a command.
    """

    root: str = ""
    scratch: tuple[str, ...]
    prefix: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    files: Mapping[str, str]
    user: int | None = None
    resource_limits: Mapping[str, int]
    memory_bytes: int | None = None
    seccomp: str
    environment: Mapping[str, str]
