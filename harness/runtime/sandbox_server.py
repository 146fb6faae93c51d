"""Sandboxes for a run in a container: made here, outside of it, and asked for over a Unix socket.

Each connection to the socket is one sandbox, which ends with the connection, and so with the run.
All of them end with this process, as their supervisors read from it (`harness.sandbox.supervisor`).

The run can request sandboxes and have commands run in them. It may tighten their limits, never
loosen them (`harness.sandbox.limits`). Every request is parsed and encoded anew here. The kind of a
sandbox, its user and its seccomp filter are decided here and cannot be requested.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import HostError
from harness.records import RunSpec, SandboxKind, SandboxSpec, from_json, to_json
from harness.runtime.owner import parse, this_process
from harness.runtime.processes import Mark
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.channel import SandboxChannel
from harness.sandbox.choice import open_factory, working_kind
from harness.sandbox.limits import (
    MAX_COMMAND,
    MAX_SANDBOX,
    MAX_SANDBOXES,
    CommandLimits,
    SandboxLimits,
)
from harness.sandbox.protocol import SandboxRequest, SandboxResponse, encode, read_message
from harness.sandbox.remote import OpenResponse, read_exactly

SOCKET = "socket"
_MAX_HEADER = 16 << 20  # bytes of a request; ten thousand paths of a thousand letters fit
_SEND_S = 60.0
_PAUSE_S = 0.1
_CHUNK_BYTES = 1 << 20
_FOLDERS = "harness-sandboxes-"
_PROC = Path("/proc/self")
_RESTRICTED = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def sandbox_problem(spec: SandboxSpec | None) -> HostError | None:
    """Return why this machine cannot make a run's sandboxes; None where it can, or need not."""
    if spec is None or spec.may_use_memory:
        return None
    if not _PROC.exists():
        message = "commands of the model cannot be isolated: that needs Linux, and /proc is absent"
        return HostError(message, "harness run SCENARIO --profile evidence")
    try:
        working_kind(spec)
    except SandboxUnavailable as error:
        message = f"commands of the model cannot be isolated: {error.message}"
        return HostError(message, error.remedy or _remedy())
    return None


def _remedy() -> str:
    with suppress(OSError):
        if _RESTRICTED.read_text(encoding="ascii").strip() == "1":
            return f"sudo sysctl -w kernel.{_RESTRICTED.name}=0"
    return "unshare --user --pid --fork true"  # prints why the kernel refuses


@contextmanager
def serve_sandboxes(run: RunSpec) -> Iterator[Path | None]:
    """Serve the sandboxes of a run in a container, and end them all with the block.

    Gives the folder with the socket, to be mounted; None where the run needs no sandbox that has
    processes.
    """
    if run.sandbox is None or run.sandbox.kind is SandboxKind.MEMORY:
        yield None
        return
    owner = Mark(run_id=run.run_id, owner=this_process()).text
    with _private_folder() as folder, SandboxServer(folder / SOCKET, run.sandbox, owner=owner):
        yield folder


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that a container's user can use, and no other user of this machine.

    The path to it leads through a folder that is closed to others; a mount does not need the path.
    """
    _sweep(Path(tempfile.gettempdir()))
    closed = Path(tempfile.mkdtemp(prefix=f"{_FOLDERS}{this_process().token}-"))
    try:
        folder = closed / "open"
        folder.mkdir()
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(closed, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove the folders of harnesses that were killed."""
    for folder in parent.glob(f"{_FOLDERS}*"):
        owner = parse(folder.name.removeprefix(_FOLDERS).rpartition("-")[0])
        if owner is not None and owner.is_dead:
            shutil.rmtree(folder, ignore_errors=True)


