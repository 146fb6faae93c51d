"""What holds for any answer: a verdict, never a crash, and nothing passes that is off the menu."""

from __future__ import annotations

import json
from dataclasses import fields
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.workloads.autoresearch.guardrails import (
    Gate,
    Guardrail,
    Guardrails,
    Passed,
    Refused,
    is_finite,
    reason_fault,
)
from harness.workloads.autoresearch.llm_proposer import structured_outputs
from harness.workloads.autoresearch.search_space import SMALL, SPACES, KnobType, Space
from harness.workloads.autoresearch.trajectory import TrainConfig

BASE = SMALL.baseline
CLOSED = Gate(space=SMALL, guardrails=Guardrails.CLOSED)
GATES = [Gate(space=SMALL, guardrails=rules) for rules in Guardrails]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
KNOBS = st.sampled_from([*SMALL.knobs, "seed", "steps", "vocab_size", "__class__"]) | st.text(
    max_size=10
)
PIECES = st.sampled_from(
    [
        *('{"knob": "lr", "new_value": 0.01, "reason": "a step"}', "```json\n", "```", "\n"),
        *("NaN", "Infinity", "1e999", "-0", "9" * 5000, "{", "}", "[", "]", '"', ",", ":", "\0"),
        *('"knob"', '"new_value"', '"reason"', '"seed"', "Sure! ", "\ufeff", "\u202e", "\ud800"),
    ]
) | st.text(max_size=8)


def answer(knob: Any, value: Any, reason: Any) -> str:
    return json.dumps({"knob": knob, "new_value": value, "reason": reason})


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.guardrails)
@given(text=st.lists(PIECES, max_size=8).map("".join))
@example(text="[" * 200_000)
@example(text='{"knob":' * 50_000)
def test_any_text_gets_a_verdict(gate: Gate, text: str) -> None:
    verdict = gate.judge(text, BASE)
    if isinstance(verdict, Refused):
        assert verdict.reason.isascii()
        assert verdict.reason.isprintable()
        assert len(verdict.reason) < 400


@given(knob=KNOBS, value=VALUES, reason=st.text(max_size=300))
def test_what_passes_is_one_knob_of_the_menu_at_a_value_of_its_domain(
    knob: str, value: Any, reason: str
) -> None:
    verdict = CLOSED.judge(answer(knob, value, reason), BASE)
    if isinstance(verdict, Passed):
        moved = [f.name for f in fields(TrainConfig) if differ(verdict.candidate, f.name)]
        assert moved == [knob]
        domain = SMALL.knobs[knob]
        found = getattr(verdict.candidate, knob)
        assert found in domain.choices or domain.low <= found <= domain.high
        assert (
            type(found)
            is {KnobType.INT: int, KnobType.FLOAT: float, KnobType.TEXT: str}[domain.kind]
        )
        assert not reason_fault(reason)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.guardrails)
@given(knob=KNOBS, value=VALUES)
def test_the_seed_is_never_changed_and_nothing_fixed_is(gate: Gate, knob: str, value: Any) -> None:
    verdict = gate.judge(answer(knob, value, "a step"), BASE)
    if isinstance(verdict, Passed):
        fixed = ("seed", "steps", "vocab_size", "val_chunk_tokens")
        assert not any(differ(verdict.candidate, name) for name in fixed)


@given(knob=KNOBS, value=VALUES, reason=st.text(max_size=300))
def test_closed_rules_pass_numbers_only(knob: str, value: Any, reason: str) -> None:
    verdict = CLOSED.judge(answer(knob, value, reason), BASE)
    assert isinstance(verdict, Refused) or is_finite(verdict.candidate)


@given(st.data())
def test_two_answers_in_one_are_none(data: st.DataObject) -> None:
    one, other = (
        answer(knob, SMALL.knobs[knob].draw(Random(0)), "a step")  # noqa: S311 - no secret
        for knob in data.draw(st.tuples(*[st.sampled_from(list(SMALL.knobs))] * 2))
    )
    between = data.draw(st.sampled_from(["", "\n", " ", ",", "\n\n"]))
    assert isinstance(CLOSED.judge(one + between + other, BASE), Refused)


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
@given(seed=st.integers(0, 2**32))
def test_every_draw_of_a_knob_passes_unless_it_changes_nothing(space: Space, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - no secret
    gate = Gate(space=space, guardrails=Guardrails.CLOSED)
    for name, knob in space.knobs.items():
        value = knob.draw(random)
        if value != getattr(space.baseline, name):
            assert isinstance(gate.judge(answer(name, value, "A step."), space.baseline), Passed)


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=250))
def test_a_plain_reason_is_one_short_visible_line(reason: str) -> None:
    if not reason_fault(reason):
        assert reason.isascii()
        assert reason.isprintable()
        assert 0 < len(reason) <= 200


@given(
    st.sampled_from(["ignore", "Disregard", "SYSTEM:", "you must", "new instructions", "seed 3"]),
    st.text("abc ", max_size=40),
    st.text("abc ", max_size=40),
)
def test_an_order_is_found_wherever_it_stands(order: str, before: str, after: str) -> None:
    assert reason_fault(f"{before} {order} {after}")


def differ(candidate: TrainConfig, name: str) -> bool:
    return bool(getattr(candidate, name) != getattr(BASE, name))


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
@given(data=st.data())
def test_what_a_served_model_is_held_to_passes_the_rails_or_changes_nothing(
    space: Space, data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(structured_outputs(space)["regex"], fullmatch=True))
    given = json.loads(text)
    verdict = Gate(space=space, guardrails=Guardrails.CLOSED).judge(text, space.baseline)
    if isinstance(verdict, Refused):
        changes_nothing = given["new_value"] == getattr(space.baseline, given["knob"])
        assert verdict.guardrail is (Guardrail.NO_OP if changes_nothing else Guardrail.REASON)
