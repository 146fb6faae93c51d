from __future__ import annotations

import math

import pytest

from harness.scenario.formula import MAX_LENGTH, evaluate


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("100 * 75 / 158", 100 * 75 / 158),
        ("2 + 3 * 4 - 1", 13),
        ("-(2 - 5)", 3),
        ("2 ** 3 ** 2", 512),
        ("rate * sqrt(parameters)", 1e-5 * math.sqrt(40_370_176)),
        ("min(3, 1, 2) + max(4, 5)", 6),
        ("round(2.6)", 3),
        ("4e-3", 0.004),
        (" 1 ", 1),
    ],
)
def test_a_formula_comes_to_a_number(formula: str, value: float) -> None:
    found = evaluate(formula, {"rate": 1e-5, "parameters": 40_370_176})
    assert isinstance(found, float)
    assert found == pytest.approx(value)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("tasc / 2", "'tasc' is not given, at character 1; nearest: task"),
        ("1 / 0", "has no value: float division by zero"),
        ("9 ** 9 ** 9", "has no value"),
        ("1e308 * 10", "has no finite value: inf"),
        ("(-8) ** 0.5", "a root of a negative number, at character 1"),
        ("sqrt(-1)", "math domain error|nonnegative"),
        ("sqrt(1, 2)", "sqrt\\(1, 2\\) is not allowed, at character 1"),
        ("2 +", "is not a formula, at character"),
        ("", "is not a formula"),
        ("task if task else 1", "is not allowed"),
        ("1 < 2", "is not allowed"),
        ("True", "True is not allowed"),
        ("'a' * 9", "'a' is not allowed"),
        ("__import__('os')", "is not allowed"),
        ("task.real", "is not allowed"),
        ("[1][0]", "is not allowed"),
        ("(lambda: 1)()", "is not allowed"),
        ("1" * (MAX_LENGTH + 1), "at most 500 characters"),
        ("(" * 300 + "1" + ")" * 100, "is not a formula|has no value"),
    ],
)
def test_what_is_no_formula_is_refused(formula: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(formula, {"task": 2.0})
