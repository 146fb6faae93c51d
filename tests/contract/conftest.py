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

from harness.records import (
    ImageRef,
    Limits,
    Profile,
    RunOutcome,
    RunSpec,
    SandboxKind,
    SandboxSpec,
    record,
    to_json,
)
from harness.runtime import local
from harness.runtime.base import Launch, Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.local import LocalRuntime
from harness.runtime.sandbox_server import SOCKET, serve_sandboxes
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.limits import SandboxLimits
from harness.sandbox.remote import RemoteSandboxFactory
from harness.sandbox.supervised import SupervisedSandbox

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
SANDBOX_LIMITS = SandboxLimits(
    memory_mib=128, processes=32, workspace_bytes=4 << 20, workspace_paths=200
)
SANDBOXES = [
    "bubblewrap",
    "remote bubblewrap",
    pytest.param("containers", marks=pytest.mark.docker),
    pytest.param("remote containers", marks=pytest.mark.docker),
]
Factory = Bubblewrap | RemoteSandboxFactory | ContainerPool
BUBBLEWRAP = SandboxSpec(kind=SandboxKind.BUBBLEWRAP)


@pytest.fixture(scope="session")
def container_pool(sandbox_image: ImageRef) -> Iterator[ContainerPool]:
    with ContainerPool(sandbox_image, SANDBOX_LIMITS) as pool:
        yield pool


@pytest.fixture(scope="session")
def remote_bubblewrap() -> Iterator[RemoteSandboxFactory]:
    """Sandboxes asked for over a socket, as a run in a container does."""
    with serve_sandboxes(replace(noop(), sandbox=BUBBLEWRAP)) as folder:
        assert folder is not None
        yield RemoteSandboxFactory(folder / SOCKET, SANDBOX_LIMITS)


@pytest.fixture(scope="session")
def remote_containers(sandbox_image: ImageRef) -> Iterator[RemoteSandboxFactory]:
    """The same of containers."""
    spec = SandboxSpec(kind=SandboxKind.CONTAINERS, image=sandbox_image)
    with serve_sandboxes(replace(noop(), sandbox=spec)) as folder:
        assert folder is not None
        yield RemoteSandboxFactory(folder / SOCKET, SANDBOX_LIMITS)


@pytest.fixture(params=SANDBOXES)
def factory(request: pytest.FixtureRequest) -> Factory:
    """Each factory of sandboxes in turn."""
    return factory_named(request.param, request)


def factory_named(name: str, request: pytest.FixtureRequest) -> Factory:
    """The factory of a name in `SANDBOXES`."""
    if "bubblewrap" in name:
        made = bubblewrap()
        if name == "bubblewrap":
            return made
    fixture = {"containers": "container_pool"}.get(name, name.replace(" ", "_"))
    given: Factory = request.getfixturevalue(fixture)
    return given


def bubblewrap(*, use_groups: bool = True) -> Bubblewrap:
    if shutil.which("bwrap") is None:
        pytest.skip("there is no bubblewrap here: sudo apt-get install bubblewrap")
    return Bubblewrap(SANDBOX_LIMITS, use_groups=use_groups)


@pytest.fixture(scope="session")
def used_sandboxes() -> Iterator[dict[str, SupervisedSandbox]]:
    """The sandboxes of the last test, to be used again: starting one takes a while."""
    used: dict[str, SupervisedSandbox] = {}
    yield used
    for sandbox in used.values():
        sandbox.destroy()


@pytest.fixture(params=SANDBOXES)
def sandbox(
    request: pytest.FixtureRequest, used_sandboxes: dict[str, SupervisedSandbox]
) -> Iterator[SupervisedSandbox]:
    """An empty sandbox that other tests have used; it must survive what the test does to it."""
    name: str = request.param
    sandbox = used_sandboxes.pop(name, None) or factory_named(name, request).make().__enter__()
    sandbox.materialise({})
    try:
        yield sandbox
        assert sandbox.run("echo alive").stdout == "alive\n"
        used_sandboxes[name] = sandbox
    finally:
        if name not in used_sandboxes:
            sandbox.destroy()


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
