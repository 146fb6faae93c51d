"""A formula is arithmetic and nothing else, whatever is written."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from keyword import iskeyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario.formula import evaluate

numbers = st.floats(min_value=-1e6, max_value=1e6)
OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
Written = tuple[str, float]


def joined(parts: tuple[Written, str, Written]) -> Written:
    (left, one), sign, (right, other) = parts
    if sign == "/" and other == 0:
        sign = "+"
    return f"({left} {sign} {right})", OPERATORS[sign](one, other)


trees = st.recursive(
    numbers.map(lambda value: (repr(value), value)),
    lambda inner: st.tuples(inner, st.sampled_from([*OPERATORS]), inner).map(joined),
    max_leaves=8,
)


@given(trees)
def test_what_python_reckons_a_formula_comes_to(tree: Written) -> None:
    text, value = tree
    if math.isfinite(value):
        assert evaluate(text, {}) == value
    else:
        with pytest.raises(ValueError, match="no finite value"):
            evaluate(text, {})


names_of_numbers = st.from_regex(r"[a-z][a-z0-9_]{5,9}", fullmatch=True).filter(
    lambda name: not iskeyword(name)
)


@given(st.dictionaries(names_of_numbers, numbers, min_size=2))
def test_names_stand_for_what_is_given(given_numbers: dict[str, float]) -> None:
    names = " + ".join(given_numbers)
    assert evaluate(names, given_numbers) == pytest.approx(sum(given_numbers.values()), abs=1e-6)


@given(st.text(max_size=80) | st.text("0123456789.+-*/() minaxsqrt,_", max_size=80))
def test_any_text_is_a_finite_number_or_refused(text: str) -> None:
    try:
        assert math.isfinite(evaluate(text, {"a": 1.0}))
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - either is right
