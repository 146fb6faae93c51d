"""As much of a Docker engine as images need, behind a socket for the real client."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

_PART_BYTES = 32 * 2**10  # what an engine sends at a time


def archive(content: bytes = b"#!/bin/sh\n") -> tuple[str, bytes]:
    """Return the digest of an image with one file, and the image as ``docker save`` writes it."""
    layer = _tar({"file": content})
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{digest}.json", "Layers": ["layer.tar"]}]
    files = {f"{digest}.json": config, "layer.tar": layer}
    return f"sha256:{digest}", _tar({**files, "manifest.json": json.dumps(manifest).encode()})


def _tar(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


class TinyEngine:
    """An engine with some images.

    Attributes:
        images: digest -> archive.
        root: where it keeps them.
    """

    def __init__(self, root: Path) -> None:
        self.images: dict[str, bytes] = {}
        self.root = root

    def load(self, content: bytes) -> str:
        """Take an archive in; return the line that an engine says of it."""
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                files = {each.name: tar.extractfile(each) for each in tar}
                read = {name: file.read() for name, file in files.items() if file is not None}
            (entry,) = json.loads(read["manifest.json"])
            (diff_id,) = json.loads(read[entry["Config"]])["rootfs"]["diff_ids"]
        except (tarfile.TarError, KeyError, ValueError):
            message = "Error processing tar file: unexpected EOF"
            return json.dumps({"errorDetail": {"message": message}, "error": message})
        assert diff_id == f"sha256:{hashlib.sha256(read['layer.tar']).hexdigest()}"
        digest = f"sha256:{hashlib.sha256(read[entry['Config']]).hexdigest()}"
        self.images[digest] = content
        return json.dumps({"stream": f"Loaded image ID: {digest}\n"})


@contextmanager
def running(engine: TinyEngine, socket: Path) -> Iterator[str]:
    """Serve at a socket; give the address as ``DOCKER_HOST`` has it."""

    class Handler(_Handler):
        tiny = engine

    class Server(ThreadingMixIn, UnixStreamServer):
        daemon_threads = True

    with Server(str(socket), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"unix://{socket}"
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tiny: TinyEngine

    def do_GET(self) -> None:
        images, path = self.tiny.images, re.sub(r"^/v[\d.]+", "", self.path).partition("?")[0]
        digest = path.removeprefix("/images/").partition("/")[0].replace("%3A", ":")
        if path == "/version":
            self._say({"ApiVersion": "1.41"})
        elif path == "/_ping":
            self._say("OK")
        elif path == "/info":
            self._say({"DockerRootDir": str(self.tiny.root)})
        elif path == "/images/json":
            self._say([{"Id": each} for each in images])
        elif digest not in images:
            self._say({"message": f"No such image: {digest}"}, 404)
        elif path.endswith("/json"):
            size = len(images[digest])
            self._say({"Id": digest, "Size": size, "Os": "linux", "Architecture": "amd64"})
        else:
            self._send_in_parts(images[digest])

    def do_POST(self) -> None:
        content = bytearray()
        while size := int(self.rfile.readline() or b"0", 16):  # a body of parts, each with its size
            content += self.rfile.read(size + 2)[:size]
        self._say(self.tiny.load(bytes(content)))

    def do_DELETE(self) -> None:
        path = self.path.partition("?")[0]
        del self.tiny.images[path.rpartition("/")[2].replace("%3A", ":")]
        self._say([])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _say(self, answer: Any, status: int = 200) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _send_in_parts(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(content), _PART_BYTES):
            part = content[at : at + _PART_BYTES]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")
