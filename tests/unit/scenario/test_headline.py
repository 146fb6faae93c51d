"""Mistakes of a headline: each is named with its place and the nearest right name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError, Problem
from harness.scenario.load import load, load_expectations

SCENARIO = """\
scenario: a99-example
title: An example
question: Does it load?
article: {number: 99, title: Nothing}
workload: noop
sweep:
  product: {index: [1, 2]}
profiles:
  cpu: {summary: here}
  spark: {summary: there, sweep: {product: {index: [7]}}}
headline:
  answer:
    - {claim: value, says: the value is what is printed}
  limits:
    cpu: nothing of a Spark
  table:
    title: Values
    rows: [index]
    only: {index: [2, 1]}
    columns:
      - {metric: noop.value, header: value, interval: wilson}
  by_profile:
    spark:
      title: One value
      columns:
        - {metric: noop.value, header: value, interval: [noop.value, noop.value]}
"""
LEDGER = """\
scenario: a99-example
sections:
- title: Figures
  entries:
  - {id: value, metric: noop.value, class: arithmetic, derived: 3, source: article 99}
  - {id: other, metric: noop.value, class: arithmetic, derived: 3, source: article 99}
"""


def problems(folder: Path, old: str, new: str) -> list[Problem]:
    assert SCENARIO.count(old) >= 1
    place = folder / "a99-example"
    place.mkdir()
    (place / "scenario.yaml").write_text(SCENARIO.replace(old, new, 1), encoding="utf-8")
    (place / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    try:
        load_expectations(load(place))
    except InputError as error:
        return list(error.problems)
    return []


def test_the_example_has_no_mistake(tmp_path: Path) -> None:
    assert problems(tmp_path, "Values", "Values") == []


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [
        ("claim: value", "claim: valu", "headline.answer[0].claim", "value"),
        (
            "metric: noop.value, header: value, interval: wilson",
            "metric: noop.valeu, header: value",
            "headline.table.columns[0].metric",
            "noop.value",
        ),
        (
            "interval: [noop.value, noop.value]",
            "interval: [noop.value, noop.vlaue]",
            "headline.by_profile.spark.columns[0].interval[1]",
            "noop.value",
        ),
        ("only: {index", "only: {indx", "headline.table.only.indx", "index"),
        ("cpu: nothing", "cpuu: nothing", "headline.limits.cpuu", "cpu"),
        ("header: value, interval: wilson", "heading: value", "headline.table.columns[0]", ""),
    ],
)
def test_a_wrong_name_is_given_its_nearest_right_one(
    tmp_path: Path, old: str, new: str, key: str, nearest: str
) -> None:
    found = problems(tmp_path, old, new)
    assert any(each.key.startswith(key) and each.nearest == nearest for each in found), found
    assert all(each.line and each.path for each in found)


def test_a_profile_that_the_scenario_lacks(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "    cpu: nothing", "    cuda: nothing")
    assert (found.key, found.allowed) == ("headline.limits.cuda", "cpu, spark")


def test_an_axis_that_the_table_would_average_over(tmp_path: Path) -> None:
    old = "    rows: [index]\n    only: {index: [2, 1]}\n"
    (found,) = problems(tmp_path, old, "")
    assert found.key == "headline.table"
    assert found.message == "profile cpu varies index, and the table does not name it"


def test_an_interval_of_a_share_needs_a_share(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "metric: noop.value, header", "metric: run.wall_time, header")
    assert found.key == "headline.table.columns[0].interval"


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    new = "claim: valu, says: x}\n    - {claim: othr"
    assert len(problems(tmp_path, "claim: value", new)) == 2
