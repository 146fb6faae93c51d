from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.workloads.rl.advantages import Advantages, Aggregation, UnscorableError
from harness.workloads.rl.algorithms.a2tgpo import Boundaries, RatioForm
from harness.workloads.rl.losses import (
    GRPO_CLIP,
    GSPO_CLIP,
    TURN_CLIP,
    Clip,
    RatioOf,
    SampledTokens,
    batch_weights,
    clipped,
    k3,
    reinforce,
)

_TURNS = (0, 0, 0, 1, 2, 2, 2, 2)
_CREDIT = Advantages(per_turn=(0.7, -1.2, 0.4), clip_scales=(1.2, 0.8, 1.0))
_WIDE = Clip(ratio_of=RatioOf.TURN, low=0.1, high=0.15)

Row = NDArray[np.float64]


def _numbers(seed: int = 0) -> tuple[Row, Row, Row]:
    """New, old and reference log-probabilities, far enough apart for some turns to be clipped."""
    draws = np.random.default_rng(seed)
    old = -draws.exponential(1.0, len(_TURNS))
    return old + draws.normal(0, 0.3, len(_TURNS)), old, old + draws.normal(0, 0.3, len(_TURNS))


def _drawn(
    new: Row, old: Row, reference: Row | None, turns: Sequence[int] = _TURNS
) -> SampledTokens:
    return SampledTokens(
        name="q/3",
        new=torch.tensor(new, requires_grad=True),
        old=torch.tensor(old),
        reference=None if reference is None else torch.tensor(reference),
        turn_ids=torch.tensor(turns),
    )


def _one(ratio: float, advantage: float, scale: float = 1.0) -> tuple[SampledTokens, Advantages]:
    """A single token with this ratio."""
    drawn = _drawn(np.array([math.log(ratio)]), np.array([0.0]), None, [0])
    return drawn, Advantages(per_turn=(advantage,), clip_scales=(scale,))


# --- Golden ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "scale", "expected"),
    [
        *((1.01, 1, 1, -1.004), (1.01, 1, 1.3, -1.0052), (1.01, 1, 0.7, -1.0028)),
        *((0.99, -1, 1, 0.997), (0.99, -1, 1.3, 0.9961), (1.01, -1, 1, 1.01)),
    ],
)
def test_article_36s_clipped_losses(
    ratio: float, advantage: float, scale: float, expected: float
) -> None:
    loss = clipped(*_one(ratio, advantage, scale), TURN_CLIP)
    assert loss.value.item() == pytest.approx(expected, abs=1e-9)
    assert loss.statistics["clip_ratio"] == float(expected != 1.01)


@pytest.mark.parametrize(
    ("difference", "expected"), [(-0.1, 0.005171), (0.0, 0.0), (0.1, 0.004837), (0.5, 0.106531)]
)
def test_the_articles_k3(difference: float, expected: float) -> None:
    found = k3(torch.tensor(difference, dtype=torch.float64), torch.tensor(0.0))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_k3_keeps_its_digits_where_the_policy_hardly_moved() -> None:
    """In float32 exp(-d) + d - 1 is rounding alone at 1e-4; expm1 keeps d^2 / 2."""
    assert k3(torch.tensor(1e-4), torch.tensor(0.0)).item() == pytest.approx(5e-9, rel=0.02)


# --- Against the equations ------------------------------------------------------------------------


def _k3_mean(new: Row, reference: Row) -> float:
    difference = new - reference
    return float(np.mean(np.exp(-difference) + difference - 1))


def _reinforce(new: Row, reference: Row, coefficient: float) -> float:
    """Article 33, section "Loss": token by token."""
    policy = sum(_CREDIT.per_turn[turn] * new[place] for place, turn in enumerate(_TURNS)) / len(
        _TURNS
    )
    return float(-policy + coefficient * _k3_mean(new, reference))


def _clipped(new: Row, old: Row, clip: Clip, units: Sequence[int]) -> float:
    """Equations 10 to 12, token by token; `units` says whose tokens share a ratio."""
    total = 0.0
    for place, turn in enumerate(_TURNS):
        sharing = [other for other, at in enumerate(_TURNS) if units[at] == units[turn]]
        if clip.ratio_of is RatioOf.TOKEN:
            sharing = [place]
        ratio = math.exp(sum(new[at] - old[at] for at in sharing) / len(sharing))
        scale, advantage = _CREDIT.clip_scales[turn], _CREDIT.per_turn[turn]
        held = min(max(ratio, 1 - scale * clip.low), 1 + scale * clip.high)
        total += min(ratio * advantage, held * advantage)
    return -total / len(_TURNS)


_UNITS = {RatioOf.TOKEN: (0, 1, 2), RatioOf.TURN: (0, 1, 2), RatioOf.SEQUENCE: (0, 0, 0)}


