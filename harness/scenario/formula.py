"""Arithmetic on printed numbers, as a ledger writes it: ``100 * 75 / tasks``.

Numbers, names of the ledger's `given` table, ``+ - * / **``, parentheses, and ``min``, ``max``,
``sqrt`` and ``round``. Everything is reckoned in floating point.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from harness.errors import nearest

MAX_LENGTH = 500
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], object]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.Pow: operator.pow,
    }
)


class Function(NamedTuple):
    """What a name calls, and with how many arguments."""

    of: Callable[..., float]
    arguments: range


FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "min": Function(min, range(2, 100)),
        "max": Function(max, range(2, 100)),
        "sqrt": Function(math.sqrt, range(1, 2)),
        "round": Function(lambda value: float(round(value)), range(1, 2)),
    }
)


def evaluate(formula: str, given: Mapping[str, float]) -> float:
    """Return the value of a formula.

    Args:
        formula: as it is written.
        given: name -> value.

    Raises:
        ValueError: it is not a formula, or has no finite value; says where in the text.
    """
    if len(formula) > MAX_LENGTH:
        message = f"a formula has at most {MAX_LENGTH} characters"
        raise ValueError(message)
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python's own taste
            tree = ast.parse(formula.strip(), mode="eval")
        value = _value(tree.body, given)
    except SyntaxError as error:
        message = f"is not a formula, at character {error.offset}"
        raise ValueError(message) from None
    except (ArithmeticError, RecursionError, MemoryError) as error:
        message = f"has no value: {error}"
        raise ValueError(message) from None
    if not math.isfinite(value):
        message = f"has no finite value: {value}"
        raise ValueError(message)
    return value


def _value(node: ast.expr, given: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.Name(id=name) if name in given:
            return float(given[name])
        case ast.Name(id=name):
            close = nearest(name, given)
            hint = f"; nearest: {close}" if close else ""
            message = f"{name!r} is not given, at character {node.col_offset + 1}{hint}"
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, given)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            result = _OPERATORS[type(op)](_value(left, given), _value(right, given))
            if isinstance(result, float):
                return result
            message = f"a root of a negative number, at character {node.col_offset + 1}"
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
            name in FUNCTIONS and len(args) in FUNCTIONS[name].arguments
        ):
            return FUNCTIONS[name].of(*(_value(each, given) for each in args))
        case _:
            message = f"{ast.unparse(node)} is not allowed, at character {node.col_offset + 1}"
    raise ValueError(message)
