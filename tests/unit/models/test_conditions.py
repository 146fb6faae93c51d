from __future__ import annotations

from dataclasses import fields
from itertools import combinations, pairwise

import pytest

from harness.workloads.models.conditions import ARMS, Conditions, Framework
from harness.workloads.models.shape import Init, Precision, num_parameters
from harness.workloads.training.pretrain_params import FrameworksParams


def _differing(one: str, other: str) -> set[str]:
    """The conditions in which two arms differ; who drew the same distribution is none."""
    pairs = {
        each.name: [getattr(ARMS[arm], each.name) for arm in (one, other)]
        for each in fields(Conditions)
    }
    same = {Init.SCALED, Init.SHARED}
    return {name for name, (a, b) in pairs.items() if a != b and {a, b} != same}


def test_the_published_arms_are_the_articles() -> None:
    assert ARMS["vanilla"] == Conditions(
        framework=Framework.HAND_WRITTEN, precision=Precision.MIXED, init=Init.TORCH
    )
    assert ARMS["nemo"] == Conditions(
        framework=Framework.MEGATRON, precision=Precision.BF16, init=Init.SCALED, dropout=0.1
    )


def test_between_the_published_arms_one_condition_changes_at_a_time() -> None:
    ladder = ["vanilla", "vanilla-init", "vanilla-bf16", "vanilla-dropout", "nemo"]
    changes = [_differing(one, other) for one, other in pairwise(ladder)]
    assert changes == [{"init"}, {"precision"}, {"dropout"}, {"framework"}]


@pytest.mark.parametrize(
    ("by_hand", "megatron"), [("vanilla-bf16", "nemo-plain"), ("vanilla-padded", "nemo-padded")]
)
def test_matched_arms_start_from_the_same_weights(by_hand: str, megatron: str) -> None:
    assert _differing(by_hand, megatron) == {"framework"}
    assert ARMS[by_hand].init is ARMS[megatron].init is Init.SHARED


def test_no_two_arms_are_alike_and_each_says_what_it_is() -> None:
    assert all(_differing(one, other) for one, other in combinations(ARMS, 2))
    assert len({each.text for each in ARMS.values()}) == len(ARMS)
    assert ARMS["vanilla"].text == "hand-written, mixed, init torch, dropout 0"
    assert ARMS["nemo-padded"].text == (
        "megatron, bf16, init shared, dropout 0, vocabulary padded to 128s"
    )


def test_padding_adds_rows_to_the_table_only() -> None:
    plain, padded = FrameworksParams(variant="nemo-plain"), FrameworksParams(variant="nemo-padded")
    assert (plain.shape.vocab_size, padded.shape.vocab_size) == (50257, 50304)
    assert plain.vocab_size == padded.vocab_size == 50257
    assert num_parameters(padded.shape) - num_parameters(plain.shape) == 47 * 1024


def test_the_defaults_are_the_articles() -> None:
    step = FrameworksParams(variant="nemo")
    assert (step.tokens_per_step, step.max_steps, step.warmup_steps) == (4096, 100, 10)
    assert num_parameters(step.shape) == 354_601_984


def test_megatrons_arms_are_in_the_one_precision_that_its_local_layers_know_too() -> None:
    megatron = [each for each in ARMS.values() if each.framework is Framework.MEGATRON]
    assert {each.precision for each in megatron} == {Precision.BF16}
