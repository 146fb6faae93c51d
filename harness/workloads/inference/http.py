"""A server on loopback, asked in JSON over connections that are kept.

A reply of a few tokens takes milliseconds, and an agent asks for thousands: a new connection for
each would cost as much again. Proxies are passed by.
"""

from __future__ import annotations

import http.client
import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from harness.workloads.inference.engine import EngineError

_SHOWN = 500  # characters of a refusal
_MAX_BYTES = 64 * 2**20  # of an answer; the log-probabilities of a long prompt are a few MiB


class SilentError(EngineError):
    """No answer, or not in time."""


class RefusedError(EngineError):
    """The server's answer is an error or malformed.

    Args:
        message: one line.
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)

    @property
    def is_fault(self) -> bool:
        """Whether the server blames itself, not the request."""
        return self.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR


class Server:
    """Where vLLM answers, from several threads at once.

    Args:
        url: without path, e.g. ``http://127.0.0.1:8000``.
        timeout_s: for one answer, seconds; requests that wait for others are among them.
    """

    def __init__(self, url: str, timeout_s: float = 600.0) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._idle: deque[http.client.HTTPConnection] = deque()

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Return the body of an answer with status 200.

        Raises:
            SilentError: the server cannot be reached, or does not answer in time.
            RefusedError: it answers with another status.
        """
        sent = None if body is None else json.dumps(body).encode()
        try:
            status, content = self._exchange(method, path, sent)
        except (OSError, http.client.HTTPException) as error:
            message = f"{self.url} does not answer {path}: {error!r}"
            raise SilentError(message) from None
        if status != http.HTTPStatus.OK:
            said = content[:_SHOWN].decode(errors="replace")
            message = f"{self.url} refuses {path} with {status}: {said}"
            raise RefusedError(message, status)
        return content

    def close(self) -> None:
        """Close idle connections; call it after the last request."""
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, method: str, path: str, sent: bytes | None) -> tuple[int, bytes]:
        with suppress(
            IndexError, ConnectionError
        ):  # the server closes connections that were idle for long
            return self._on(self._idle.pop(), method, path, sent)
        address = urlsplit(self.url)
        fresh = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=self._timeout_s
        )
        return self._on(fresh, method, path, sent)

    def _on(
        self, connection: http.client.HTTPConnection, method: str, path: str, sent: bytes | None
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read(_MAX_BYTES + 1)
        except BaseException:
            connection.close()
            raise
        if len(content) > _MAX_BYTES:
            connection.close()
            message = f"an answer of more than {_MAX_BYTES} bytes"
            raise http.client.HTTPException(message)
        self._idle.append(connection)
        return answer.status, content
