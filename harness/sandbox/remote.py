"""Boxes for a run in a container: made outside of it by the harness, and asked for over a socket.

A container of the harness cannot make namespaces, and shall not. So the runtime that started it
makes the boxes on the machine itself (`harness.runtime.sandbox_server`) and shows the run a Unix
socket, which needs no network. One connection is one box: first its limits are said, then it is the
line to the box's keeper. The box ends when the connection does, whichever end that comes from.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from harness.records import from_json, record
from harness.sandbox.base import BoxLimits, SandboxUnavailable
from harness.sandbox.channel import Link
from harness.sandbox.protocol import packed, received
from harness.sandbox.supervised import Box

_OPEN_S = 90.0  # a keeper may take 30 s to start, and 30 s for its first command
_END_S = 20.0
_CHUNK_BYTES = 64 << 10


@record
class Made:
    """What came of asking for a box.

    Attributes:
        problem: why there is none; empty where the connection is now the line to its keeper.
        remedy: the next command to type, on the machine that the container runs on.
    """

    problem: str = ""
    remedy: str = ""


class BoxesOutside:
    """Asks for boxes of bubblewrap that are made outside of this container.

    Args:
        place: the socket.
        limits: of each box.
    """

    def __init__(self, place: Path, limits: BoxLimits = BoxLimits()) -> None:  # noqa: B008 - frozen
        self.limits = limits
        self._place = place

    def box(self) -> Box:
        """Return a box that has not been entered."""
        return Box(self)

    def open(self) -> Link:
        """Ask for a box.

        Raises:
            SandboxUnavailable: nobody answers, or no box can be made; says what to type.
        """
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._ask(line)
        except BaseException:
            line.close()
            raise
        os.set_blocking(line.fileno(), False)
        return Link(to_keeper=line.fileno(), from_keeper=line.fileno(), end=lambda: _end(line))

    def close(self, link: Link) -> None:
        """End a box."""
        link.end()

    def _ask(self, line: socket.socket) -> None:
        line.settimeout(_OPEN_S)
        try:
            line.connect(str(self._place))
            with suppress(ConnectionError):  # who is refused at once is told so all the same
                line.sendall(b"".join(packed(self.limits)))
            header, _ = received(lambda size: read_exactly(line, size), 0)
            made = from_json(Made, header)
        except (OSError, EOFError, ValueError) as error:
            message = f"nobody makes boxes for this container: {error}"
            raise SandboxUnavailable(message) from error
        if made.problem:
            raise SandboxUnavailable(made.problem, made.remedy)


def read_exactly(line: socket.socket, size: int) -> bytes:
    """Read so many bytes.

    Raises:
        EOFError: the other end closed the line before.
    """
    content = bytearray()
    while len(content) < size:
        chunk = line.recv(min(size - len(content), _CHUNK_BYTES))
        if not chunk:
            message = "the connection was closed"
            raise EOFError(message)
        content += chunk
    return bytes(content)


def _end(line: socket.socket) -> str:
    """Give the box back, and wait until it has ended: the other end closes the line after that."""
    with line, suppress(OSError):
        line.settimeout(_END_S)
        line.shutdown(socket.SHUT_WR)
        while line.recv(_CHUNK_BYTES):
            pass
    return ""  # a keeper's last words came as its last answer