class SandboxServer:
    """Makes a sandbox for each connection to a Unix socket; all end when the context is left.

    Args:
        path: where the socket is made; access to it is access to sandboxes.
        spec: the kind of the sandboxes.
        max_sandboxes: how many there may be at once.
        owner: the run that containers belong to, as `Mark.text` has it.
    """

    def __init__(
        self,
        path: Path,
        spec: SandboxSpec,
        *,
        max_sandboxes: int = MAX_SANDBOXES,
        owner: str | None = None,
    ) -> None:
        self._path = path
        self._spec = spec
        self._owner = owner
        self._kind: SandboxKind | None = None  # known when the first has been made
        self._max_sandboxes = max_sandboxes
        self._has_ended = threading.Event()
        self._lock = threading.Lock()
        self._choosing = threading.Lock()
        self._serving: dict[socket.socket, threading.Thread] = {}

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # the socket's path may be longer than the 107 bytes that the kernel takes
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self._listener.bind(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)
        self._path.chmod(0o666)  # the container's user is another
        self._listener.listen(self._max_sandboxes)
        self._acceptor = threading.Thread(target=self._accept, name="sandboxes", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._has_ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            serving = dict(self._serving)
            for connection in serving:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in serving.values():
            thread.join()

    def _accept(self) -> None:
        while not self._has_ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the end, or this process has no descriptor left just now
                self._has_ended.wait(_PAUSE_S)
                continue
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._serving) < self._max_sandboxes:
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._serving[connection] = thread
                thread.start()
                return
        message = f"the run has {self._max_sandboxes} sandboxes, and can have no more at once"
        with connection, suppress(OSError):
            _send(connection, OpenResponse(problem=message))

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, EOFError):  # the run has closed the connection
                self._serve_sandbox(connection)
        finally:
            with self._lock:
                del self._serving[connection]
                connection.close()

    def _serve_sandbox(self, connection: socket.socket) -> None:
        """Make a sandbox, and relay requests and responses until either end is gone.

        Raises:
            OSError, EOFError: the run is gone; so is the sandbox.
        """
        with ExitStack() as stack:
            try:
                limits = from_json(SandboxLimits, _read(connection, 0)[0])
                _require_within(limits, MAX_SANDBOX)
                kind = self._working_kind()
                # a connection may ask for other limits than the last: no container is kept for it
                factory = stack.enter_context(
                    open_factory(kind, limits, self._spec.image, num_spare=0, owner=self._owner)
                )
                channel = factory.open()
            except SandboxUnavailable as error:
                _send(connection, OpenResponse(problem=error.message, remedy=error.remedy))
                return
            except (OSError, ValueError, RecursionError) as error:
                _send(connection, OpenResponse(problem=f"no such sandbox can be had: {error}"))
                return
            try:
                _send(connection, OpenResponse(kind=kind.value))
                cause = _relay(connection, channel, limits)
            finally:
                last_words = channel.end()
        _send(connection, SandboxResponse(error=f"{cause}\n{last_words}".strip()))

    def _working_kind(self) -> SandboxKind:
        with self._choosing:
            if self._kind is None:
                self._kind = working_kind(self._spec)
            return self._kind


def _relay(connection: socket.socket, channel: SandboxChannel, limits: SandboxLimits) -> str:
    """Relay until the sandbox ends or a forbidden request arrives; return why."""
    poll = select.poll()
    for descriptor in (connection.fileno(), channel.response_fd):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if channel.response_fd in ready:
            chunk = channel.read_chunk()
            if chunk is None:
                return "it ended"
            connection.sendall(chunk)
        if connection.fileno() in ready:
            try:
                channel.relay(*_request(connection, limits), within_s=_SEND_S)
            except (OSError, ValueError, RecursionError) as error:
                return str(error)


def _request(connection: socket.socket, limits: SandboxLimits) -> tuple[SandboxRequest, bytes]:
    """Read a request.

    Raises:
        ValueError: it is not one, or asks for more than the sandbox may have.
    """
    header, blob = _read(connection, limits.workspace_bytes)
    request = from_json(SandboxRequest, header)
    _require_within(request.limits, MAX_COMMAND)
    if request.max_bytes > limits.workspace_bytes or request.max_paths > limits.workspace_paths:
        message = "more is asked back than the workspace may hold"
        raise ValueError(message)
    return request, blob


def _read(connection: socket.socket, max_blob: int) -> tuple[Any, bytes]:
    return read_message(
        lambda size: read_exactly(connection, size), max_blob, max_header=_MAX_HEADER
    )


def _require_within(
    asked: SandboxLimits | CommandLimits, most: SandboxLimits | CommandLimits
) -> None:
    """Refuse limits that are not positive, or above a run's maximum.

    Raises:
        ValueError: names the first.
    """
    for name, limit in to_json(most).items():
        if not 0 < (value := getattr(asked, name)) <= limit:  # false for NaN
            message = f"{name} must be above 0 and at most {limit}, not {value}"
            raise ValueError(message)


def _send(connection: socket.socket, message: OpenResponse | SandboxResponse) -> None:
    connection.sendall(b"".join(encode(message)))
