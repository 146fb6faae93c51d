"""The page of a run on 127.0.0.1: one page and one JSON document, and no address outside.

The page asks for the document every two seconds. Whatever a run wrote reaches it as text: the page
sets it as such, and its policy lets no script run but its own. Only a browser that was sent to this
machine by name or number is answered, so that no other site can read it through one.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

LOOPBACK = "127.0.0.1"
_KEPT_S = 1.0  # a document is made at most once a second, whoever asks
_HOSTS = frozenset({LOOPBACK, "localhost", "[::1]"})

Answer = Callable[[str], Any]  # from a run's id, or nothing, to its document


class PageServer:
    """Serves the page until it is closed; use it as a context manager.

    Args:
        answer: makes the document of a run.
        port: 0 for any that is free.
    """

    def __init__(self, answer: Answer, port: int = 0) -> None:
        page = files("harness.follow").joinpath("page.html").read_text(encoding="utf-8")
        documents = _Documents(answer)

        class _PageHandler(_Handler):
            template, source = page, documents

        self._server = ThreadingHTTPServer((LOOPBACK, port), _PageHandler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Documents:
    """Makes documents, each kept for a moment."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._made: dict[str, tuple[float, bytes]] = {}

    def of(self, run: str) -> bytes:
        """Return the document of a run as JSON."""
        with self._lock:
            made_s, content = self._made.get(run, (0.0, b""))
            if not content or time.monotonic() - made_s > _KEPT_S:
                content = json.dumps(self._answer(run), allow_nan=False).encode()
                self._made[run] = (time.monotonic(), content)
            return content


class _Handler(BaseHTTPRequestHandler):
    template: str
    source: _Documents
    server_version, sys_version = "harness", ""

    def do_GET(self) -> None:
        """Answer one request."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        address = urlsplit(self.path)
        if host not in _HOSTS:
            self._send(HTTPStatus.FORBIDDEN, b"only on this machine\n", "text/plain")
        elif address.path == "/":
            nonce = secrets.token_urlsafe(16)
            text = self.template.replace("{{nonce}}", nonce)
            self._send(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8", nonce)
        elif address.path == "/run.json":
            run = parse_qs(address.query).get("run", [""])[0]
            try:
                content = self.source.of(run)
            except (OSError, ValueError, KeyError):
                self._send(HTTPStatus.NOT_FOUND, b"{}", "application/json")
            else:
                self._send(HTTPStatus.OK, content, "application/json")
        else:
            self._send(HTTPStatus.NOT_FOUND, b"there is / and /run.json\n", "text/plain")

    def _send(self, status: HTTPStatus, content: bytes, kind: str, nonce: str = "") -> None:
        policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        if nonce:
            policy += f"; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
            policy += "; connect-src 'self'; img-src data:"
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing of requests."""
