"""The time left: from this run's own pace, and from earlier runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.follow.remaining import Left, Timeline, left, timeline
from harness.follow.told import Progress
from tests.unit.follow.conftest import BEGAN, line

# write 10 s, train 4 steps of 20 s, evaluate 10 s
EARLIER = [
    line(0, "write"),
    *(line(10 + 20 * step, "train", step, 4) for step in range(5)),
    line(90, "evaluate"),
]


def told(folder: Path, lines: list[str]) -> Progress:
    folder.mkdir(exist_ok=True)
    (folder / "progress.jsonl").write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    progress = Progress(folder, BEGAN)
    progress.update()
    return progress


@pytest.fixture
def earlier(tmp_path: Path) -> Timeline:
    return timeline(told(tmp_path / "earlier", EARLIER).lines, 100.0)


@pytest.mark.parametrize("factor", [1.0, 5.0, 0.5])
@pytest.mark.parametrize("at", range(2, len(EARLIER)))
def test_a_run_that_is_so_much_slower_will_take_so_much_longer(
    tmp_path: Path, earlier: Timeline, at: int, factor: float
) -> None:
    times = [0, *(10 + 20 * step for step in range(5)), 90]
    lines = [line(0, "write"), *(line(t * factor, "train", i, 4) for i, t in enumerate(times[1:6]))]
    lines.append(line(90 * factor, "evaluate"))
    progress = told(tmp_path / "now", lines[: at + 1])
    elapsed_s = times[at] * factor
    found = left(progress, elapsed_s, [earlier])
    assert found is not None
    assert found.whole
    assert found.seconds == pytest.approx((100 - times[at]) * factor)


def test_time_that_goes_by_without_news_is_taken_off(tmp_path: Path, earlier: Timeline) -> None:
    progress = told(tmp_path / "now", EARLIER[:3])  # at 30 s
    assert left(progress, 40.0, [earlier]) == Left(seconds=60.0, whole=True)
    assert left(progress, 4000.0, [earlier]) == Left(seconds=0.0, whole=True)


def test_of_several_earlier_runs_the_middle_one_counts(tmp_path: Path, earlier: Timeline) -> None:
    odd = Timeline(total_s=9000.0, places={"train": ((0.0, 10.0), (1.0, 8000.0))})
    progress = told(tmp_path / "now", EARLIER[:3])
    assert left(progress, 30.0, [earlier, earlier, odd]) == Left(seconds=70.0, whole=True)


def test_without_an_earlier_run_the_phase_alone_is_known(tmp_path: Path) -> None:
    progress = told(tmp_path / "now", EARLIER[:4])  # two steps of four, at 50 s
    assert left(progress, 50.0, []) == Left(seconds=40.0, whole=False)
    assert left(told(tmp_path / "first", EARLIER[:1]), 5.0, []) is None
    assert left(Progress(tmp_path / "nothing"), 5.0, []) is None


def test_an_earlier_run_that_told_nothing_still_says_how_long_it_took(tmp_path: Path) -> None:
    silent = Timeline(total_s=100.0, places={})
    progress = told(tmp_path / "now", EARLIER[:3])
    assert left(progress, 30.0, [silent]) == Left(seconds=70.0, whole=True)
    late = left(progress, 130.0, [silent])  # it was faster: its word is of no use any more
    assert late is None or not late.whole


@given(st.floats(min_value=0, max_value=1e6), st.floats(min_value=0.1, max_value=1e6))
def test_the_time_left_is_never_below_zero(elapsed_s: float, total_s: float) -> None:
    known = Timeline(total_s=total_s, places={"train": ((0.0, total_s / 2), (1.0, total_s))})
    found = left(Progress(Path("/nowhere")), elapsed_s, [known])
    assert found is None or found.seconds >= 0
