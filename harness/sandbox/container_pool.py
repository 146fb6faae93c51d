"""Boxes that are containers: slower to make, and ready before they are needed.

A container's first process is a keeper. It lives on when a box is given back: the keeper ends every
process, empties what can be written to, and waits for the next one. The image needs ``python3``,
``bash`` and ``find``; nothing of this machine is mounted into it.

Its standard input is the attach connection. When the harness dies, however it dies, the engine
closes that, the keeper ends, and the engine removes the container.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from harness.records import ImageRef
from harness.sandbox import seccomp
from harness.sandbox.base import BoxLimits, SandboxUnavailable
from harness.sandbox.channel import Link, keeper_command
from harness.sandbox.mounts import (
    ENVIRONMENT,
    HOST_NAME,
    NOBODY,
    SHM_BYTES,
    TMP_BYTES,
    TMP_INODES,
    WORKSPACE,
    Place,
    command_limits,
    memory_bytes,
    workspace_bytes,
    workspace_inodes,
)
from harness.sandbox.protocol import Deed, Request
from harness.sandbox.supervised import Box
from harness.variables import RUN_VARIABLE

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_TIMEOUT_S = 60  # of one request to the engine
_EMPTY_S = 60.0
_DAY_S = 86_400.0
_OWN_PROCESSES = 1  # the keeper
_SCRATCH = ("/tmp", "/dev/shm", "/dev/mqueue")  # noqa: S108 - what a container's user may write to
_GONE = frozenset({404, 409})  # the engine has removed it, or is about to
_LAST = 4096  # characters of a keeper's last words


class ContainerPool:
    """Makes boxes that are containers, and keeps some for the next ones.

    Args:
        image: the image; it must be in the engine.
        limits: of each box.
        spare: how many unused containers are kept.
    """

    def __init__(self, image: ImageRef, limits: BoxLimits = BoxLimits(), *, spare: int = 4) -> None:  # noqa: B008 - frozen
        self.limits = limits
        self._image = image
        self._spare = spare
        self._unused: queue.SimpleQueue[Link] = queue.SimpleQueue()
        self._links: set[Link] = set()
        self._engine = threading.Lock()  # its client is not made for threads

    def __enter__(self) -> Self:
        import docker  # noqa: PLC0415 - only where boxes are containers

        with _reached():
            self._client: DockerClient = docker.from_env(timeout=_TIMEOUT_S)
            self._num_cpus = int(self._client.info()["NCPU"])
        return self

    def __exit__(self, *_: object) -> None:
        for link in tuple(self._links):  # also of boxes that were not given back
            link.end()
        self._client.close()

    def box(self) -> Box:
        """Return a box that has not been entered."""
        return Box(self)

    def open(self) -> Link:
        """Take an unused container, or start one.

        Raises:
            SandboxUnavailable: there is no engine or no such image.
        """
        with suppress(queue.Empty):
            while True:
                link = self._unused.get_nowait()
                with suppress(SandboxUnavailable):  # it broke while nobody used it
                    link.try_command()
                    return link
        return self._start()

    def close(self, link: Link) -> None:
        """Keep a container for the next box, emptied; or end it."""
        with suppress(SandboxUnavailable):
            if self._unused.qsize() < self._spare:
                link.ask(Request(deed=Deed.MATERIALISE), within_s=_EMPTY_S)
                self._unused.put(link)
                return
        link.end()
        self._links.discard(link)

    def _start(self) -> Link:
        container = _Container(self._client, self._options(), self._engine)
        link = container.link
        self._links.add(link)
        try:
            container.start()
            place = Place(
                scratch=_SCRATCH,
                files={},
                limits=command_limits(self.limits),
                seccomp=seccomp.program().hex(),
                environment=ENVIRONMENT,
            )
            link.start(place)
            link.try_command()
        except BaseException:
            link.end()
            raise
        return link

    def _options(self) -> dict[str, Any]:
        """Return what the engine is told of a container, as arguments of ``create``."""
        from docker.types import LogConfig, Ulimit  # noqa: PLC0415 - only where boxes are containers

        limits = self.limits
        memory = memory_bytes(limits)
        return {
            "image": self._image.digest,
            "entrypoint": [],
            "command": keeper_command("python3"),
            "labels": _labels(),
            "hostname": HOST_NAME,
            "user": f"{NOBODY}:{NOBODY}",
            "stdin_open": True,  # the line to the keeper, and its lifeline
            "auto_remove": True,  # nobody asks how a box ended
            "network_mode": "none",
            "read_only": True,
            "tmpfs": {
                WORKSPACE: _disk(workspace_bytes(limits), workspace_inodes(limits)),
                "/tmp": _disk(TMP_BYTES, TMP_INODES),  # noqa: S108 - in the container
                "/dev/pts": "ro,size=4k",  # the machine has a few thousand terminals for all
            },
            "shm_size": SHM_BYTES,
            "ipc_mode": "private",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "mem_limit": memory,
            "memswap_limit": memory,  # no swap on top
            "pids_limit": limits.processes + _OWN_PROCESSES,
            "nano_cpus": round(min(limits.cpus, self._num_cpus) * 1e9),
            "ulimits": [Ulimit(name="core", soft=0, hard=0)],
            "log_config": LogConfig(type="none"),
        }


class _Container:
    """A container whose first process is a keeper, with the line to it."""

    def __init__(
        self, client: DockerClient, options: Mapping[str, Any], engine: threading.Lock
    ) -> None:
        self._engine = engine
        self._frames = _Frames()
        with self._engine, _reached():
            self._container: Container = client.containers.create(**options)
            try:
                streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                self._line = client.api.attach_socket(str(self._container.id), params=streams)
            except BaseException:
                self._container.remove(force=True)
                raise
        end = self._line.fileno()
        os.set_blocking(end, False)
        self.link = Link(
            to_keeper=end, from_keeper=end, end=self._end, unframed=self._frames.unframed
        )

    def start(self) -> None:
        """Start the keeper."""
        with self._engine, _reached():
            self._container.start()

    def _end(self) -> str:
        import docker.errors  # noqa: PLC0415 - only where boxes are containers

        # only the response, which the client hides in there, closes the connection
        self._line._response.close()  # noqa: SLF001
        # what cannot be removed now ends by itself, or is found by its labels
        with self._engine, suppress(SandboxUnavailable), _reached():
            try:
                self._container.remove(force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code not in _GONE:
                    raise
        return self._frames.last_words


class _Frames:
    """What comes over an attach connection: two streams in one, in frames.

    A frame is a byte naming the stream, three zero bytes, the length as a big-endian 32-bit number,
    and that many bytes (Docker Engine API, "Attach to a container").
    """

    _HEADER = struct.Struct(">BxxxL")
    _STDOUT = 1

    def __init__(self) -> None:
        self.last_words = ""
        self._pending = bytearray()

    def unframed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return those of standard output in the frames they complete."""
        self._pending += chunk
        stdout = bytearray()
        while len(self._pending) >= self._HEADER.size:
            stream, length = self._HEADER.unpack_from(self._pending)
            end = self._HEADER.size + length
            if len(self._pending) < end:
                break
            content = self._pending[self._HEADER.size : end]
            del self._pending[:end]
            if stream == self._STDOUT:
                stdout += content
            else:
                self.last_words = (self.last_words + content.decode(errors="replace"))[-_LAST:]
        return bytes(stdout)


def _labels() -> Mapping[str, str]:
    """Return what says whose a container is, as on the containers of runs.

    The run that this process belongs to is named in its environment (`harness.runtime.processes`);
    what belongs to a dead harness is removed by the next one.
    """
    run, _, owner = os.environ.get(RUN_VARIABLE, "").rpartition(":")
    labels = {"harness.sandbox": "1"}
    if owner:
        deadline = f"{time.time() + _DAY_S:.0f}"
        labels |= {"harness.run": run, "harness.owner": owner, "harness.deadline": deadline}
    return labels


def _disk(size_bytes: int, inodes: int) -> str:
    return f"rw,exec,nosuid,nodev,size={size_bytes},nr_inodes={inodes},mode=1777"


@contextmanager
def _reached() -> Iterator[None]:
    """Turn what Docker's client raises into `SandboxUnavailable`."""
    import docker.errors  # noqa: PLC0415 - only where boxes are containers
    import requests  # noqa: PLC0415 - its exceptions come through the client

    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        message = f"Docker: {error}"
        raise SandboxUnavailable(message, "harness doctor") from error
