"""Images of containers that a node lacks: fetched from the driver's engine, by their digest.

What the driver's engine saves is what the node's engine loads: it is in no file in between, and an
engine keeps an archive whole or not at all. One image at a time is fetched on a node.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cluster.parts import CHUNK_BYTES, Lender, LentImage
from harness.errors import HostError
from harness.records import ImageRef, RunSpec, SandboxKind, SandboxSpec
from harness.runtime import engine
from harness.runtime.base import Runtime
from harness.runtime.daemon import engine_socket
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.choice import working_kind
from harness.scenario.images import this_platform

if TYPE_CHECKING:
    from docker import DockerClient

_LONG_S = 3600.0  # an engine writes all of an image before its first byte, and after its last one
_LOADING = 2  # times its size: an engine keeps the archive until the layers are out of it
_SPARE_BYTES = 2**30
_BYTES_PER_GIB = 2**30


# --- at the driver --------------------------------------------------------------------------------


def lent(spec: RunSpec) -> tuple[LentImage, ...]:
    """Return the images of a run, its sandboxes' too, that the engine here can lend to nodes."""
    of_sandbox = spec.sandbox.image if spec.sandbox else None
    wanted = [image for image in (spec.image, of_sandbox) if image is not None]
    if not wanted:
        return ()
    try:
        with engine.connected() as client:
            return tuple(_lent(client, image) for image in wanted if _has(client, image))
    except HostError:  # a node that lacks one says so
        return ()


def _lent(client: DockerClient, image: ImageRef) -> LentImage:
    with engine.explained(image.name):
        attributes = client.images.get(image.digest).attrs
    return LentImage(
        image=image,
        size_bytes=attributes["Size"],
        platform=f"{attributes['Os']}/{attributes['Architecture']}",
    )


def saved(digest: str) -> Iterator[bytes]:
    """Yield an image of the engine here as an archive.

    Raises:
        HostError: there is no engine, or it has no such image.
    """
    with engine.connected(_LONG_S) as client, engine.explained(digest):
        client.images.get(digest)  # of one that is absent, saving says less
        with closing(client.api.get_image(digest, CHUNK_BYTES)) as stream:
            yield from _in_chunks(stream)


def _in_chunks(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what comes in parts of a chunk: an engine sends 32 KiB at a time."""
    waiting = bytearray()
    for part in stream:
        waiting += part
        if len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


# --- on a node ------------------------------------------------------------------------------------


def lacking(spec: RunSpec, offered: Sequence[LentImage]) -> list[LentImage]:
    """Return the images that a run needs here, the engine lacks and the driver lends.

    Raises:
        HostError: there is no engine.
    """
    needed = [each for each in offered if _needs(spec, each.image)]
    if not needed:
        return []
    with engine.connected() as client:
        return [each for each in needed if not _has(client, each.image)]


def problems(runtime: Runtime, spec: RunSpec, offered: Sequence[LentImage]) -> Iterator[HostError]:
    """Yield what keeps this node from a run, though it may lack images that are fetched before it.

    Starts and fetches nothing. Sandboxes whose image comes are tried once it is here.
    """
    try:
        fetched = lacking(spec, offered)
    except HostError:  # no engine: the runtime says what it lacks for that
        fetched = []
    if not fetched:
        yield from runtime.problems(spec)
        return
    with engine.connected() as client:
        yield from (each for lent in fetched if (each := _obstacle(client, lent)))
    come = [lent.image for lent in fetched]
    if spec.sandbox is not None and spec.sandbox.image in come:
        spec = replace(spec, sandbox=None)
    for problem in runtime.problems(spec):
        if not (isinstance(problem, engine.NoImageError) and spec.image in come):
            yield problem


def fetch(spec: RunSpec, offered: Sequence[LentImage], depot: Lender, folder: Path) -> None:
    """Load the images that `lacking` names; whoever else fetches on this node is waited for.

    Args:
        spec: the run.
        offered: what the driver lends.
        depot: by which it lends.
        folder: of this node, for the lock.

    Raises:
        HostError: the image cannot be had; nothing of it is kept.
    """
    for each in lacking(spec, offered):
        with _alone(folder), engine.connected(_LONG_S) as client:
            if not _has(client, each.image):  # else another run has just fetched it
                _load(client, each, depot)


def _needs(spec: RunSpec, image: ImageRef) -> bool:
    return image == spec.image or (
        spec.sandbox is not None and image == spec.sandbox.image and _needs_containers(spec.sandbox)
    )


def _needs_containers(sandbox: SandboxSpec) -> bool:
    """Return whether sandboxes work here as containers only."""
    if sandbox.may_use_memory:
        return False
    if sandbox.kind is SandboxKind.CONTAINERS:
        return True
    try:
        working_kind(replace(sandbox, kind=SandboxKind.BUBBLEWRAP))
    except SandboxUnavailable:
        return True
    return False


def _has(client: DockerClient, image: ImageRef) -> bool:
    try:
        with engine.explained(image.name):
            client.images.get(image.digest)
    except engine.NoImageError:
        return False
    return True


def _obstacle(client: DockerClient, lent: LentImage) -> HostError | None:
    name = lent.image.name
    if lent.platform != this_platform():
        message = f"image {name} of the driver is for {lent.platform}, this is {this_platform()}"
        return HostError(message, f"harness build {name}  # on a machine like this, and run there")
    with engine.explained():
        root = client.info()["DockerRootDir"]
    try:
        free = shutil.disk_usage(root).free if engine_socket() else None
    except OSError:  # of an engine in a machine of its own
        free = None
    wanted = _LOADING * lent.size_bytes + _SPARE_BYTES
    if free is None or free >= wanted:
        return None
    message = (
        f"image {name} needs {wanted / _BYTES_PER_GIB:.3g} GiB while it is fetched from the driver,"
        f" and {free / _BYTES_PER_GIB:.3g} GiB are free in {root}"
    )
    return HostError(message, "docker system df, then docker system prune")


def _load(client: DockerClient, lent: LentImage, depot: Lender) -> None:
    """Load an image from the driver, and refuse what is another one."""
    import docker.errors  # noqa: PLC0415 - planning must not load the Docker client

    image = lent.image
    if problem := _obstacle(client, lent):
        raise problem
    remedy = f"docker save {image.digest} | ssh {socket.gethostname()} docker load"
    with engine.explained(image.name):
        before = {each.id for each in client.images.list(all=True)}
        try:
            archive: Any = depot("image", image.digest)  # the stubs know no iterator
            came = client.images.load(archive)
        except docker.errors.ImageLoadError as error:
            message = f"image {image.name} did not come whole from the driver: {error}"
            raise engine.meaning(str(error), image.name) or HostError(message, remedy) from None
        if _has(client, image):
            return
        for each in came:
            if each.id not in before:
                client.images.remove(str(each.id))
    digests = ", ".join(str(each.id) for each in came) or "nothing"
    message = f"image {image.name} came from the driver as {digests}, not as {image.digest}"
    raise HostError(message, "docker info  # there and here: each image store has ids of its own")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "images.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
