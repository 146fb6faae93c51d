"""Sandboxes for a run in a container: made outside of it by the harness, asked for over a socket.

A container of the harness cannot make namespaces, and must not. So the runtime that started it
makes the sandboxes on the machine itself (`harness.runtime.sandbox_server`) and mounts a Unix
socket into the container, which needs no network. One connection is one sandbox: the run first
sends its limits, then the connection is the channel to the sandbox's supervisor. The sandbox ends
when either end closes the connection.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from harness.records import from_json, record
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.channel import SandboxChannel
from harness.sandbox.limits import SandboxLimits
from harness.sandbox.protocol import encode, read_message
from harness.sandbox.supervised import SupervisedSandbox

_OPEN_S = 90.0  # a supervisor may take 30 s to start, and 30 s for its first command
_END_S = 20.0
_CHUNK_BYTES = 64 << 10


@record
class OpenResponse:
    """The server's answer to a request for a sandbox.

    Attributes:
        kind: what the sandbox is, as in `harness.sandbox.choice.SandboxKind`.
        problem: why there is none; empty where the connection is now the channel to a supervisor.
        remedy: the next command to type, on the machine that the container runs on.
    """

    kind: str = ""
    problem: str = ""
    remedy: str = ""


class RemoteSandboxFactory:
    """Asks for sandboxes that are made outside of this container.

    Args:
        path: the socket.
        limits: of each sandbox.
    """

    def __init__(self, path: Path, limits: SandboxLimits = SandboxLimits()) -> None:  # noqa: B008 - frozen
        self.limits = limits
        self.kind = ""  # what the server makes; known once a sandbox has been opened
        self._path = path

    def make(self) -> SupervisedSandbox:
        """Return a sandbox that has not been entered."""
        return SupervisedSandbox(self)

    def open(self) -> SandboxChannel:
        """Ask for a sandbox.

        Raises:
            SandboxUnavailable: no server answers, or it can make no sandbox; says what to type.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.kind = self._ask(connection)
        except BaseException:
            connection.close()
            raise
        os.set_blocking(connection.fileno(), False)
        return SandboxChannel(
            to_supervisor=connection.fileno(),
            from_supervisor=connection.fileno(),
            end=lambda: _end(connection),
        )

    def close(self, channel: SandboxChannel) -> None:
        """End a sandbox."""
        channel.end()

    def _ask(self, connection: socket.socket) -> str:
        connection.settimeout(_OPEN_S)
        try:
            connection.connect(str(self._path))
            with suppress(ConnectionError):  # a server that refuses at once has answered first
                connection.sendall(b"".join(encode(self.limits)))
            header, _ = read_message(lambda size: read_exactly(connection, size), 0)
            response = from_json(OpenResponse, header)
        except (OSError, EOFError, ValueError) as error:
            message = f"no server makes sandboxes for this container: {error}"
            raise SandboxUnavailable(message) from error
        if response.problem:
            raise SandboxUnavailable(response.problem, response.remedy)
        return response.kind


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes.

    Raises:
        EOFError: the other end closed the connection before.
    """
    content = bytearray()
    while len(content) < size:
        chunk = connection.recv(min(size - len(content), _CHUNK_BYTES))
        if not chunk:
            message = "the connection was closed"
            raise EOFError(message)
        content += chunk
    return bytes(content)


def _end(connection: socket.socket) -> str:
    """Close the sandbox, and wait until it has ended: the server closes the connection after it."""
    with connection, suppress(OSError):
        connection.settimeout(_END_S)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(_CHUNK_BYTES):
            pass
    return ""  # what the supervisor last wrote came as its last response
