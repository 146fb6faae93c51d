"""Sandboxes made with bubblewrap: fast, on any Linux that lets its users have namespaces.

The supervisor is process 1 of a pid namespace and sees the machine's files; in its mount namespace
it has the sandbox's disks, in memory. Every command gets a bubblewrap of its own: new namespaces of
every kind, another user, ``/usr`` to read and the sandbox's disks to write. So nothing of a sandbox
is on the machine's disk, and nothing is left of it when its supervisor has ended.
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
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.cgroups import ControlGroup, GroupLimits, make_group
from harness.sandbox.channel import SandboxChannel, supervisor_command
from harness.sandbox.commands import FILTER_FD, STATUS_FD
from harness.sandbox.config import (
    ENVIRONMENT,
    HOST_NAME,
    NOBODY,
    WORKSPACE,
    Disk,
    SupervisorConfig,
)
from harness.sandbox.limits import (
    SHM_BYTES,
    SHM_INODES,
    TMP_BYTES,
    TMP_INODES,
    SandboxLimits,
    commands_bytes,
    memory_bytes,
    resource_limits,
    workspace_bytes,
    workspace_inodes,
)
from harness.sandbox.supervised import SupervisedSandbox
from harness.variables import RUN_VARIABLE

_DISKS = "/dev/shm"  # noqa: S108 - exists everywhere; only the supervisor sees what is mounted there
_OWN_PROCESSES = 3  # the supervisor, and bubblewrap outside and inside its namespaces
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of the supervisor
_ETC = {
    "passwd": f"nobody:x:{NOBODY}:{NOBODY}:nobody:{WORKSPACE}:/bin/bash\n",
    "group": f"nogroup:x:{NOBODY}:\n",
}
_ALWAYS_PRINTED = (
    "unshare: sigprocmask unblock failed: Invalid argument"  # util-linux 2.38, when it ends
)
# user ids that systemd's list of users and groups leaves unassigned
_FIRST_USER, _NUM_USERS = 0x7000_0000, 0x0FFE_0000
_users = itertools.count()


class Bubblewrap:
    """Makes sandboxes with bubblewrap.

    Args:
        limits: of each sandbox.
        use_groups: limit sandboxes by control groups where this user may make them; else each
            process is limited by itself, and the supervisor checks their sum.
    """

    def __init__(self, limits: SandboxLimits = SandboxLimits(), *, use_groups: bool = True) -> None:  # noqa: B008 - frozen
        self.limits = limits
        self._use_groups = use_groups

    def make(self) -> SupervisedSandbox:
        """Return a sandbox that has not been entered."""
        return SupervisedSandbox(self)

    def open(self) -> SandboxChannel:
        """Start a supervisor, and try a command.

        Raises:
            SandboxUnavailable: this machine has no bubblewrap, or lets its user have no namespaces.
        """
        if self._use_groups:
            group = make_group(
                GroupLimits(
                    memory_bytes=memory_bytes(self.limits),
                    processes=self.limits.processes + _OWN_PROCESSES,
                    cpus=self.limits.cpus,
                )
            )
            # who may make a group may still not put into it what runs elsewhere
            with suppress(PermissionError):
                if group is not None:
                    return self._start(group)
        return self._start(None)

    def _start(self, group: ControlGroup | None) -> SandboxChannel:
        programs = {name: _program(name) for name in ("bwrap", "unshare")}
        process = _SupervisorProcess(programs["unshare"], group)
        channel = process.channel()
        try:
            channel.start(self._config(programs["bwrap"], has_group=group is not None))
            process.join_group()
            channel.try_command()
        except BaseException:
            channel.end()
            raise
        return channel

    def close(self, channel: SandboxChannel) -> None:
        """End a sandbox."""
        channel.end()

    def _config(self, bwrap: str, *, has_group: bool) -> SupervisorConfig:
        limits = self.limits
        rules = seccomp.RULES if has_group else seccomp.RULES_WITHOUT_GROUP
        # each sandbox has its user: what the kernel counts by user, it counts by sandbox
        user = _FIRST_USER + ((os.getpid() << 6) + next(_users)) % _NUM_USERS
        workspace, tmp, shm = f"{_DISKS}{WORKSPACE}", f"{_DISKS}/tmp", f"{_DISKS}/shm"  # noqa: S108 - in the sandbox
        return SupervisorConfig(
            root=_DISKS,
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
            resource_limits={
                **resource_limits(limits),
                "nproc": limits.processes + _OWN_PROCESSES,
                **({} if has_group else {"as": limits.memory_mib << 20}),
            },
            memory_bytes=None if has_group else commands_bytes(limits),
            seccomp=seccomp.program(rules=rules).hex(),
            environment=ENVIRONMENT,
        )


class _SupervisorProcess:
    """The process of one supervisor, below the ``unshare`` that made its namespaces."""

    def __init__(self, unshare: str, group: ControlGroup | None) -> None:
        self._group = group
        self._supervisor: int | None = None  # a pidfd; a pid may be used again
        namespaces = ["--mount", "--mount-proc", "--pid", "--fork", "--kill-child"]
        if os.geteuid() != 0:
            namespaces += ["--user", "--map-root-user"]
        # the run that the supervisor belongs to (`runtime.processes`)
        run = os.environ.get(RUN_VARIABLE)
        owner = {RUN_VARIABLE: run} if run else {}
        # no preexec_fn: with it Python forks the whole harness instead of using vfork
        self._popen = subprocess.Popen(
            [unshare, *namespaces, *supervisor_command(sys.executable)],
            cwd="/",
            env={"PATH": _PATH, **owner},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # the harness handles Ctrl-C
        )

    def channel(self) -> SandboxChannel:
        """Return the channel to the supervisor."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        ends = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        for end in ends:
            os.set_blocking(end, False)
        return SandboxChannel(to_supervisor=ends[0], from_supervisor=ends[1], end=self._end)

    def join_group(self) -> None:
        """Put the supervisor, which has started, and all it will start into the control group."""
        pid = self._popen.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        self._supervisor = os.pidfd_open(int(children[0]))
        if self._group is not None:
            self._group.add(int(children[0]))

    def _end(self) -> str:
        if self._supervisor is None:
            self._popen.kill()
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._supervisor, signal.SIGKILL)
            os.close(self._supervisor)
        # `unshare` ends after the supervisor, and that after everything in its namespace
        _, last_words = self._popen.communicate()
        if self._group is not None:
            self._group.remove()
        lines = last_words.decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if line != _ALWAYS_PRINTED)


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        package = {"bwrap": "bubblewrap", "unshare": "util-linux"}[name]
        message = f"there is no {name} here"
        raise SandboxUnavailable(message, f"sudo apt-get install {package}")
    return found