@pytest.mark.parametrize("seed", range(5))
def test_reinforce_is_the_equation(seed: int) -> None:
    new, old, reference = _numbers(seed)
    loss = reinforce(_drawn(new, old, reference), _CREDIT)
    assert loss.value.item() == pytest.approx(_reinforce(new, reference, 0.04), abs=1e-12)
    assert loss.statistics["kl"] == pytest.approx(_k3_mean(new, reference), abs=1e-12)
    assert loss.statistics["importance_ratio_mean"] == pytest.approx(
        float(np.exp(new - old).mean())
    )
    assert loss.num_tokens == len(_TURNS)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ratio_of", RatioOf)
@pytest.mark.parametrize("form", RatioForm)
def test_clipped_is_the_equation(seed: int, ratio_of: RatioOf, form: RatioForm) -> None:
    new, old, _ = _numbers(seed)
    clip = replace(_WIDE, ratio_of=ratio_of, ratio_form=form)
    loss = clipped(_drawn(new, old, None), _CREDIT, clip)
    expected = _clipped(new, old, clip, _UNITS[ratio_of])
    assert loss.value.item() == pytest.approx(expected, abs=1e-12)
    assert "kl" not in loss.statistics


def test_some_turns_are_clipped_and_some_are_not() -> None:
    """The cases above would prove little otherwise."""
    shares = []
    for seed in range(5):
        new, old, _ = _numbers(seed)
        shares.append(clipped(_drawn(new, old, None), _CREDIT, _WIDE).statistics["clip_ratio"])
    assert 0 < sum(shares) / len(shares) < 1


def _gradient(loss: Tensor, drawn: SampledTokens) -> list[float]:
    (gradient,) = torch.autograd.grad(loss, drawn.new)
    found: list[float] = gradient.tolist()
    return found


def _slopes(evaluate: object, new: Row, step: float = 1e-6) -> list[float]:
    """Central differences of a function of the new log-probabilities."""
    slopes = []
    for place in range(len(new)):
        move = np.zeros(len(new))
        move[place] = step
        slopes.append((evaluate(new + move) - evaluate(new - move)) / (2 * step))  # type: ignore[operator]
    return slopes


@pytest.mark.parametrize("seed", range(3))
def test_reinforces_gradient_is_the_equations_slope(seed: int) -> None:
    new, old, reference = _numbers(seed)
    drawn = _drawn(new, old, reference)
    found = _gradient(reinforce(drawn, _CREDIT).value, drawn)
    assert found == pytest.approx(
        _slopes(lambda at: _reinforce(at, reference, 0.04), new), abs=1e-8
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("ratio_of", "form"),
    [(ratio_of, RatioForm.GEOMETRIC) for ratio_of in RatioOf]
    + [(ratio_of, RatioForm.DETACHED) for ratio_of in (RatioOf.TOKEN, RatioOf.TURN)],
)
def test_the_clipped_gradient_is_the_equations_slope(
    seed: int, ratio_of: RatioOf, form: RatioForm
) -> None:
    """Both forms of a turn's ratio have one gradient, token by token."""
    new, old, _ = _numbers(seed)
    drawn, clip = _drawn(new, old, None), replace(_WIDE, ratio_of=ratio_of, ratio_form=form)
    found = _gradient(clipped(drawn, _CREDIT, clip).value, drawn)
    units = _UNITS[ratio_of]
    slopes = _slopes(lambda at: _clipped(at, old, clip, units), new)
    assert found == pytest.approx(slopes, abs=1e-8)


def test_the_forms_differ_where_one_ratio_spans_several_advantages() -> None:
    """Held, each token is moved by its own advantage; as it stands, all by the mean."""
    new, old, _ = _numbers()
    wide = Clip(ratio_of=RatioOf.SEQUENCE, low=10.0, high=10.0)
    drawn = _drawn(new, old, None)
    ratio = math.exp(float(np.mean(new - old)))
    own = [-ratio * _CREDIT.per_turn[turn] / len(_TURNS) for turn in _TURNS]
    as_it_stands = _gradient(clipped(drawn, _CREDIT, wide).value, drawn)
    held = replace(wide, ratio_form=RatioForm.DETACHED)
    assert as_it_stands == pytest.approx([sum(own) / len(own)] * len(own))
    assert _gradient(clipped(drawn, _CREDIT, held).value, drawn) == pytest.approx(own)


def test_only_the_released_form_stops_a_ratio_above_e_to_the_10() -> None:
    drawn, credit = _one(math.exp(12.0), -1.0)
    free = clipped(drawn, credit, TURN_CLIP)
    held = clipped(drawn, credit, replace(TURN_CLIP, ratio_form=RatioForm.DETACHED))
    assert free.value.item() == pytest.approx(math.exp(12.0))
    assert held.value.item() == pytest.approx(math.exp(10.0))


# --- Turns ----------------------------------------------------------------------------------------


