"""What the conformance suites are held against: runtimes and programs for them, and sandboxes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import ImageRef, Limits, Profile, RunOutcome, RunSpec, record, to_json
from harness.runtime import local
from harness.runtime.base import Launch, Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.local import LocalRuntime
from harness.runtime.sandbox_server import SOCKET, lent_boxes
from harness.sandbox.base import BoxLimits
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.remote import BoxesOutside
from harness.sandbox.supervised import Box

LIMITS = Limits(timeout_s=60.0)


@record
class Bench:
    """A runtime under test, and a place for its runs."""

    runtime: Runtime
    image: ImageRef | None
    folder: Path

    @property
    def scenario(self) -> str:
        """Of this test in this session only, so that sessions side by side do not meet."""
        return f"a99-{self.folder.parent.name}-{os.getpid()}"

    def reaped(self, launch: Launch) -> int:
        """Reap, and return how much was left of one run."""
        return sum(each.run_id == launch.spec.run_id for each in self.runtime.reap())

    @property
    def isolates(self) -> bool:
        """Whether it promises what only a container can hold."""
        return self.image is not None

    def launch(
        self,
        program: str | None = None,
        *,
        limits: Limits = LIMITS,
        env: Mapping[str, str] | None = None,
        evidence_dir: Path | None = None,
        **params: float,
    ) -> Launch:
        """Return the launch of a Python program, or of the workload noop with `params`."""
        run_dir = self.folder / f"run-{sum(1 for _ in self.folder.iterdir())}"
        run_dir.mkdir()
        spec = replace(noop(**params), scenario=self.scenario, image=self.image, limits=limits)
        (run_dir / "spec.json").write_text(json.dumps(to_json(spec)), encoding="utf-8")
        return Launch(
            spec=spec,
            run_dir=run_dir,
            env=env or {},
            evidence_dir=evidence_dir,
            program=None if program is None else ("-c", program),
        )

    def run(self, program: str, limits: Limits = LIMITS) -> tuple[RunOutcome, Path]:
        """Run a Python program; return the outcome and the run's folder."""
        launch = self.launch(program, limits=limits)
        return self.runtime.run(launch), launch.run_dir


def noop(**params: float) -> RunSpec:
    given = {"value": 1.5, "sleep_s": 0.0, "exit_code": 0, "index": 0, **params}
    return RunSpec(scenario="a99-contract", profile=Profile.CPU, workload="noop", params=given)


@pytest.fixture(
    params=["local", "local without pidfd", pytest.param("docker", marks=pytest.mark.docker)]
)
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """Each runtime in turn, entered; macOS has no pidfd."""
    monkeypatch.setattr(local, "_HAS_PIDFD", request.param == "local")
    image = request.getfixturevalue("cpu_image") if request.param == "docker" else None
    folder = tmp_path / "runs"
    folder.mkdir()
    runtime: Runtime = LocalRuntime() if image is None else DockerRuntime()
    with runtime:
        runtime.reap()  # what an earlier session left that was killed
        yield Bench(runtime=runtime, image=image, folder=folder)


# small, so that what fills them is quick
BOX_LIMITS = BoxLimits(memory_mib=128, processes=32, workspace_bytes=4 << 20, workspace_paths=200)
BOXES = ["bubblewrap", "outside", pytest.param("pool", marks=pytest.mark.docker)]
Boxes = Bubblewrap | BoxesOutside | ContainerPool


@pytest.fixture(scope="session")
def container_pool(cpu_image: ImageRef) -> Iterator[ContainerPool]:
    with ContainerPool(cpu_image, BOX_LIMITS) as pool:
        yield pool


@pytest.fixture(scope="session")
def boxes_outside() -> Iterator[BoxesOutside]:
    """Boxes asked for over a socket, as a run in a container does."""
    with lent_boxes(Limits(boxes=True)) as folder:
        assert folder is not None
        yield BoxesOutside(folder / SOCKET, BOX_LIMITS)


@pytest.fixture(params=BOXES)
def boxes(request: pytest.FixtureRequest) -> Boxes:
    """Each maker of boxes in turn."""
    return makers(request.param, request)


def makers(name: str, request: pytest.FixtureRequest) -> Boxes:
    """The maker of a name in `BOXES`."""
    if name == "bubblewrap":
        return bubblewrap()
    if name == "outside":
        bubblewrap()
        outside: BoxesOutside = request.getfixturevalue("boxes_outside")
        return outside
    pool: ContainerPool = request.getfixturevalue("container_pool")
    return pool


def bubblewrap(*, use_groups: bool = True) -> Bubblewrap:
    if shutil.which("bwrap") is None:
        pytest.skip("there is no bubblewrap here: sudo apt-get install bubblewrap")
    return Bubblewrap(BOX_LIMITS, use_groups=use_groups)


@pytest.fixture(scope="session")
def used_boxes() -> Iterator[dict[str, Box]]:
    """The boxes of the last test, to be used again: starting one takes a while."""
    used: dict[str, Box] = {}
    yield used
    for box in used.values():
        box.destroy()


@pytest.fixture(params=BOXES)
def box(request: pytest.FixtureRequest, used_boxes: dict[str, Box]) -> Iterator[Box]:
    """An empty box that other tests have used; it must survive what the test does to it."""
    name: str = request.param
    box = used_boxes.pop(name, None) or makers(name, request).box().__enter__()
    box.materialise({})
    try:
        yield box
        assert box.run("echo alive").stdout == "alive\n"
        used_boxes[name] = box
    finally:
        if name not in used_boxes:
            box.destroy()


@record
class Marker:
    """A word that the processes of one test, and no others of this machine, carry."""

    word: str

    @property
    def sleep(self) -> str:
        """A command that stays, with the word in its arguments."""
        return f"sleep {self.word}"

    def pids(self) -> list[int]:
        """The processes that run now, in whatever namespace, with the word in their arguments."""
        return [int(entry.name) for entry in os.scandir("/proc") if self._is_on(entry.name)]

    def _is_on(self, name: str) -> bool:
        try:
            return (
                name.isdigit() and self.word.encode() in Path(f"/proc/{name}/cmdline").read_bytes()
            )
        except OSError:  # it has just ended
            return False


@pytest.fixture
def marker() -> Iterator[Marker]:
    """A marker; nothing that carries it may be left when the test is over."""
    marker = Marker(word=f"3600.{secrets.randbelow(10**12):012}")
    yield marker
    assert marker.pids() == []
