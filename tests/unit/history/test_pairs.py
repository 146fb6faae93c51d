import itertools
import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.history.pairs import ALARM, CLEAR, MOST_PAIRS, Outcome, answer, decide, glance, wealth

_SIZES = st.lists(
    st.floats(min_value=0.0, max_value=1e6, allow_subnormal=False), min_size=1, max_size=6
)


@given(_SIZES)
def test_bets_on_fair_coins_win_nothing(sizes: list[float]) -> None:
    """The mean over every way the coins may fall is exactly 1, whatever the sizes are."""
    falls = list(itertools.product((-1, 1), repeat=len(sizes)))
    ends = [wealth([side * size for side, size in zip(fall, sizes, strict=True)]) for fall in falls]
    assert math.fsum(ends) / len(falls) == pytest.approx(1.0, rel=1e-9)


def test_a_false_alarm_is_as_rare_as_promised_under_noise_that_breaks_a_t_test() -> None:
    """The machine warms up, flips between two states, and has a neighbour in every fourth run."""
    alarms = 0
    for seed in range(1000):
        draw = random.Random(seed)  # noqa: S311 - noise
        slow, differences = False, []
        for run in range(MOST_PAIRS):
            values = []
            for half in (0, 1):
                slow ^= draw.random() < 0.1
                at = 2 * run + half
                values.append(
                    -0.001 * at - 0.05 * slow - 0.2 * (at % 4 == 1) + draw.gauss(0, 0.002)
                )
            sign = 1 if draw.random() < 0.5 else -1
            differences.append(sign * (values[0] - values[1]))
            if decide(differences, margin=0.01) is Outcome.REGRESSED:
                alarms += 1
                break
    assert alarms <= 1000 * ALARM + 3 * math.sqrt(1000 * ALARM)


def test_the_interval_holds_at_any_time() -> None:
    missed = 0
    for seed in range(100):
        draw = random.Random(seed)  # noqa: S311 - noise
        differences = [-0.03 + draw.gauss(0, 0.014) for _ in range(MOST_PAIRS)]
        found = answer(differences, margin=0.01)
        missed += not found.interval.low <= -0.03 <= found.interval.high
    assert missed <= 11  # 5 % of 100 are 5; 3 sd more are 11


def test_a_loss_of_three_per_cent_is_shown_at_one_per_cent_of_noise() -> None:
    outcomes = [_played(-0.03, 0.014, seed) for seed in range(100)]
    assert outcomes.count(Outcome.REGRESSED) >= 98


def test_equal_versions_are_cleared() -> None:
    outcomes = [_played(0.0, 0.007, seed) for seed in range(100)]
    assert outcomes.count(Outcome.REGRESSED) <= 1
    assert outcomes.count(Outcome.NOT_REGRESSED) >= 97


def test_runs_that_meet_a_busy_machine_hide_no_loss() -> None:
    """One run in ten is slower by up to 80 %, on either side."""
    outcomes = []
    for seed in range(200):
        draw = random.Random(seed)  # noqa: S311 - noise

        def run(effect: float, draw: random.Random = draw) -> float:
            busy = draw.uniform(0.05, 0.8) if draw.random() < 0.1 else 0.0
            return effect + draw.gauss(0, 0.01) - busy

        differences = [run(-0.05) - run(0.0) for _ in range(MOST_PAIRS)]
        looks = (decide(differences[:pairs], 0.015) for pairs in range(1, MOST_PAIRS + 1))
        outcomes.append(next((each for each in looks if each is not Outcome.INCONCLUSIVE), None))
    assert outcomes.count(Outcome.NOT_REGRESSED) == 0
    assert outcomes.count(Outcome.REGRESSED) >= 0.85 * len(outcomes)


def test_too_much_noise_is_inconclusive_and_says_what_it_would_have_seen() -> None:
    draw = random.Random(1)  # noqa: S311 - noise
    found = answer([draw.gauss(0, 0.042) for _ in range(MOST_PAIRS)], margin=0.01)
    assert found.outcome is Outcome.INCONCLUSIVE
    # what a t-test of as many pairs would see, with the same errors, is a bound from below
    least = (NormalDist().inv_cdf(1 - ALARM) + 0.84) * 0.042 / math.sqrt(MOST_PAIRS)
    assert 0.8 * least < found.sees < 2 * least


def test_fewer_pairs_than_coins_need_decide_nothing() -> None:
    assert decide([-0.5] * 10, margin=0.01) is Outcome.INCONCLUSIVE
    assert decide([-0.5] * 11, margin=0.01) is Outcome.REGRESSED
    assert answer([-0.5] * 3, margin=0.01).sees == math.inf


def test_several_figures_need_more() -> None:
    assert decide([-0.5] * 12, margin=0.01, tests=20) is Outcome.INCONCLUSIVE


def test_a_deterministic_figure_is_decided() -> None:
    assert decide([-0.02] * 20, margin=0.01) is Outcome.REGRESSED
    assert decide([0.0] * 20, margin=0.01) is Outcome.NOT_REGRESSED


@given(
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=12),
    st.floats(0.01, 100),
)
def test_the_size_of_the_unit_is_no_matter(differences: list[float], scale: float) -> None:
    scaled = wealth([scale * each for each in differences])
    assert scaled == pytest.approx(wealth(differences), rel=1e-6, abs=1e-12)


def _played(effect: float, sd: float, seed: int) -> Outcome:
    draw = random.Random(seed)  # noqa: S311 - noise
    differences: list[float] = []
    outcome = Outcome.INCONCLUSIVE
    while outcome is Outcome.INCONCLUSIVE and len(differences) < MOST_PAIRS:
        differences.append(effect + draw.gauss(0, sd))
        outcome = decide(differences, margin=0.015)
    return outcome


def test_the_errors_are_those_of_the_design() -> None:
    assert (ALARM, CLEAR, MOST_PAIRS) == (0.002, 0.02, 30)


def test_a_glance_ends_when_three_pairs_agree() -> None:
    loss, none = -0.03, -0.01
    assert glance([loss, loss], 0.015) is None
    assert glance([loss, none, loss, none], 0.015) is None
    assert glance([loss, none, loss, none, loss], 0.015) is True
    assert glance([none, none, none], 0.015) is False
