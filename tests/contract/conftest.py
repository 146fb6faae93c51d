"""The runtimes that the conformance suite is held against, and programs for them to run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import ImageRef, Limits, Profile, RunOutcome, RunSpec, record, to_json
from harness.runtime.base import Launch, Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.local import LocalRuntime

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


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each runtime in turn, entered."""
    image = request.getfixturevalue("cpu_image") if request.param == "docker" else None
    folder = tmp_path / "runs"
    folder.mkdir()
    runtime: Runtime = LocalRuntime() if image is None else DockerRuntime()
    with runtime:
        runtime.reap()  # what an earlier session left that was killed
        yield Bench(runtime=runtime, image=image, folder=folder)
