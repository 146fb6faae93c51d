"""Reading proposals, rates, spread, latency, and racers that learn next to nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.experiments.a25.baselines import RACERS, constants, drawing, race
from harness.experiments.a25.corpus import BriefQuestion, PromptVersion, TrainTestSplit, rows, split
from harness.experiments.a25.race import (
    PredictedChange,
    Prediction,
    RepeatedPredictions,
    latency,
    rates,
    read_pick,
    spread,
)
from harness.workloads.autoresearch.search_space import ARTICLE

from .conftest import made

HEADS = PredictedChange(knob="n_head", value=8)


@pytest.mark.parametrize(
    "text",
    [
        '{"knob": "n_head", "new_value": 8, "reason": "fewer"}',
        'Sure: {"knob": "n_head", "new_value": 8} I hope that helps.',
        '```json\n{"knob": "n_head", "value": 8}\n```',
        '{"note": "x"} {"knob": "n_head", "new_value": 8}',
        '{"knob": "n_head", "new_value": 8} {"knob": "lr", "new_value": 0.001}',
    ],
)
def test_the_first_object_that_speaks_of_a_knob_counts(text: str) -> None:
    assert read_pick(text, ARTICLE) == HEADS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n_head=8",
        '{"knob": "n_head", "new_value": 8',
        '{"knob": "n_head"}',
        '{"knob": "n_head", "new_value": "8"}',
        '{"knob": "n_head", "new_value": 8.0}',
        '{"knob": "n_head", "new_value": 5}',
        '{"knob": "n_head", "new_value": true}',
        '{"knob": "heads", "new_value": 8}',
        '{"knob": 3, "new_value": 8}',
        '{"knob": "lr", "new_value": 1.0}',
        '{"knob": "lr", "new_value": NaN}',
        '{"knob": "lr", "new_value": 1e999}',
        '{"knob": "precision", "new_value": "int8"}',
        '{"knob": "n_layer", "new_value": 49}',
        '{"knob": "n_head", "new_value": {"a": 8}}',
        '{"knob": "n_head", "new_value": [8]}',
    ],
)
def test_what_the_menu_does_not_have_is_no_pick(text: str) -> None:
    assert read_pick(text, ARTICLE) is None


def test_numbers_and_words_of_the_menu_are_picks() -> None:
    assert read_pick('{"knob": "lr", "new_value": 1e-4}', ARTICLE) == PredictedChange(
        knob="lr", value=1e-4
    )
    fp8 = PredictedChange(knob="precision", value="fp8")
    assert read_pick('{"knob": "precision", "new_value": "fp8"}', ARTICLE) == fp8


def _heat(truth: PredictedChange, *picks: PredictedChange | None) -> RepeatedPredictions:
    return RepeatedPredictions(
        iteration=1, truth=truth, predictions=tuple(Prediction(change=pick) for pick in picks)
    )


def test_rates_are_shares_of_all_answers() -> None:
    other = PredictedChange(knob="n_head", value=32)
    found = rates(
        [_heat(HEADS, HEADS, other), _heat(other, None, PredictedChange(knob="lr", value=1e-4))]
    )
    assert (found.answers, found.valid, found.knob, found.exact) == (4, 0.75, 0.5, 0.25)


def test_the_modal_pick_is_the_most_frequent_then_the_first() -> None:
    other = PredictedChange(knob="n_head", value=32)
    assert _heat(HEADS, other, HEADS, None, HEADS).modal == HEADS
    assert _heat(HEADS, other, HEADS).modal == other
    assert _heat(HEADS, None).modal is None


def test_the_spread_of_the_published_student() -> None:
    picks = (
        [HEADS] * 3
        + [PredictedChange(knob="d_model", value=768)] * 3
        + [PredictedChange(knob="d_model", value=1536)] * 2
    )
    found = spread([*picks, None])
    assert found is not None
    assert (found.distinct, found.knobs, found.modal_share) == (3, 2, 0.375)
    assert found.entropy_bits == pytest.approx(1.5613, abs=5e-5)
    assert found.counts == {"n_head=8": 3, "d_model=768": 3, "d_model=1536": 2}
    assert spread([None]) is None


@given(st.lists(st.sampled_from([4, 8, 16, 32]), min_size=1))
def test_a_spread_lies_between_one_pick_and_all_different(values: list[int]) -> None:
    found = spread([PredictedChange(knob="n_head", value=value) for value in values])
    assert found is not None
    assert 0 <= found.entropy_bits <= 2 + 1e-12
    assert sum(found.counts.values()) == len(values)
    assert 1 / found.distinct <= found.modal_share <= 1


def test_the_upper_median_of_an_even_number_is_the_larger_one() -> None:
    took = latency([4.0, 1.0, 2.0, 3.0])
    assert (took.mean, took.median, took.upper_median, took.min, took.max) == (2.5, 2.5, 3, 1, 4)


@pytest.fixture
def parts() -> TrainTestSplit:
    trajectory = made(
        [
            *[("d_model", 1536, False)] * 3,
            ("d_model", 768, True),
            ("n_head", 8, False),
            ("d_model", 768, False),
            ("n_head", 32, False),
        ]
    )
    return split(list(rows(trajectory, BriefQuestion(history=5), PromptVersion.CORRECTED)), 2)


def test_trivial_racers(parts: TrainTestSplit) -> None:
    picks = {
        name: [heat.modal and heat.modal.pair for heat in race(racer, parts)]
        for name, racer in RACERS.items()
    }
    assert picks["frequent"] == ["d_model=1536"] * 2
    assert picks["frequent_keep"] == ["d_model=768"] * 2
    assert picks["previous"] == ["n_head=8", "d_model=768"]
    # the row before shows three of what the first question shows, no other more
    assert picks["nearest"] == ["n_head=8"] * 2


def test_a_racer_of_keeps_falls_back_where_nothing_was_kept() -> None:
    nothing = made([("n_head", 8, False), ("n_head", 32, False), ("n_head", 8, False)])
    parts = split(list(rows(nothing, BriefQuestion(history=5), PromptVersion.CORRECTED)), 1)
    (heat,) = race(RACERS["frequent_keep"], parts)
    assert heat.modal == HEADS


def test_constants_and_drawing(parts: TrainTestSplit) -> None:
    exact = {pair: rates(heats).exact for pair, heats in constants(parts).items()}
    assert exact == {"d_model=1536": 0.0, "d_model=768": 0.5, "n_head=8": 0.0}
    knob, pair = drawing(parts)
    assert knob == pytest.approx((4 / 5 + 1 / 5) / 2)
    assert pair == pytest.approx((1 / 5 + 0) / 2)