def test_released_neighbours_with_one_advantage_share_a_ratio_but_not_a_clip() -> None:
    new, old, _ = _numbers(1)
    credit = Advantages(per_turn=(0.7, 0.7, 0.4), clip_scales=(1.2, 0.8, 1.0))
    inferred = replace(_WIDE, boundaries=Boundaries.ADVANTAGE)
    ratio = math.exp(np.mean(new[:4] - old[:4]))
    parts = [3 * min(ratio, 1 + 1.2 * 0.15), min(ratio, 1 + 0.8 * 0.15)]
    answer = math.exp(np.mean(new[4:] - old[4:]))
    expected = -(0.7 * sum(parts) + 0.4 * 4 * min(answer, 1.15)) / 8
    for form in RatioForm:
        clip = replace(inferred, ratio_form=form)
        loss = clipped(_drawn(new, old, None), credit, clip).value.item()
        assert loss == pytest.approx(expected, abs=1e-12)
    assert clipped(_drawn(new, old, None), credit, _WIDE).value.item() != pytest.approx(expected)


def test_a_turn_without_tokens_says_nothing() -> None:
    new, old, _ = _numbers()
    shifted = [turn + (turn > 0) for turn in _TURNS]
    with_empty = Advantages(per_turn=(0.7, 99.0, -1.2, 0.4), clip_scales=(1.2, 9.0, 0.8, 1.0))
    for clip in (_WIDE, GRPO_CLIP, GSPO_CLIP):
        clip_only = replace(clip, kl_coef=0.0)
        plain = clipped(_drawn(new, old, None), _CREDIT, clip_only)
        holed = clipped(_drawn(new, old, None, shifted), with_empty, clip_only)
        assert holed.value.item() == pytest.approx(plain.value.item(), abs=1e-12)


def test_without_clip_scales_the_width_is_as_it_is() -> None:
    new, old, _ = _numbers()
    bare = Advantages(per_turn=_CREDIT.per_turn)
    ones = replace(_CREDIT, clip_scales=(1.0, 1.0, 1.0))
    found = [clipped(_drawn(new, old, None), each, _WIDE).value.item() for each in (bare, ones)]
    assert found[0] == found[1]


# --- Batches --------------------------------------------------------------------------------------


def test_sequences_weigh_alike_or_by_their_tokens() -> None:
    assert batch_weights((2, 6), Aggregation.SEQUENCE) == (0.5, 0.5)
    assert batch_weights((2, 6), Aggregation.TOKEN) == (0.25, 0.75)


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["new", "old", "reference"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logprob_that_is_no_number_is_refused(what: str, bad: float) -> None:
    new, old, reference = _numbers()
    {"new": new, "old": old, "reference": reference}[what][3] = bad
    for loss in (reinforce, lambda drawn, credit: clipped(drawn, credit, GRPO_CLIP)):
        with pytest.raises(UnscorableError, match=f"q/3: log-probabilities .* finite: {what}"):
            loss(_drawn(new, old, reference), _CREDIT)


def test_turn_ids_that_do_not_cover_the_tokens_are_refused() -> None:
    new, old, _ = _numbers()
    with pytest.raises(UnscorableError, match="q/3: shapes differ"):
        clipped(_drawn(new, old, None, _TURNS[:-1]), _CREDIT, _WIDE)


@pytest.mark.parametrize("turns", [(0, 0, 0, 1, 2, 2, 2, 3), (-1, 0, 0, 1, 2, 2, 2, 2)])
def test_turns_without_credit_are_refused(turns: Sequence[int]) -> None:
    new, old, _ = _numbers()
    with pytest.raises(UnscorableError, match="advantages for 3 turns"):
        clipped(_drawn(new, old, None, turns), _CREDIT, _WIDE)


def test_turns_that_are_out_of_order_are_refused() -> None:
    new, old, _ = _numbers()
    with pytest.raises(UnscorableError, match="q/3: its turns are not one after the other"):
        clipped(_drawn(new, old, None, (0, 2, 0, 1, 2, 2, 2, 2)), _CREDIT, _WIDE)


def test_clip_scales_that_miss_a_turn_are_refused() -> None:
    new, old, _ = _numbers()
    with pytest.raises(UnscorableError, match="1 clip scales for 3 turns"):
        clipped(_drawn(new, old, None), replace(_CREDIT, clip_scales=(1.0,)), _WIDE)


def test_a_sequence_without_a_token_is_refused() -> None:
    empty = np.array([])
    with pytest.raises(UnscorableError, match="no trained token"):
        reinforce(_drawn(empty, empty, None, []), _CREDIT)


def test_a_loss_that_is_no_number_is_refused() -> None:
    drawn, credit = _one(1.0, -1.0)
    far = replace(drawn, new=torch.tensor([800.0], dtype=torch.float64, requires_grad=True))
    with pytest.raises(UnscorableError, match="q/3: its loss is inf"):
        clipped(far, credit, TURN_CLIP)


def test_a_kl_term_needs_a_reference() -> None:
    new, old, _ = _numbers()
    with pytest.raises(ValueError, match="needs log-probabilities of the reference"):
        reinforce(_drawn(new, old, None), _CREDIT)
