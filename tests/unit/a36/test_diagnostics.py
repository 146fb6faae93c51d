from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from harness.experiments.a36.diagnostics import ScoredGroup, figures
from harness.workloads.rl.advantages import Group, Member
from harness.workloads.rl.algorithms import a2tgpo
from harness.workloads.rl.algorithms.a2tgpo import IGPO, PAPER, A2tgpoSettings
from harness.workloads.rl.rollout import Trace, TurnTrace


def _judged(
    gains: Sequence[Sequence[float]], rewards: Sequence[float], rules: A2tgpoSettings
) -> ScoredGroup:
    turn = TurnTrace(context=(1,), reply=(2,), logprobs=(-0.5,))
    members = tuple(
        Member(trace=Trace(turns=(turn,) * (len(own) + 1)), reward=reward, gains=tuple(own))
        for own, reward in zip(gains, rewards, strict=True)
    )
    group = Group(key="q", members=members)
    return ScoredGroup(group=group, advantages=a2tgpo.advantages(group, rules))


def _found(judged: Sequence[ScoredGroup], rules: A2tgpoSettings) -> dict[object, object]:
    return {
        (metric, where["turn"]) if where else metric: value
        for metric, value, where in figures(judged, rules)
    }


_GAINS = ((0.30, 0.10, 0.05), (0.10, 0.20), (0.20,), (0.40, -0.10))
_REWARDS = (1.0, 0.0, -1.0, 1.0)


def test_what_is_counted_by_hand() -> None:
    found = _found([_judged(_GAINS, _REWARDS, PAPER)], PAPER)
    assert found["gain.count"] == 8
    assert found["gain.singletons"] == pytest.approx(100 / 8)  # one rollout has a third call
    # the third gain is alone, so its turn has the answer's advantage
    assert found["advantage.repeated_turns"] == pytest.approx(100 / 8)
    assert found["advantage.turn_bias"] == pytest.approx(0.0, abs=1e-9)
    scales = [
        s for each in _judged(_GAINS, _REWARDS, PAPER).advantages for s in each.clip_scales[:-1]
    ]
    assert found["clip.scale_mean"] == pytest.approx(float(np.mean(scales)))
    assert found["clip.scale_std"] == pytest.approx(float(np.std(scales)))
    assert found["clip.scale_max"] == max(scales)


def test_a_pool_leaves_every_turn_a_mean_of_its_own() -> None:
    gains = [(0.1 + 0.01 * i, 0.9 - 0.01 * i) for i in range(4)]
    found = _found([_judged(gains, (1.0, 0.0, 1.0, 0.0), IGPO)], IGPO)
    bias = found["advantage.turn_bias"]
    assert isinstance(bias, float)
    assert bias > 0.5


@pytest.mark.parametrize(("rescaled", "ratio"), [(True, 1.0), (False, math.sqrt(3))])
def test_the_root_levels_the_spread_over_turns(rescaled: bool, ratio: float) -> None:  # noqa: FBT001
    draws = np.random.default_rng(0).normal(size=(400, 8, 3))
    rules = A2tgpoSettings(rescaled=rescaled)
    judged = [_judged(group.tolist(), (0.0, 1.0) * 4, rules) for group in draws]
    found = _found(judged, rules)
    assert found["advantage.depth_ratio"] == pytest.approx(ratio, rel=0.05)
    assert [key[1] for key in found if isinstance(key, tuple)] == [1, 2, 3]


def test_spread_is_of_rollouts_of_one_length() -> None:
    """A single rollout of four calls says nothing of turns of two."""
    found = _found([_judged((*_GAINS, (0.1, 0.2)), (*_REWARDS, 0.0), PAPER)], PAPER)
    assert [key[1] for key in found if isinstance(key, tuple)] == [1, 2]


def test_without_a_call_there_is_nothing_to_say() -> None:
    assert _found([_judged(((), ()), (1.0, 0.0), PAPER)], PAPER) == {"gain.count": 0}
