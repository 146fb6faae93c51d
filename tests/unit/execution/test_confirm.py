import random
from pathlib import Path

import pytest

from harness.execution.confirm import Budget, PairBench, Wanted, confirm
from harness.execution.versions import Version, VersionFailed
from harness.history.pairs import GLANCE, MOST_PAIRS, Outcome
from tests.unit.history.builders import LATENCY, RATE

OLD, NEW = (Version(name=name, root=Path(name)) for name in ("old", "new"))
KEY = ("throughput", "{}")
WANTED = Wanted(key=KEY, metric=RATE, shift=-0.05)


def bench(slow: float, noise: float, asked: list[str], **budget: float) -> PairBench:
    draw = random.Random(0)  # noqa: S311 - noise

    def execute(version: Version) -> dict[tuple[str, str], float]:
        asked.append(version.name)
        loss = 1 - slow if version is NEW else 1.0
        value = 100.0 * loss * (1 + draw.gauss(0, noise))
        return {KEY: value, ("latency", "{}"): 1000.0 / value}

    return PairBench(execute=execute, budget=Budget(**budget), say=lambda _: None)  # type: ignore[arg-type]


def test_a_slower_version_is_shown() -> None:
    asked: list[str] = []
    (found,) = confirm([WANTED], OLD, NEW, bench(0.05, 0.01, asked), "coin")
    assert found.test is not None
    assert found.test.outcome is Outcome.REGRESSED
    assert -0.06 < found.test.effect < -0.04
    assert found.test.interval.low < found.test.effect < found.test.interval.high < 0
    # one of each warms up; in the pairs both come first at times
    assert asked[:2] == ["old", "new"]
    firsts = asked[2::2]
    assert {"old", "new"} == set(firsts)
    assert all(one != other for one, other in zip(asked[2::2], asked[3::2], strict=True))


def test_the_coin_falls_again_as_it_did() -> None:
    one: list[str] = []
    other: list[str] = []
    confirm([WANTED], OLD, NEW, bench(0.05, 0.01, one), "coin")
    confirm([WANTED], OLD, NEW, bench(0.05, 0.01, other), "coin")
    assert one == other


def test_figures_of_one_cell_share_their_runs() -> None:
    asked: list[str] = []
    latency = Wanted(key=("latency", "{}"), metric=LATENCY, shift=-0.05)
    found = confirm([WANTED, latency], OLD, NEW, bench(0.05, 0.01, asked), "coin")
    assert [each.test.outcome for each in found if each.test] == [Outcome.REGRESSED] * 2
    assert len(asked) <= 2 + 2 * MOST_PAIRS


def test_equal_versions_are_cleared_and_the_budget_ends_the_rest() -> None:
    (clear,) = confirm([WANTED], OLD, NEW, bench(0.0, 0.004, []), "coin")
    assert clear.test is not None
    assert clear.test.outcome is Outcome.NOT_REGRESSED
    asked: list[str] = []
    (short,) = confirm([WANTED], OLD, NEW, bench(0.05, 0.01, asked, pairs=4), "coin")
    assert short.test is not None
    assert (short.test.outcome, short.test.pairs) == (Outcome.INCONCLUSIVE, 4)
    (timed,) = confirm([WANTED], OLD, NEW, bench(0.05, 0.01, [], seconds=0.0), "coin")
    assert timed.test is not None
    assert timed.test.pairs == 1


def test_a_glance_ends_what_it_does_not_show() -> None:
    asked: list[str] = []
    (found,) = confirm([WANTED], OLD, NEW, bench(0.0, 0.004, asked), "coin", glances=True)
    assert found.test is not None
    assert (found.test.outcome, found.test.pairs) == (Outcome.NOT_SEEN, GLANCE)
    assert len(asked) == 2 + 2 * GLANCE


def test_what_a_glance_shows_is_confirmed_by_other_pairs() -> None:
    plain: list[str] = []
    confirm([WANTED], OLD, NEW, bench(0.05, 0.001, plain), "coin")
    asked: list[str] = []
    latency = Wanted(key=("latency", "{}"), metric=LATENCY, shift=-0.05, may_confirm=False)
    found, other = confirm(
        [WANTED, latency], OLD, NEW, bench(0.05, 0.001, asked), "coin", glances=True
    )
    assert found.test is not None
    assert found.test.outcome is Outcome.REGRESSED
    assert len(asked) == len(plain) + 2 * GLANCE
    # one that has been confirmed twice already has no more than the glance
    assert (other.test, "twice" in other.why) == (None, True)


def test_a_version_without_the_figure_is_no_baseline() -> None:
    def execute(version: Version) -> dict[tuple[str, str], float]:
        return {} if version is OLD else {KEY: 1.0}

    lacking = PairBench(execute=execute, budget=Budget(), say=lambda _: None)
    with pytest.raises(VersionFailed, match="old does not measure throughput"):
        confirm([WANTED], OLD, NEW, lacking, "coin")


def test_the_margin_follows_what_is_suspected() -> None:
    assert [Wanted(key=KEY, metric=RATE, shift=shift).margin for shift in (-0.01, -0.03, -0.2)] == [
        0.01,
        0.015,
        0.02,
    ]
