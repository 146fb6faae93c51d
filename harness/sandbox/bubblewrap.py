"""Boxes made with bubblewrap: fast, and on any Linux machine that lets its users have namespaces.

A box's keeper is process 1 of a pid namespace and sees the machine as it is; in its own mount
namespace it has the box's disks, in memory. Every command gets a bubblewrap of its own: new
namespaces of every kind, another user, ``/usr`` to read and the box's disks to write. So nothing of
a box is on the machine's disk, and nothing is left of it when its keeper has ended.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.sandbox import seccomp
from harness.sandbox.base import BoxLimits, SandboxUnavailable
from harness.sandbox.cgroups import Bounds, ControlGroup, make_group
from harness.sandbox.channel import Link, keeper_command
from harness.sandbox.commands import FILTER_FD, STATUS_FD
from harness.sandbox.mounts import (
    ENVIRONMENT,
    HOST_NAME,
    NOBODY,
    SHM_BYTES,
    SHM_INODES,
    TMP_BYTES,
    TMP_INODES,
    WORKSPACE,
    Disk,
    Place,
    command_limits,
    memory_bytes,
    workspace_bytes,
    workspace_inodes,
)
from harness.sandbox.supervised import Box
from harness.variables import RUN_VARIABLE

_DISKS = "/dev/shm"  # noqa: S108 - a place every machine has; only the keeper sees what is put there
_OWN_PROCESSES = 3  # the keeper, and bubblewrap outside and inside its namespaces
_KEEPER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ETC = {
    "passwd": f"nobody:x:{NOBODY}:{NOBODY}:nobody:{WORKSPACE}:/bin/bash\n",
    "group": f"nogroup:x:{NOBODY}:\n",
}
_SAID_ALWAYS = (
    "unshare: sigprocmask unblock failed: Invalid argument"  # util-linux 2.38, at its end
)
# ids that systemd's list of users and groups leaves to nobody
_FIRST_USER, _NUM_USERS = 0x7000_0000, 0x0FFE_0000
_users = itertools.count()


class Bubblewrap:
    """Makes boxes with bubblewrap.

    Args:
        limits: of each box.
        use_groups: hold boxes by control groups where this user may make them; else each process
            is held to the memory by itself, and their sum looked at.
    """

    def __init__(self, limits: BoxLimits = BoxLimits(), *, use_groups: bool = True) -> None:  # noqa: B008 - frozen
        self.limits = limits
        self._use_groups = use_groups

    def box(self) -> Box:
        """Return a box that has not been entered."""
        return Box(self)

    def open(self) -> Link:
        """Start a keeper, and try a command.

        Raises:
            SandboxUnavailable: this machine has no bubblewrap, or its user no namespaces.
        """
        programs = {name: _program(name) for name in ("bwrap", "unshare")}
        filter_ = seccomp.program()
        bounds = Bounds(
            memory_bytes=memory_bytes(self.limits),
            processes=self.limits.processes + _OWN_PROCESSES,
            cpus=self.limits.cpus,
        )
        group = make_group(bounds) if self._use_groups else None
        process = _Process(programs["unshare"], group)
        link = process.link()
        try:
            link.start(self._place(programs["bwrap"], filter_, is_held=group is not None))
            process.hold()
            link.try_command()
        except BaseException:
            link.end()
            raise
        return link

    def close(self, link: Link) -> None:
        """End a box."""
        link.end()

    def _place(self, bwrap: str, filter_: bytes, *, is_held: bool) -> Place:
        limits, memory = self.limits, self.limits.memory_mib << 20
        # boxes side by side have different users: what the kernel counts for each user is counted
        # for each box
        user = _FIRST_USER + ((os.getpid() << 6) + next(_users)) % _NUM_USERS
        workspace, tmp, shm = f"{_DISKS}{WORKSPACE}", f"{_DISKS}/tmp", f"{_DISKS}/shm"  # noqa: S108 - in the box
        return Place(
            base=_DISKS,
            scratch=(tmp, shm),
            prefix=(bwrap, *_arguments(workspace, tmp, shm)),
            disks=(
                Disk(path=_DISKS, size_bytes=1 << 20, inodes=64),
                Disk(path=tmp, size_bytes=TMP_BYTES, inodes=TMP_INODES),
                Disk(path=shm, size_bytes=SHM_BYTES, inodes=SHM_INODES),
                Disk(
                    path=workspace,
                    size_bytes=workspace_bytes(limits),
                    inodes=workspace_inodes(limits),
                ),
            ),
            files={f"{_DISKS}/etc/{name}": text for name, text in _ETC.items()},
            user=user if os.geteuid() == 0 else None,
            limits={
                **command_limits(limits),
                "nproc": limits.processes + _OWN_PROCESSES,
                **({} if is_held else {"as": memory}),
            },
            memory_bytes=None if is_held else memory,
            seccomp=filter_.hex(),
            environment=ENVIRONMENT,
        )


class _Process:
    """The process of one keeper, below the ``unshare`` that made its namespaces."""

    def __init__(self, unshare: str, group: ControlGroup | None) -> None:
        self._group = group
        self._keeper: int | None = None  # a descriptor; its number alone may be used again
        namespaces = ["--mount", "--mount-proc", "--pid", "--fork", "--kill-child"]
        if os.geteuid() != 0:
            namespaces += ["--user", "--map-root-user"]
        # whose a keeper is, as on the processes of runs (`runtime.processes`)
        run = os.environ.get(RUN_VARIABLE)
        mark = {RUN_VARIABLE: run} if run else {}
        # no preexec_fn: with it Python forks the whole harness instead of using vfork
        self._popen = subprocess.Popen(
            [unshare, *namespaces, *keeper_command(sys.executable)],
            cwd="/",
            env={"PATH": _KEEPER_PATH, **mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is the harness's to handle
        )

    def link(self) -> Link:
        """Return the line to the keeper."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        ends = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        for end in ends:
            os.set_blocking(end, False)
        return Link(to_keeper=ends[0], from_keeper=ends[1], end=self._end)

    def hold(self) -> None:
        """Put the keeper, which has started, and all it will start into the box's group."""
        pid = self._popen.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        self._keeper = os.pidfd_open(int(children[0]))
        if self._group is not None:
            self._group.add(int(children[0]))

    def _end(self) -> str:
        if self._keeper is None:
            self._popen.kill()
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._keeper, signal.SIGKILL)
            os.close(self._keeper)
        # `unshare` ends after the keeper, and that after everything in its namespace
        _, last_words = self._popen.communicate()
        if self._group is not None:
            self._group.remove()
        lines = last_words.decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if line != _SAID_ALWAYS)