def _arguments(workspace: str, tmp: str, shm: str) -> Iterator[str]:
    """Yield bubblewrap's arguments for one command, up to the command itself."""
    yield from ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net")
    yield from ("--unshare-uts", "--unshare-cgroup-try", "--disable-userns")
    yield from ("--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", HOST_NAME)
    yield from ("--cap-drop", "ALL", "--new-session", "--die-with-parent")
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.exists():
            yield from ("--ro-bind", str(path), str(path))
    for name in _ETC:
        yield from ("--ro-bind", f"{_DISKS}/etc/{name}", f"/etc/{name}")
    for name in ("alternatives", "ld.so.cache"):  # which awk; where the libraries are
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    # bubblewrap's own process 1 is a command's user too, which could write to its memory
    yield from ("--tmpfs", "/proc/1", "--remount-ro", "/proc/1")
    yield from ("--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts")  # terminals are few, and shared
    yield from ("--bind", shm, "/dev/shm", "--remount-ro", "/dev")  # noqa: S108 - its usual place
    yield from ("--bind", tmp, "/tmp", "--bind", workspace, WORKSPACE)  # noqa: S108 - its usual place
    yield from ("--remount-ro", "/", "--chdir", WORKSPACE)
    yield from ("--seccomp", str(FILTER_FD), "--json-status-fd", str(STATUS_FD), "--")
