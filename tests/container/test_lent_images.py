"""An image goes from one engine to another: whole or not at all, and a run does its work in it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from harness.cluster import images
from harness.cluster.depot import Depot
from harness.cluster.node import execute, problems
from harness.cluster.parts import LentImage, NodeTask, PartKind
from harness.errors import HostError
from harness.records import ImageRef, Limits, Profile, RunSpec, Status, to_json
from harness.runtime.docker import DockerRuntime
from tests.container.own_engine import Daemon, own_engine

pytestmark = pytest.mark.docker

SPEC = RunSpec(
    scenario="a99-lent",
    profile=Profile.CPU,
    workload="noop",
    params={"value": 1.5, "sleep_s": 0.0, "exit_code": 0, "index": 0, "steps": 0, "step_s": 0.0},
    limits=Limits(timeout_s=60.0),
)


@pytest.fixture(scope="module")
def small() -> Iterator[ImageRef]:
    """An image of 16 MB in the machine's engine."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 16_000_000
        tar.addfile(member, io.BytesIO(os.urandom(member.size)))
    with closing(docker.from_env()) as client:
        said = client.api.import_image_from_data(packed.getvalue())
        digest = json.loads(said.splitlines()[-1])["status"]
        yield ImageRef(name="small", digest=digest)
        client.images.remove(digest)


@pytest.fixture
def node() -> Iterator[Daemon]:
    """A node whose engine has no image."""
    with own_engine() as engine:
        yield engine


Offer = Callable[[ImageRef, Daemon], LentImage]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Let the machine's engine offer an image; from then on clients ask that of the node."""

    def offered(image: ImageRef, node: Daemon) -> LentImage:
        (lent,) = images.lent(replace(SPEC, image=image))
        monkeypatch.setenv("DOCKER_HOST", node.host)
        return lent

    return offered


@pytest.fixture
def lend(tmp_path: Path) -> Callable[[str, str], Iterator[bytes]]:
    """Lend what the machine's engine has, whichever clients ask by now."""
    driver = os.environ.get("DOCKER_HOST", "")
    (tmp_path / "artefacts").mkdir()

    def lend(question: str, *arguments: str) -> Iterator[bytes]:
        of_node = os.environ["DOCKER_HOST"]
        stream = Depot(None, None, tmp_path / "artefacts").lend(question, *arguments)
        os.environ["DOCKER_HOST"] = driver
        try:
            first = next(stream)  # it is connected
        finally:
            os.environ["DOCKER_HOST"] = of_node
        yield first
        yield from stream

    return lend


def there() -> list[str]:
    """The images of the engine that clients ask."""
    with closing(docker.from_env()) as client:
        return [str(each.id) for each in client.images.list(all=True)]


def test_a_run_is_done_in_an_image_that_its_node_lacked(
    cpu_image: ImageRef,
    node: Daemon,
    offer: Offer,
    lend: Callable[..., Iterator[bytes]],
    tmp_path: Path,
) -> None:
    lent, spec = offer(cpu_image, node), replace(SPEC, image=cpu_image)
    assert problems(DockerRuntime(), spec) == [
        (f"image {cpu_image.name} is not in the Docker engine", f"harness build {cpu_image.name}")
    ]
    assert not problems(DockerRuntime(), spec, [lent])
    assert not there()
    task = NodeTask(
        runtime=DockerRuntime(),
        spec=spec,
        files={"spec.json": json.dumps(to_json(spec)).encode()},
        program=None,
        label="",
        environment={},
        images=[lent],
        depot=lend,
    )
    last = [*execute(task, "b", tmp_path)][-1]
    assert last.kind is PartKind.ENDED, last.value
    assert last.value.status is Status.FINISHED, last.value
    assert there() == [cpu_image.digest]
    assert not problems(DockerRuntime(), spec)


def test_what_does_not_come_whole_leaves_nothing(
    small: ImageRef,
    node: Daemon,
    offer: Offer,
    lend: Callable[..., Iterator[bytes]],
    tmp_path: Path,
) -> None:
    lent = offer(small, node)

    def cut(question: str, *arguments: str) -> Iterator[bytes]:
        yield next(lend(question, *arguments))

    def lost(question: str, *arguments: str) -> Iterator[bytes]:
        yield next(lend(question, *arguments))
        message = "the driver has gone"
        raise HostError(message)

    for part, said in ((cut, "image small did not come whole"), (lost, "the driver has gone")):
        with pytest.raises(HostError, match=said):
            images.fetch(replace(SPEC, image=small), [lent], part, tmp_path)
        assert not there()
    images.fetch(replace(SPEC, image=small), [lent], lend, tmp_path)
    assert there() == [small.digest]


def test_another_image_than_was_asked_for_is_not_kept(
    small: ImageRef,
    node: Daemon,
    offer: Offer,
    lend: Callable[..., Iterator[bytes]],
    tmp_path: Path,
) -> None:
    wanted = replace(offer(small, node), image=ImageRef(name="cpu", digest=f"sha256:{'0' * 64}"))

    def other(question: str, *_: str) -> Iterator[bytes]:
        yield from lend(question, small.digest)

    with pytest.raises(HostError, match=f"came from the driver as {small.digest}, not as sha256:0"):
        images.fetch(replace(SPEC, image=wanted.image), [wanted], other, tmp_path)
    assert not there()


def test_a_disk_that_fills_up_on_the_way_is_named_and_nothing_stays(
    small: ImageRef,
    offer: Offer,
    lend: Callable[..., Iterator[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with own_engine(root_bytes=24_000_000) as engine:
        lent = offer(small, engine)
        spec = replace(SPEC, image=small)
        with pytest.raises(HostError, match=r"image small needs 1\.03 GiB while .* are free in"):
            images.fetch(spec, [lent], lend, tmp_path)
        monkeypatch.setattr(images, "_obstacle", lambda *_: None)  # there was room when it began
        with pytest.raises(HostError, match="the disk of the Docker engine is full"):
            images.fetch(spec, [lent], lend, tmp_path)
        assert not there()
