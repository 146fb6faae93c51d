"""The cells of a sweep: crossed axes, axes that advance together, and excluded cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from harness.scenario.schema import Sweep

MAX_RUNS = 10_000  # of one profile; beyond that an axis was meant otherwise


def num_cells(sweep: Sweep) -> int:
    """Return how many cells `cells_of` yields."""
    rows = [len(values) for values in sweep.zip.values()][:1]
    return math.prod([*rows, *(len(values) for values in sweep.product.values())])


def cells_of(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Yield every cell of a sweep, excluded ones too; the last product axis varies fastest."""
    zipped = [
        dict(zip(sweep.zip, row, strict=True)) for row in zip(*sweep.zip.values(), strict=True)
    ]
    for together in zipped or [{}]:
        for row in product(*sweep.product.values()):
            yield {**together, **dict(zip(sweep.product, row, strict=True))}


def matches(cell: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    """Return whether a cell is one that an `exclude` rule names."""
    return all(cell.get(axis) == value for axis, value in rule.items())
