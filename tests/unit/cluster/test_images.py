"""A node gets the images that it lacks from the driver: whole, by digest, one at a time."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cluster import images
from harness.cluster import node as on_node
from harness.cluster.depot import Depot
from harness.cluster.parts import CHUNK_BYTES, Lender, LentImage
from harness.errors import HostError
from harness.records import ImageRef, Profile, RunSpec, SandboxKind, SandboxSpec
from harness.runtime.docker import DockerRuntime
from harness.runtime.local import LocalRuntime
from tests.unit.cluster.tiny_engine import TinyEngine, archive, running

DIGEST, ARCHIVE = archive()
IMAGE = ImageRef(name="nemo", digest=DIGEST)
SPEC = RunSpec(scenario="a99-example", profile=Profile.CPU, workload="noop", params={}, image=IMAGE)
LENT = (LentImage(image=IMAGE, size_bytes=len(ARCHIVE), platform="linux/amd64"),)


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyEngine]:
    """The engine of this process, which is now the driver's and now a node's."""
    monkeypatch.setattr(images, "this_platform", lambda: "linux/amd64")
    tiny = TinyEngine(tmp_path)
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,  # its socket's path must be short
        running(tiny, Path(folder) / "socket") as host,
    ):
        monkeypatch.setenv("DOCKER_HOST", host)
        yield tiny


def lender(*chunks: bytes, asked: list[str] | None = None) -> Lender:
    def lend(question: str, *arguments: str) -> Iterator[bytes]:
        if asked is not None:
            asked.append(f"{question} {' '.join(arguments)}")
        yield from chunks

    return lend


def test_what_the_driver_s_engine_saves_comes_in_chunks(engine: TinyEngine, tmp_path: Path) -> None:
    digest, content = archive(bytes(2 * CHUNK_BYTES))
    engine.images[digest] = content
    (lent,) = images.lent(replace(SPEC, image=ImageRef(name="nemo", digest=digest)))
    assert (lent.size_bytes, lent.platform) == (len(content), "linux/amd64")
    chunks = [*Depot(None, None, tmp_path / "artefacts").lend("image", digest)]
    assert b"".join(chunks) == content
    assert [len(chunk) for chunk in chunks[:-1]] == [CHUNK_BYTES] * 2


def test_an_image_that_the_driver_lacks_is_not_lent(engine: TinyEngine, tmp_path: Path) -> None:
    assert not engine.images
    assert not images.lent(SPEC)
    with pytest.raises(HostError, match=r"image sha256:\w+ is not in the Docker engine"):
        next(Depot(None, None, tmp_path).lend("image", DIGEST))


def test_a_driver_without_an_engine_lends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/socket")
    assert not images.lent(SPEC)
    assert not images.lent(replace(SPEC, image=None))


def test_an_image_is_fetched_once(engine: TinyEngine, tmp_path: Path) -> None:
    asked: list[str] = []
    for _ in range(2):
        images.fetch(SPEC, LENT, lender(ARCHIVE[:700], ARCHIVE[700:], asked=asked), tmp_path)
    assert engine.images == {DIGEST: ARCHIVE}
    assert asked == [f"image {DIGEST}"]


def test_runs_that_begin_at_once_on_a_node_fetch_an_image_once(
    engine: TinyEngine, tmp_path: Path
) -> None:
    asked: list[str] = []
    lacking = threading.Barrier(2, timeout=50)

    def begin() -> None:
        assert images.lacking(SPEC, LENT)
        lacking.wait()
        images.fetch(SPEC, LENT, lender(ARCHIVE, asked=asked), tmp_path)

    with ThreadPoolExecutor() as pool:
        for each in [pool.submit(begin) for _ in range(2)]:
            each.result()
    assert engine.images == {DIGEST: ARCHIVE}
    assert asked == [f"image {DIGEST}"]


def test_a_driver_that_is_lost_half_way_leaves_nothing(engine: TinyEngine, tmp_path: Path) -> None:
    def lend(question: str, *_: str) -> Iterator[bytes]:
        assert question == "image"
        yield ARCHIVE[:700]
        message = "the driver cannot lend it: it has gone"
        raise HostError(message, "ray status")

    with pytest.raises(HostError, match="the driver cannot lend it: it has gone\n  next: ray stat"):
        images.fetch(SPEC, LENT, lend, tmp_path)
    assert not engine.images


def test_an_archive_that_is_cut_is_refused(engine: TinyEngine, tmp_path: Path) -> None:
    with pytest.raises(HostError) as refused:
        images.fetch(SPEC, LENT, lender(ARCHIVE[:700]), tmp_path)
    assert refused.value.message == (
        "image nemo did not come whole from the driver: Error processing tar file: unexpected EOF"
    )
    assert refused.value.remedy.startswith(f"docker save {DIGEST} | ssh ")
    assert not engine.images


def test_another_image_than_was_asked_for_is_not_kept(engine: TinyEngine, tmp_path: Path) -> None:
    other, content = archive(b"other")
    with pytest.raises(HostError, match=f"came from the driver as {other}, not as {DIGEST}"):
        images.fetch(SPEC, LENT, lender(content), tmp_path)
    assert not engine.images
    engine.images[other] = content  # somebody's own stays
    with pytest.raises(HostError, match="not as"):
        images.fetch(SPEC, LENT, lender(content), tmp_path)
    assert engine.images == {other: content}


def test_an_image_that_the_disk_has_no_room_for_is_not_begun(tmp_path: Path) -> None:
    asked: list[str] = []
    lent = replace(LENT[0], size_bytes=2**60)
    with pytest.raises(HostError, match=r"needs 2\.15e\+09 GiB .* GiB are free in "):
        images.fetch(SPEC, [lent], lender(ARCHIVE, asked=asked), tmp_path)
    assert not asked


# --- before anything starts -----------------------------------------------------------------------


def problems(spec: RunSpec, *lent: LentImage) -> list[tuple[str, str]]:
    return on_node.problems(DockerRuntime() if spec.image else LocalRuntime(), spec, lent)


def test_a_node_without_an_image_that_the_driver_lends_can_do_the_run() -> None:
    assert not [*images.problems(DockerRuntime(), SPEC, LENT)]
    assert problems(SPEC) == [("image nemo is not in the Docker engine", "harness build nemo")]


def test_a_disk_without_room_for_it_is_said_before_anything_starts(tmp_path: Path) -> None:
    ((message, remedy),) = problems(SPEC, replace(LENT[0], size_bytes=2**50))
    assert message.startswith("image nemo needs 2.1e+06 GiB while it is fetched from the driver, ")
    assert message.endswith(f"are free in {tmp_path}")
    assert remedy == "docker system df, then docker system prune"


def test_an_image_for_another_processor_is_said_before_anything_starts() -> None:
    ((message, _),) = problems(SPEC, replace(LENT[0], platform="linux/arm64"))
    assert message == "image nemo of the driver is for linux/arm64, this is linux/amd64"


def test_a_node_without_an_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/socket")
    ((message, _),) = problems(SPEC, *LENT)
    assert message == "no Docker engine at unix:///nowhere/socket"


def test_the_image_of_sandboxes_is_needed_where_they_are_containers() -> None:
    sandbox = SandboxSpec(kind=SandboxKind.CONTAINERS, image=IMAGE)
    spec = replace(SPEC, image=None, sandbox=sandbox)
    assert images.lacking(spec, LENT) == [*LENT]
    assert not problems(spec, *LENT)
    memory = replace(spec, sandbox=replace(sandbox, kind=SandboxKind.AUTO, memory_suffices=True))
    assert not images.lacking(memory, LENT)
