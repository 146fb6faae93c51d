"""Running one command to its end, and ending everything that it started.

Part of the supervisor: this code is process 1 of a pid namespace. Orphans of the sandbox become its
children, one signal reaches every process, and it knows that the last has ended when it has no
child left.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import os
import resource
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

from harness.records import record
from harness.sandbox.base import TIMED_OUT, CommandResult
from harness.sandbox.config import WORKSPACE, SupervisorConfig
from harness.sandbox.limits import CommandLimits

FILTER_FD = 10  # where `SupervisorConfig.prefix` finds the filter
# Where it reports that the shell has run (bubblewrap's --json-status-fd), as its own failures have
# the exit codes of a shell's. Without a prefix, an error that keeps the shell from starting.
STATUS_FD = 11
_FREE_FD = 32  # and all above: a supervisor has some ten open

_CANNOT_RUN = 126  # a shell's exit code for what it found and cannot execute
_BY_SIGNAL = 128  # a shell's exit code for signal n is 128 + n
_MAX_COMMAND_BYTES = 128 << 10  # MAX_ARG_STRLEN of execve(2), with the NUL at its end
_CHUNK_BYTES = 64 << 10
_LOOK_S = 0.05  # how often the memory is checked where the kernel does not enforce the limit
_OOM_SCORE = "1000"  # when memory runs out the kernel ends a command, never its supervisor

_SET_DUMPABLE, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 4, 22, 38  # linux/prctl.h
_FILTER_MODE = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


class NoShellError(Exception):
    """No shell could be started, through no fault of the command."""


class _Filter(ctypes.Structure):
    """``struct sock_fprog``: a filter's length in instructions of eight bytes, and its address."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@record
class _Ended:
    """How a command's shell ended.

    Attributes:
        exit_code: as a shell reports it.
        timed_out: the time limit ended it.
        by_itself: it exited; no signal and no limit ended it.
    """

    exit_code: int
    timed_out: bool = False
    by_itself: bool = False


class Commands:
    """Runs the commands of a sandbox, one at a time."""

    def __init__(self, config: SupervisorConfig) -> None:
        self._config = config
        self._filter = bytes.fromhex(config.seccomp)
        self._filter_file = os.memfd_create("filter")
        os.write(self._filter_file, self._filter)
        self._nothing = os.open(os.devnull, os.O_RDONLY)
        self._child_ended, waker = os.pipe()  # can be read when a child has ended
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def run(self, command: str, limits: CommandLimits) -> CommandResult:
        """Run one command; when this returns, no process of it is left.

        Raises:
            NoShellError: the command has not been run.
        """
        if problem := _command_problem(command):
            return CommandResult(exit_code=_CANNOT_RUN, stdout="", stderr=f"bash: {problem}\n")
        began = time.monotonic()
        out, err, status = os.pipe(), os.pipe(), os.pipe()
        shell = self._start(command, {1: out[1], 2: err[1], STATUS_FD: status[1]})
        for pipe in (out, err, status):
            os.close(pipe[1])
        streams = _Stream(out[0], limits.output_bytes), _Stream(err[0], limits.output_bytes)
        ended = self._follow(shell, began + limits.timeout_s, streams)
        wall_s = time.monotonic() - began
        _end_all()
        stdout, stderr = (stream.finish() for stream in streams)
        status_text = _Stream(status[0], _CHUNK_BYTES).finish()
        has_run = "exit-code" in status_text if self._config.prefix else not status_text
        if ended.by_itself and not has_run:
            raise NoShellError(status_text or stderr.strip() or f"exit code {ended.exit_code}")
        return CommandResult(
            exit_code=ended.exit_code,
            stdout=stdout,
            stderr=stderr,
            timed_out=ended.timed_out,
            truncated=any(stream.truncated for stream in streams),
            wall_s=round(wall_s, 4),
        )

    def _start(self, command: str, descriptors: dict[int, int]) -> int:
        """Start a command's shell; return its process id."""
        shell = os.fork()
        if shell == 0:
            try:
                _number_descriptors({0: self._nothing, FILTER_FD: self._filter_file, **descriptors})
                self._become(["bash", "-c", command])
            except OSError as error:
                os.write(STATUS_FD, str(error).encode())
            finally:
                os._exit(_CANNOT_RUN)
        return shell

    def _become(self, shell: list[str]) -> None:
        """Turn this process, a new one, into a shell under every limit, without any right."""
        config = self._config
        os.setsid()
        # a harness in the background ignores SIGINT and SIGHUP, and a command would inherit that
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        _prctl(_SET_DUMPABLE, 1)  # or the next file would be root's
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
        for name, value in config.resource_limits.items():
            which = getattr(resource, f"RLIMIT_{name.upper()}")
            _, hard = resource.getrlimit(which)
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (most, most))
        os.lseek(FILTER_FD, 0, os.SEEK_SET)
        if config.user is not None:
            os.setgroups([])
            os.setresgid(config.user, config.user, config.user)
            os.setresuid(config.user, config.user, config.user)
        _prctl(_SET_NO_NEW_PRIVS, 1)
        if not config.prefix:
            os.chdir(WORKSPACE)
            for descriptor in (FILTER_FD, STATUS_FD):
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument
            filter_ = _Filter(len(self._filter) // 8, self._filter)
            _prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(filter_))
        argv = [*config.prefix, *shell]
        os.execvpe(argv[0], argv, dict(config.environment))  # noqa: S606 - the shell comes later

    def _follow(self, shell: int, deadline: float, streams: tuple[_Stream, _Stream]) -> _Ended:
        """Read the output until the shell has ended or must be ended."""
        poll = select.poll()
        for descriptor in (0, self._child_ended, *(stream.descriptor for stream in streams)):
            poll.register(descriptor, select.POLLIN)
        while (left_s := deadline - time.monotonic()) > 0:
            if self._exceeds_memory():
                return _Ended(exit_code=_BY_SIGNAL + signal.SIGKILL)
            wait_s = left_s if self._config.memory_bytes is None else min(left_s, _LOOK_S)
            ready = {descriptor for descriptor, _ in poll.poll(math.ceil(wait_s * 1000))}
            if 0 in ready:
                raise SystemExit  # the harness is gone
            for stream in streams:
                if stream.descriptor in ready and not stream.take():
                    poll.unregister(stream.descriptor)
            if self._child_ended in ready:
                os.read(self._child_ended, _CHUNK_BYTES)
                if (ended := _reaped(shell)) is not None:
                    return ended
        return _Ended(exit_code=TIMED_OUT, timed_out=True)

    def _exceeds_memory(self) -> bool:
        """Whether processes and files together have too much, where no control group counts it.

        Files count as what their disks hold, also those without a name. What neither is mapped nor
        has a disk (nameless files, sockets) is refused by the filter.
        """
        if self._config.memory_bytes is None:
            return False
        pids = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
        mapped = sum(_proportional_bytes(pid) for pid in pids if pid != 1)
        disks = (os.statvfs(disk.path) for disk in self._config.disks)
        files = sum((each.f_blocks - each.f_bfree) * each.f_frsize for each in disks)
        return mapped + files > self._config.memory_bytes