def _program(name: str) -> str:
    found = shutil.which(name, path=_KEEPER_PATH)
    if found is None:
        package = {"bwrap": "bubblewrap", "unshare": "util-linux"}[name]
        message = f"there is no {name} here"
        raise SandboxUnavailable(message, f"sudo apt-get install {package}")
    return found


def _arguments(workspace: str, tmp: str, shm: str) -> Iterator[str]:
    """Yield what bubblewrap is told of a command's box, up to the command itself."""
    yield from ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net")
    yield from ("--unshare-uts", "--unshare-cgroup-try", "--disable-userns")
    yield from ("--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", HOST_NAME)
    yield from ("--cap-drop", "ALL", "--new-session", "--die-with-parent")
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), str(place))
        elif place.exists():
            yield from ("--ro-bind", str(place), str(place))
    for name in _ETC:
        yield from ("--ro-bind", f"{_DISKS}/etc/{name}", f"/etc/{name}")
    for name in ("alternatives", "ld.so.cache"):  # which awk; where the libraries are
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts")  # the machine has few for all
    yield from ("--bind", shm, "/dev/shm", "--remount-ro", "/dev")  # noqa: S108 - its usual place
    yield from ("--bind", tmp, "/tmp", "--bind", workspace, WORKSPACE)  # noqa: S108 - its usual place
    yield from ("--remount-ro", "/", "--chdir", WORKSPACE)
    yield from ("--seccomp", str(FILTER_FD), "--json-status-fd", str(STATUS_FD), "--")
