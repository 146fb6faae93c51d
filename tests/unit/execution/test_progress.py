"""What is said of a plan that has several runs at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execution import progress as narrating
from harness.execution.progress import Narrator
from harness.execution.run import RunProgress, RunStage
from harness.follow.notify import Notice
from harness.records import FinishedRun, Profile, RunOutcome, RunSpec, Status, Usage
from harness.results.store import RunStore
from harness.session.console import Console
from tests.unit.follow.conftest import line

SPECS = [
    RunSpec(
        scenario="a99-example",
        profile=Profile.CPU,
        workload="noop",
        params={"index": n},
        axes=("index",),
    )
    for n in range(4)
]
TOTAL = 6


class Told:
    """Stands for who is to be told."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def send(self, notice: Notice) -> str:
        self.titles.append(notice.title)
        return ""


def step(stage: RunStage, n: int) -> RunProgress:
    finished = None
    if stage is RunStage.ENDED:
        outcome = RunOutcome(
            status=Status.FINISHED, runtime="local", device="", usage=Usage(wall_s=8.0)
        )
        finished = FinishedRun(spec=SPECS[n], outcome=outcome, measurements=())
    return RunProgress(step=stage, spec=SPECS[n], number=n + 1, total=TOTAL, finished=finished)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [RunStore(tmp_path).stage(spec) for spec in SPECS]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def narrator(tmp_path: Path, folders: list[Path], told: Told) -> Narrator:
    assert folders
    return Narrator("a99-example cpu", TOTAL, Console(), RunStore(tmp_path), told)  # type: ignore[arg-type] # the part that is used


def name(narrator: Narrator) -> str | None:
    seen = narrator._look()
    return None if seen is None else seen.name


def test_the_line_counts_what_is_at_work(narrator: Narrator) -> None:
    assert name(narrator) is None
    narrator(step(RunStage.STARTED, 0))
    assert name(narrator) == "a99 cpu 1/6"
    narrator(step(RunStage.STARTED, 1))
    narrator(step(RunStage.STARTED, 2))
    assert name(narrator) == "a99 cpu 3/6 +2 at work"
    narrator(step(RunStage.ENDED, 1))
    assert name(narrator) == "a99 cpu 3/6 +1 at work"
    narrator(step(RunStage.ENDED, 2))
    assert name(narrator) == "a99 cpu 3/6"  # the first is still at work, and three have begun
    narrator(step(RunStage.ENDED, 0))
    assert name(narrator) is None


def test_the_line_follows_the_run_that_began_last(narrator: Narrator, folders: list[Path]) -> None:
    for n in range(3):
        narrator(step(RunStage.STARTED, n))
        (folders[n] / "progress.jsonl").write_text(line(1.0, f"phase {n}", 1, 2) + "\n")

    def phase() -> str:
        seen = narrator._look()
        assert seen is not None
        assert seen.phase is not None
        return seen.phase.what

    assert phase() == "phase 2"
    narrator(step(RunStage.ENDED, 2))
    assert phase() == "phase 1"
    narrator(step(RunStage.ENDED, 0))
    assert phase() == "phase 1"


def test_a_run_whose_folder_is_gone_hides_no_other(narrator: Narrator, folders: list[Path]) -> None:
    for n in range(2):
        narrator(step(RunStage.STARTED, n))
    folders[1].rename(folders[1].with_name("elsewhere"))
    assert name(narrator) == "a99 cpu 2/6 +1 at work"


def test_every_run_that_is_silent_is_told_of_once(
    narrator: Narrator, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits_s = {SPECS[0].run_id: 0.0, SPECS[1].run_id: 60.0, SPECS[2].run_id: 0.0}
    monkeypatch.setattr(narrating, "quiet_limit_s", lambda spec: limits_s[spec.run_id])
    for n in range(3):
        narrator(step(RunStage.STARTED, n))
    for _ in range(3):
        narrator._look()
    assert [title.partition(":")[2].partition(":")[0] for title in told.titles] == [
        " index=0",
        " index=2",
    ]
