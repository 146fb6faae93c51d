"""Which figure changed between two commits: as often wrong as is said, and seeing what is there."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from harness.errors import HostError
from tests.bench.against import Change, changes, document, table


def change(effect: float, chance: random.Random, *, rounds: int = 9) -> Change:
    """Return a figure of 10 ms whose rounds share a noise of 50 %, beside 2 % of their own."""
    before, after = [], []
    for _ in range(rounds):
        shared = math.exp(chance.gauss(0, 0.5))
        before.append(0.01 * shared * math.exp(chance.gauss(0, 0.02)))
        after.append(0.01 * shared * effect * math.exp(chance.gauss(0, 0.02)))
    return Change(name="list_indexed", before_s=tuple(before), after_s=tuple(after))


def test_no_change_is_seldom_called_one_and_a_change_of_a_tenth_is_seen() -> None:
    chance = random.Random(7)  # noqa: S311 - noise
    wrong = sum(bool(change(1.0, chance).verdict) for _ in range(2000))
    assert 0.035 < wrong / 2000 < 0.065
    seen = [change(1.1, chance).verdict for _ in range(200)]
    assert seen.count("slower") > 195
    assert change(0.8, chance).verdict == "faster"


def test_the_interval_widens_with_the_number_of_figures() -> None:
    one = change(1.0, random.Random(1))  # noqa: S311 - noise
    many = Change(name="x", before_s=one.before_s, after_s=one.after_s, num_figures=6)
    assert many.interval.low < one.interval.low < one.ratio < one.interval.high
    assert one.interval.high < many.interval.high


def test_the_table_and_the_document_say_the_same() -> None:
    found = [change(1.5, random.Random(1))]  # noqa: S311 - noise
    assert "slower" in table("HEAD~1", found)
    (row,) = document("HEAD~1", found)["rows"]
    assert (row["verdict"], len(row["before_s"])) == ("slower", 9)


def test_a_commit_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no-such-commit"):
        changes("no-such-commit", ["version"], 2, tmp_path)
