from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from harness.experiments.a36.params import A2tgpoParams
from harness.experiments.a36.variants import A2tgpoVariant, A2tgpoVariantName, variant
from harness.workloads.rl.advantages import Aggregation, Boundaries, RatioForm
from harness.workloads.rl.algorithms.a2tgpo import Normalisation
from harness.workloads.rl.losses import RatioOf

_PARAMS = A2tgpoParams()


def _variant(name: str) -> A2tgpoVariant:
    return variant(replace(_PARAMS, variant=name))


def test_each_row_adds_one_thing_to_the_row_above() -> None:
    ways = ("igpo", "turn-groups", "root", "turn-clip", "full")
    changed = []
    for one, other in pairwise(ways):
        before, after = _variant(one), _variant(other)
        assert before.settings is not None
        assert after.settings is not None
        rules = {
            name
            for name in before.settings.__dataclass_fields__
            if getattr(before.settings, name) != getattr(after.settings, name)
        }
        changed.append(rules | ({"clip"} if before.clip != after.clip else set()))
    assert changed == [{"normalisation"}, {"rescaled"}, {"clip"}, {"clip_scale_beta"}]


def test_grpo_takes_no_gains_and_alone_is_kept_near_its_first_weights() -> None:
    found = _variant("grpo")
    assert found.settings is None
    assert found.clip.kl_coef == 0.001
    others = [_variant(name) for name in A2tgpoVariantName if name != "grpo"]
    assert {each.clip.kl_coef for each in others} == {0.0}


def test_the_papers_clips() -> None:
    assert _variant("grpo").clip.ratio_of is RatioOf.TOKEN
    full = _variant("full").clip
    assert (full.ratio_of, full.epsilon_low, full.epsilon_high) == (RatioOf.TURN, 3e-3, 4e-3)


def test_released_is_the_released_code() -> None:
    found = _variant("released")
    assert found.settings is not None
    assert found.settings.alpha == 0.3
    assert found.settings.normalisation is Normalisation.TURN_GROUP
    assert found.aggregation is Aggregation.TOKEN
    assert found.clip.boundaries is Boundaries.ADVANTAGE
    assert found.clip.ratio_form is RatioForm.DETACHED


@pytest.mark.parametrize("name", A2tgpoVariantName)
def test_every_variant_that_is_declared_exists(name: A2tgpoVariantName) -> None:
    assert _variant(name).name is name
