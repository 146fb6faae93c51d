"""How a number is written for people: no more digits than it has earned.

Rounding happens here and only for reading; csv and json keep full precision.
"""

from __future__ import annotations

import json
import math
import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from harness.records import Scalar, to_json
from harness.scenario.expectations import Printed
from harness.workloads.api.declare import Metric

# one execution's clock readings repeat to a few parts in a thousand at best
_TIMING_DIGITS = 4
# what a seeded computation yields again; enough to see a difference, short enough to read
_EXACT_DIGITS = 6
# an uncertainty is itself uncertain: two digits say all that a few replicates know
_SPREAD_DIGITS = 2
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
_PLAIN_FROM, _PLAIN_BELOW = 1e-4, 1e15


def figure(value: Scalar, metric: Metric | None = None) -> str:
    """Write a measured value.

    Integers, text and flags are unchanged, digests cut short. A timing metric gets four
    significant digits, trailing zeros included; any other six, without them. No digit left of the
    point is rounded away (without replicates nobody knows that it is noise) and none is shown that
    lies below the metric's resolution.
    """
    if not isinstance(value, float):
        return f"{value:,}" if type(value) is int else _word(value)
    if not math.isfinite(value):
        return str(value)
    timing = metric is not None and metric.timing
    digits = _TIMING_DIGITS if timing else _EXACT_DIGITS
    if value and not _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return f"{value:.{digits - 1}e}" if timing else f"{value:.{digits}g}"
    exponent = min(0, _leading(value, digits) - digits + 1)
    if metric is not None and metric.resolution is not None:
        exponent = max(exponent, min(0, last_digit(metric.resolution)))
    text = _fixed(value, exponent)
    return text if timing or "." not in text else text.rstrip("0").rstrip(".")


def with_spread(mean: float, spread: float) -> str:
    """Write a mean and its standard deviation, above 0, to the second digit of the latter."""
    largest = max(abs(mean), spread)
    if not _PLAIN_FROM <= largest < _PLAIN_BELOW:
        return f"{mean:.3e} ± {spread:.1e}"
    exponent = _leading(spread, _SPREAD_DIGITS) - _SPREAD_DIGITS + 1
    return f"{_fixed(mean, exponent)} ± {_fixed(spread, exponent)}"


def printed(given: Printed) -> str:
    """Write a figure as its source prints it: down to the digit that its step names."""
    if isinstance(given.value, float):
        return _fixed(given.value, min(0, last_digit(given.step)))
    return figure(given.value)


def setting(value: Any) -> str:
    """Write a parameter's value as a scenario file would: never rounded, never grouped."""
    if isinstance(value, str):
        return value
    return json.dumps(to_json(value), ensure_ascii=False)


def _word(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else shortened(str(value))


def shortened(text: str) -> str:
    """Cut digests short: their first digits tell them apart."""
    return _DIGEST.sub(r"\1…", text)


def _leading(value: float, digits: int) -> int:
    """The power of ten of the first digit once rounded to `digits`: 0.0999 -> -1 for two."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


def last_digit(step: float) -> int:
    """Return the power of ten of the last digit that `step` has: 0.25 -> -2, 10 -> 1."""
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return int(exponent)


def _fixed(value: float, exponent: int) -> str:
    rounded = Decimal(repr(float(value))).quantize(
        Decimal((0, (1,), exponent)), rounding=ROUND_HALF_EVEN
    )
    unsigned = abs(rounded) if rounded == 0 else rounded
    return f"{unsigned:,f}"
