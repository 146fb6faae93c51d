"""Whether a Docker engine answers, asked over its socket without loading Docker's client."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from harness.reading import read_json
from harness.records import record

_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_UNIX = "unix://"
# one connection, closed by the engine after its answer; any version of the API answers this
_QUESTION = b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n"


class EngineState(StrEnum):
    """How the Docker engine answered."""

    REACHABLE = "reachable"
    NO_SOCKET = "no socket"  # not installed, or not started
    NOT_PERMITTED = "not permitted"  # this user is not in the socket's group
    NOT_ANSWERING = "not answering"
    REMOTE = "remote"  # DOCKER_HOST names another machine, whose facts are not ours


@record
class DockerEngine:
    """The Docker engine as this process reaches it.

    Attributes:
        version: the engine's version; None unless it is reachable.
    """

    state: EngineState
    version: str | None = None


def engine_socket(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the socket that Docker's own clients would use; None for an engine elsewhere."""
    host = (os.environ if environ is None else environ).get("DOCKER_HOST", "")
    if not host:
        return _DEFAULT_SOCKET
    return Path(host.removeprefix(_UNIX)) if host.startswith(_UNIX) else None


def ask_engine(path: Path | None, *, timeout_s: float = 2.0) -> DockerEngine:
    """Return how the engine behind the socket `path` answers."""
    if path is None:
        return DockerEngine(state=EngineState.REMOTE)
    try:
        answer = _exchange(path, timeout_s)
    except FileNotFoundError:
        return DockerEngine(state=EngineState.NO_SOCKET)
    except PermissionError:
        return DockerEngine(state=EngineState.NOT_PERMITTED)
    except OSError:  # refused, reset or timed out
        return DockerEngine(state=EngineState.NOT_ANSWERING)
    version = _version(answer)
    state = EngineState.REACHABLE if version else EngineState.NOT_ANSWERING
    return DockerEngine(state=state, version=version)


def _exchange(path: Path, timeout_s: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(_QUESTION)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def _version(answer: bytes) -> str | None:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        return None
    try:
        document = read_json(body)
    except ValueError:
        return None
    version = document.get("Version") if isinstance(document, dict) else None
    return version if isinstance(version, str) else None
