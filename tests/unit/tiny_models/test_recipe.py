"""How the small policy is made, as data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.workloads.tiny_models.recipe import FILES as RECIPE
from harness.workloads.tiny_models.recipe import PhaseSource, TrainingPhase

PHASE = TrainingPhase(
    name="x", source=PhaseSource.TASKS, steps=100, batch=2, warm_up=10, rates=(1.0, 0.0)
)


def test_a_rate_rises_first_and_falls_linearly() -> None:
    assert PHASE.rate(0) == pytest.approx(0.1)
    assert PHASE.rate(50) == pytest.approx(0.5)
    assert PHASE.rate(99) == pytest.approx(0.01)
    assert replace(PHASE, warm_up=0).rate(0) == 1.0


def test_the_digest_tells_recipes_apart() -> None:
    assert RECIPE.digest == replace(RECIPE).digest
    assert RECIPE.digest != replace(RECIPE, seed=RECIPE.seed + 1).digest


def test_a_shortened_recipe_copies_as_long() -> None:
    short = RECIPE.shortened(0.1)
    for phase, whole in zip(short.phases, RECIPE.phases, strict=True):
        share = 1 if phase.source is PhaseSource.COPYING else 0.1
        assert phase.steps == pytest.approx(share * whole.steps)


def test_the_base_gives_up_and_the_skilled_policy_before_it_does_not() -> None:
    skilled, base = (phase for phase in RECIPE.phases if phase.makes)
    assert (skilled.makes, skilled.hazard) == ("skilled", 0.0)
    assert base.makes == "base"
    assert base.hazard > 0
    assert base is RECIPE.phases[-1]