class _Stream:
    """One output of a command: its beginning is kept, the rest is read and dropped."""

    def __init__(self, descriptor: int, kept_bytes: int) -> None:
        self.descriptor = descriptor
        self.truncated = False
        self._kept = bytearray()
        self._left = kept_bytes

    def take(self) -> bool:
        """Read what is there; False when nothing can write any more."""
        chunk = os.read(self.descriptor, _CHUNK_BYTES)
        self._kept += chunk[: self._left]
        self.truncated = self.truncated or len(chunk) > self._left
        self._left -= min(len(chunk), self._left)
        return bool(chunk)

    def finish(self) -> str:
        """Read what is left of a command that has ended, and return what is kept, as text.

        That need not be all up to an end: a descriptor that a command sent itself over a socket is
        open as long as the kernel does not collect such sockets.
        """
        os.set_blocking(self.descriptor, False)
        with suppress(BlockingIOError):
            while self.take():
                pass
        os.close(self.descriptor)
        return self._kept.decode(errors="replace")


def _command_problem(command: str) -> str:
    """Return why no process can be given `command` as an argument; empty when one can."""
    try:
        text = os.fsencode(command)
    except UnicodeEncodeError:
        return "the command is not text"
    if b"\0" in text:
        return "the command holds a NUL"
    return "the command is too long" if len(text) >= _MAX_COMMAND_BYTES else ""


def _reaped(shell: int) -> _Ended | None:
    """Reap every child that has ended; return how the shell ended, if it was among them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return None
        if pid == shell:
            code = os.waitstatus_to_exitcode(status)
            return _Ended(exit_code=code if code >= 0 else _BY_SIGNAL - code, by_itself=code >= 0)


def _end_all() -> None:
    """End every other process of the sandbox, and wait until the last one is gone."""
    while True:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _number_descriptors(wanted: dict[int, int]) -> None:
    """Give descriptors the numbers that are wanted, by way of numbers that nothing uses."""
    aside = {
        number: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FREE_FD)
        for number, descriptor in wanted.items()
    }
    for number, descriptor in aside.items():
        os.dup2(descriptor, number)


def _proportional_bytes(pid: int) -> int:
    """Return the memory of a process; pages that it shares count in proportion (Pss)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def check_call(result: int, what: str) -> None:
    """Raise the C library's error of a call that failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, value: int, pointer: int = 0) -> None:
    check_call(_libc.prctl(option, value, pointer, 0, 0), "prctl")


def hide_this_process() -> None:
    """Keep processes of the same user from tracing, reading or writing this one."""
    _prctl(_SET_DUMPABLE, 0)
