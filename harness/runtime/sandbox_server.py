"""Boxes for the commands of a run in a container: made here, outside of it, and lent to it.

A run whose limits say ``boxes`` finds a Unix socket in its container. Each connection to it is one
box of bubblewrap, which ends with the connection, and so with the run; the keepers of all of them
end with this process, as they read from it (`harness.workloads.clawgym.sandbox`).

Whoever is in the container may ask for boxes, and for nothing else: it says how small a box shall
be, and what to do in it. Every request is read and made anew here. What a box is made of, who runs
in it and which filter holds it is not said over this line.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import HostError
from harness.records import Limits, from_json, to_json
from harness.runtime.owner import parse, this_process
from harness.sandbox.base import BoxLimits, CommandLimits, SandboxUnavailable
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.channel import Link
from harness.sandbox.protocol import Answer, Request, packed, received
from harness.sandbox.remote import Made, read_exactly

SOCKET = "socket"
MOST_BOXES = 64  # of one run at once; the articles play 16 rollouts side by side
MOST = BoxLimits()
_MOST_OF_COMMAND = CommandLimits(timeout_s=600.0)
_MAX_HEADER = 16 << 20  # bytes of a request; ten thousand paths of a thousand letters fit
_SEND_S = 60.0
_PAUSE_S = 0.1
_CHUNK_BYTES = 1 << 20
_FOLDERS = "harness-boxes-"
_PROC = Path("/proc/self")
_RESTRICTED = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def box_problem() -> HostError | None:
    """Return why no box of bubblewrap can be made on this machine; None where one has been."""
    if not _PROC.exists():
        message = "no box for commands can be made: that needs Linux, whose /proc is absent here"
        return HostError(message, "harness run SCENARIO --profile evidence")
    try:
        with Bubblewrap().box():
            return None
    except SandboxUnavailable as error:
        message = f"no box for commands can be made: {error.message}"
        return HostError(message, error.remedy or _remedy())


def _remedy() -> str:
    with suppress(OSError):
        if _RESTRICTED.read_text(encoding="ascii").strip() == "1":
            return f"sudo sysctl -w kernel.{_RESTRICTED.name}=0"
    return "unshare --user --pid --fork true"  # says what the kernel has against it


@contextmanager
def lent_boxes(limits: Limits) -> Iterator[Path | None]:
    """Make boxes for a run that asks for them, and end them all with the block.

    Gives the folder that its container is shown, with the socket in it; None where it asks for
    none.
    """
    if not limits.boxes:
        yield None
        return
    with _private_folder() as folder, BoxServer(folder / SOCKET):
        yield folder


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that a container's user can use, and nobody else of this machine but ours.

    The way to it leads through one that is closed to others; a mount does not go that way.
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


class BoxServer:
    """Makes a box for each connection to a Unix socket; all end when the context is left.

    Args:
        place: where the socket is made; in a folder that only those may enter who may have boxes.
        most_boxes: how many there may be at once.
    """

    def __init__(self, place: Path, most_boxes: int = MOST_BOXES) -> None:
        self._place = place
        self._most_boxes = most_boxes
        self._has_ended = threading.Event()
        self._lock = threading.Lock()
        self._serving: dict[socket.socket, threading.Thread] = {}

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _bind(self._listener, self._place)
        self._listener.listen(self._most_boxes)
        self._acceptor = threading.Thread(target=self._accept, name="boxes", daemon=True)
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
            for line in serving:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
        for thread in serving.values():
            thread.join()

    def _accept(self) -> None:
        while not self._has_ended.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:  # the end, or this process has no descriptor left just now
                self._has_ended.wait(_PAUSE_S)
                continue
            self._take(line)

    def _take(self, line: socket.socket) -> None:
        with self._lock:
            if len(self._serving) < self._most_boxes:
                thread = threading.Thread(target=self._serve, args=(line,), daemon=True)
                self._serving[line] = thread
                thread.start()
                return
        message = f"the run has {self._most_boxes} boxes, and can have no more at once"
        with line, suppress(OSError):
            _say(line, Made(problem=message))

    def _serve(self, line: socket.socket) -> None:
        try:
            with suppress(OSError, EOFError):  # nobody is there any more
                _lend(line)
        finally:
            with self._lock:
                del self._serving[line]
                line.close()


def _bind(listener: socket.socket, place: Path) -> None:
    """Make the socket, whose path may be longer than the 107 bytes that the kernel takes."""
    folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{place.name}")
    finally:
        os.close(folder)
    place.chmod(0o666)  # the container's user is another


def _lend(line: socket.socket) -> None:
    """Make a box, and pass on what is asked of it and what it answers, until either ends.

    Raises:
        OSError, EOFError: the other end is gone; so is the box.
    """
    try:
        limits = from_json(BoxLimits, _received(line, 0)[0])
        _hold(limits, MOST)
        link = Bubblewrap(limits).open()
    except SandboxUnavailable as error:
        _say(line, Made(problem=error.message, remedy=error.remedy))
        return
    except (OSError, ValueError, RecursionError) as error:
        _say(line, Made(problem=f"no such box can be had: {error}"))
        return
    try:
        _say(line, Made())
        cause = _pass_on(line, link, limits)
    finally:
        last_words = link.end()
    _say(line, Answer(broken=f"{cause}\n{last_words}".strip()))


def _pass_on(line: socket.socket, link: Link, limits: BoxLimits) -> str:
    """Pass messages on until the box ends or is asked for what it may not do; return why."""
    poll = select.poll()
    for descriptor in (line.fileno(), link.answers):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if link.answers in ready:
            chunk = os.read(link.answers, _CHUNK_BYTES)
            if not chunk:
                return "it ended"
            line.sendall(chunk)
        if line.fileno() in ready:
            try:
                link.pass_on(*_request(line, limits), within_s=_SEND_S)
            except (OSError, ValueError, RecursionError) as error:
                return str(error)


def _request(line: socket.socket, limits: BoxLimits) -> tuple[Request, bytes]:
    """Read a request.

    Raises:
        ValueError: it is none, or asks for more than the box may have.
    """
    header, blob = _received(line, limits.workspace_bytes)
    request = from_json(Request, header)
    _hold(request.limits, _MOST_OF_COMMAND)
    if request.max_bytes > limits.workspace_bytes or request.max_paths > limits.workspace_paths:
        message = "more is asked back than the workspace may hold"
        raise ValueError(message)
    return request, blob


def _received(line: socket.socket, max_blob: int) -> tuple[Any, bytes]:
    return received(lambda size: read_exactly(line, size), max_blob, max_header=_MAX_HEADER)


def _hold(asked: BoxLimits | CommandLimits, most: BoxLimits | CommandLimits) -> None:
    """Refuse limits that are none, or more than may be had.

    Raises:
        ValueError: names the first.
    """
    for name, limit in to_json(most).items():
        if not 0 < (value := getattr(asked, name)) <= limit:  # NaN is none either
            message = f"{name} must be above 0 and at most {limit}, not {value}"
            raise ValueError(message)


def _say(line: socket.socket, answer: Made | Answer) -> None:
    line.sendall(b"".join(packed(answer)))
