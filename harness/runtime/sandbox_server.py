"""Sandboxes for a run in a container: made here, outside of it, and asked for over a Unix socket.

Each connection to the socket is one sandbox, which ends with the connection, and so with the run.
All of them end with this process, as their supervisors read from it (`harness.sandbox.supervisor`).

The run can request sandboxes and have commands run in them. It may tighten their limits, never
loosen them (`harness.sandbox.limits`). Every request is parsed and encoded anew here. The kind of a
sandbox, its user and its seccomp filter are decided here and cannot be requested.

What a request may cost this process is bounded: JSON takes up to thirty times its size in memory,
so large headers are read one at a time, and the bytes behind a header pass in parts.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Self, TypeVar

from harness.errors import HostError
from harness.reading import read_json
from harness.records import RunSpec, SandboxKind, SandboxSpec, from_json, to_json
from harness.runtime.owner import parse, this_process
from harness.runtime.processes import Mark
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.channel import SandboxChannel
from harness.sandbox.choice import open_factory, working_kind
from harness.sandbox.limits import (
    MAX_COMMAND,
    MAX_LISTING_BYTES,
    MAX_SANDBOX,
    MAX_SANDBOXES,
    CommandLimits,
    SandboxLimits,
)
from harness.sandbox.protocol import SandboxRequest, SandboxResponse, encode, read_lengths
from harness.sandbox.remote import OpenResponse, read_exactly

SOCKET = "socket"
# bytes of a request: all paths of a workspace, at worst six characters of JSON for each byte, with
# the size of each file
_MAX_HEADER = 6 * MAX_LISTING_BYTES + (2 << 20)
_SMALL_HEADER = 64 << 10  # what may be read of all connections at once
_SEND_S = 60.0  # sending or reading a message; a connection that stands still that long ends
_PAUSE_S = 0.1
_CAUSE_CHARS = 1000
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


def are_namespaces_restricted(file: Path = _RESTRICTED) -> bool:
    """Return whether AppArmor keeps user namespaces from programs without a profile."""
    try:
        return file.read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def _remedy() -> str:
    if are_namespaces_restricted():
        return "harness run SCENARIO --set sandbox=containers"  # needs no namespaces, and no sudo
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
        self._large_header = threading.Lock()
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

    def __exit__(self, *_: object) -> None:
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
                connection.settimeout(_SEND_S)
                limits, _ = self._read(connection, SandboxLimits, 0)
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
                cause = str(error)[:_CAUSE_CHARS]  # it may repeat all that was sent
                _send(connection, OpenResponse(problem=f"no such sandbox can be had: {cause}"))
                return
            try:
                _send(connection, OpenResponse(kind=kind.value))
                cause = self._relay(connection, channel, limits)
            finally:
                last_words = channel.end()
        _send(connection, SandboxResponse(error=f"{cause}\n{last_words}".strip()))

    def _working_kind(self) -> SandboxKind:
        with self._choosing:
            if self._kind is None:
                self._kind = working_kind(self._spec)
            return self._kind

    def _relay(
        self, connection: socket.socket, channel: SandboxChannel, limits: SandboxLimits
    ) -> str:
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
                    request, blob_bytes = self._read(
                        connection, SandboxRequest, limits.workspace_bytes
                    )
                    _require_allowed(request, limits)
                    blob = _parts(connection, blob_bytes)
                    channel.relay(request, blob_bytes, blob, within_s=_SEND_S)
                except (OSError, ValueError, RecursionError) as error:
                    return str(error)[:_CAUSE_CHARS]

    def _read(
        self, connection: socket.socket, kind: type[_MessageT], max_blob: int
    ) -> tuple[_MessageT, int]:
        """Read a message up to its blob; return it, and how many bytes that has.

        Raises:
            ValueError: it is too long, or not of this kind.
            OSError, EOFError: the run is gone, or sends nothing.
        """

        def read(size: int) -> bytes:
            return read_exactly(connection, size)

        header_bytes, blob_bytes = read_lengths(read, max_blob, max_header=_MAX_HEADER)
        with self._large_header if header_bytes > _SMALL_HEADER else nullcontext():
            header = read_json(read(header_bytes), holds_paths=True)
            _require_few(header)
            return from_json(kind, header), blob_bytes


_MessageT = TypeVar("_MessageT", SandboxLimits, SandboxRequest)


def _parts(connection: socket.socket, size: int) -> Iterator[bytes]:
    while size:
        part = read_exactly(connection, min(size, _CHUNK_BYTES))
        size -= len(part)
        yield part


def _require_few(header: object) -> None:
    """Refuse what is no message, or has more paths than any workspace, before it is taken apart.

    Raises:
        ValueError: it is no object, or there are more paths, or they are longer.
    """
    paths = header.get("sizes") or {} if isinstance(header, dict) else None
    if not isinstance(paths, dict):
        message = "a request is an object, and its sizes are one"
        raise ValueError(message)  # noqa: TRY004 - what the other end sends is a value
    if len(paths) > MAX_SANDBOX.workspace_paths or sum(map(len, paths)) > MAX_LISTING_BYTES:
        message = f"{len(paths)} paths, which no workspace may have"
        raise ValueError(message)


def _require_allowed(request: SandboxRequest, limits: SandboxLimits) -> None:
    """Refuse a request for more than its sandbox may have.

    Raises:
        ValueError: it asks for more.
    """
    _require_within(request.limits, MAX_COMMAND)
    if request.max_bytes > limits.workspace_bytes or request.max_paths > limits.workspace_paths:
        message = "more is asked back than the workspace may hold"
        raise ValueError(message)


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
