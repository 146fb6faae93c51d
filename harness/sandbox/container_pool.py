"""Sandboxes that are containers: slower to make, but their ``/usr`` is an image's, by digest.

A container's first process is the supervisor. When a sandbox is given back, the container lives on:
the supervisor ends every process, empties what can be written to, and waits for the next use. The
image needs ``python3``, ``bash`` and ``find``; nothing of this machine is mounted into it.

The supervisor's standard input is the attach connection. When the harness dies, however it dies,
the engine closes that, the supervisor ends, and the engine removes the container.
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
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.channel import SandboxChannel, supervisor_command
from harness.sandbox.config import ENVIRONMENT, HOST_NAME, NOBODY, WORKSPACE, SupervisorConfig
from harness.sandbox.limits import (
    SHM_BYTES,
    TMP_BYTES,
    TMP_INODES,
    SandboxLimits,
    memory_bytes,
    resource_limits,
    workspace_bytes,
    workspace_inodes,
)
from harness.sandbox.protocol import SandboxOp, SandboxRequest
from harness.sandbox.supervised import SupervisedSandbox
from harness.variables import RUN_VARIABLE

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_TIMEOUT_S = 60  # of one request to the engine
_EMPTY_S = 60.0
_DAY_S = 86_400.0
_OWN_PROCESSES = 1  # the supervisor
_SCRATCH = ("/tmp", "/dev/shm", "/dev/mqueue")  # noqa: S108 - what a container's user may write to
_GONE = frozenset({404, 409})  # the engine has removed it, or is about to
_LAST = 4096  # characters kept of a supervisor's standard error


class ContainerPool:
    """Makes sandboxes that are containers, and keeps unused ones for the next sandbox.

    Args:
        image: the image; it must be in the engine.
        limits: of each sandbox.
        num_spare: how many unused containers are kept.
        owner: the run they belong to and who started it, as `RUN_VARIABLE` holds it; None for the
            run that this process belongs to.
    """

    def __init__(
        self,
        image: ImageRef,
        limits: SandboxLimits = SandboxLimits(),  # noqa: B008 - frozen
        *,
        num_spare: int = 4,
        owner: str | None = None,
    ) -> None:
        self.limits = limits
        self._image = image
        self._num_spare = num_spare
        self._owner = os.environ.get(RUN_VARIABLE, "") if owner is None else owner
        self._unused: queue.SimpleQueue[SandboxChannel] = queue.SimpleQueue()
        self._channels: set[SandboxChannel] = set()
        self._engine = threading.Lock()  # Docker's client is not thread-safe

    def __enter__(self) -> Self:
        import docker  # noqa: PLC0415 - only where sandboxes are containers

        with _explained(self._image):
            self._client: DockerClient = docker.from_env(timeout=_TIMEOUT_S)
            self._num_cpus = int(self._client.info()["NCPU"])
        return self

    def __exit__(self, *_: object) -> None:
        for channel in tuple(self._channels):  # also of sandboxes that were not given back
            channel.end()
        self._client.close()

    def make(self) -> SupervisedSandbox:
        """Return a sandbox that has not been entered."""
        return SupervisedSandbox(self)

    def open(self) -> SandboxChannel:
        """Take an unused container, or start one.

        Raises:
            SandboxUnavailable: there is no engine or no such image.
        """
        with suppress(queue.Empty):
            while True:
                channel = self._unused.get_nowait()
                with suppress(SandboxUnavailable):  # it broke while it was unused
                    channel.try_command()
                    return channel
        return self._start()

    def close(self, channel: SandboxChannel) -> None:
        """Empty a container and keep it for the next sandbox; or end it."""
        with suppress(SandboxUnavailable):
            if self._unused.qsize() < self._num_spare:
                channel.call(SandboxRequest(op=SandboxOp.MATERIALISE), within_s=_EMPTY_S)
                self._unused.put(channel)
                return
        channel.end()
        self._channels.discard(channel)

    def _start(self) -> SandboxChannel:
        container = _SandboxContainer(self._client, self._image, self._options(), self._engine)
        channel = container.channel
        self._channels.add(channel)
        try:
            container.start()
            config = SupervisorConfig(
                scratch=_SCRATCH,
                files={},
                resource_limits=resource_limits(self.limits),
                seccomp=seccomp.program().hex(),
                environment=ENVIRONMENT,
            )
            channel.start(config)
            channel.try_command()
        except BaseException:
            channel.end()
            raise
        return channel

    def _options(self) -> dict[str, Any]:
        """Return the arguments of the engine's ``create``."""
        from docker.types import LogConfig, Ulimit  # noqa: PLC0415 - only where sandboxes are containers

        limits = self.limits
        memory = memory_bytes(limits)
        return {
            "image": self._image.digest,
            "entrypoint": [],
            "command": supervisor_command("python3"),
            "labels": _labels(self._owner),
            "hostname": HOST_NAME,
            "user": f"{NOBODY}:{NOBODY}",
            "stdin_open": True,  # the channel to the supervisor, and its lifeline
            "auto_remove": True,  # how a sandbox ended is of no interest
            "network_mode": "none",
            "read_only": True,
            "tmpfs": {
                WORKSPACE: _tmpfs(workspace_bytes(limits), workspace_inodes(limits)),
                "/tmp": _tmpfs(TMP_BYTES, TMP_INODES),  # noqa: S108 - in the container
                "/dev/pts": "ro,size=4k",  # the machine's few thousand terminals are shared
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


class _SandboxContainer:
    """A container whose first process is a supervisor, with the channel to it."""

    def __init__(
        self,
        client: DockerClient,
        image: ImageRef,
        options: Mapping[str, Any],
        engine: threading.Lock,
    ) -> None:
        self._image = image
        self._engine = engine
        self._frames = _Frames()
        with self._engine, _explained(image):
            self._container: Container = client.containers.create(**options)
            try:
                streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                self._connection = client.api.attach_socket(str(self._container.id), params=streams)
            except BaseException:
                self._container.remove(force=True)
                raise
        end = self._connection.fileno()
        os.set_blocking(end, False)
        self.channel = SandboxChannel(
            to_supervisor=end, from_supervisor=end, end=self._end, unframe=self._frames.unframe
        )

    def start(self) -> None:
        """Start the supervisor."""
        with self._engine, _explained(self._image):
            self._container.start()

    def _end(self) -> str:
        import docker.errors  # noqa: PLC0415 - only where sandboxes are containers

        # only the response, which the client hides in there, closes the connection
        self._connection._response.close()  # noqa: SLF001
        # what cannot be removed now ends by itself, or is found by its labels
        with self._engine, suppress(SandboxUnavailable), _explained(self._image):
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

    def unframe(self, chunk: bytes) -> bytes:
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


def _labels(owner: str) -> Mapping[str, str]:
    """Return the labels that name a container's run and owner, as on the containers of runs.

    What belongs to a dead harness is removed by the next one (`harness.runtime.docker`).
    """
    run, _, token = owner.rpartition(":")
    labels = {"harness.sandbox": "1"}
    if token:
        deadline = f"{time.time() + _DAY_S:.0f}"
        labels |= {"harness.run": run, "harness.owner": token, "harness.deadline": deadline}
    return labels


def _tmpfs(size_bytes: int, inodes: int) -> str:
    return f"rw,exec,nosuid,nodev,size={size_bytes},nr_inodes={inodes},mode=1777"


@contextmanager
def _explained(image: ImageRef) -> Iterator[None]:
    """Turn what Docker's client raises into `SandboxUnavailable`, with the next command."""
    import docker.errors  # noqa: PLC0415 - only where sandboxes are containers
    import requests  # noqa: PLC0415 - its exceptions come through the client

    try:
        yield
    except docker.errors.ImageNotFound as error:
        message = f"image {image.name} is not in the Docker engine"
        raise SandboxUnavailable(message, f"harness build {image.name}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        message = f"Docker: {error}"
        raise SandboxUnavailable(message, "harness doctor") from error
