"""The order in which the runs of a plan are executed, so that drift becomes no effect.

A machine warms up over a sweep, and its clock falls by some percent. Were the cells executed one
after the other, the last axis fastest, that would look like an effect of the first. So runs go in
blocks: a block holds one replicate of each cell, in an order that a seed draws, and the next block
takes them the other way round. Two such blocks (for two cells ABBA) give each cell the same mean
time, so that a drift in proportion to time biases no difference of means. Of an odd number of
blocks, three are arranged so that the places of each cell add up to the same, or one more.

With one replicate no order can do that; the drawn one keeps drift from following an axis.
Sources: Fisher 1935, The Design of Experiments, sections 26 to 28 (blocks); Cox 1951, Biometrika
38, and Hill 1960 (orders that are free of trend).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def blocks(cells: Sequence[T], replicates: int, seed: int) -> Iterator[list[T]]:
    """Yield the order of the cells in each block, a block for each replicate.

    Args:
        cells: each once.
        replicates: how often each is executed.
        seed: of the draw; the same seed gives the same order.
    """
    draw = random.Random(f"order {seed}")  # noqa: S311 - an arrangement, not secrecy
    whole = list(cells)
    left = replicates
    if replicates > 1 and replicates % 2:
        draw.shuffle(whole)
        yield from _triple(whole)
        left -= 3
    while left > 0:
        draw.shuffle(whole)
        yield [*whole]
        if left > 1:
            yield whole[::-1]
        left -= 2


def _triple(cells: Sequence[T]) -> Iterator[list[T]]:
    """Yield three orders in which the places of a cell add up to the same, or to one more.

    Cell i is first at place i; the second places are chosen so that the sums of the two are all
    different, and the third places run against these sums.
    """
    count = len(cells)
    middle = (count - 1) // 2
    second = [middle - i // 2 if i % 2 == 0 else count - 1 - i // 2 for i in range(count)]
    by_sum = sorted(range(count), key=lambda i: i + second[i], reverse=True)
    yield [*cells]
    yield [cells[i] for i in sorted(range(count), key=second.__getitem__)]
    yield [cells[i] for i in by_sum]
