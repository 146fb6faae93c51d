"""What an entry leaves out follows from its section, its metric and its own figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.scenario.expectations import Expectations
from harness.scenario.positions import Document, parse
from harness.scenario.sections import resolve

UNITS = {"loss": "nat", "speed": "token/s", "hash": "text", "wall": "s"}
HEAD = """\
scenario: a99-example
sections:
- title: One
  defaults: {metric: loss, where: {size: 8}, class: device, source: article 99, reason: a guess}
  entries:
"""


def resolved(entries: str, head: str = HEAD) -> Document:
    return resolve(parse(f"{head}{entries}", Path("expectations.yaml")), UNITS)


def entry(entries: str, head: str = HEAD) -> dict[str, Any]:
    """Return the one entry as everything else reads it, without what it does not say."""
    (found,) = Expectations.model_validate(resolved(entries, head).value).expectations
    return found.model_dump(by_alias=True, exclude_unset=True)


def test_an_entry_has_what_its_section_says_and_its_own() -> None:
    found = entry("  - {id: a, where: {step: 1}, class: invariant, derived: 3.04}\n")
    assert found["metric"] == "loss"
    assert found["where"] == {"size": 8, "step": 1}
    assert found["class"] == "invariant"
    assert found["source"] == "article 99"


def test_its_own_key_of_where_wins() -> None:
    assert entry("  - {id: a, where: {size: 16}, derived: 3.04}\n")["where"] == {"size": 16}


@pytest.mark.parametrize(
    ("figures", "kind", "expect"),
    [
        ("derived: 3.04", "bound", {"value": 3.04, "abs": 0.005}),
        ("recorded: 3.04", "bound", {"value": 3.04, "abs": 0.005}),
        ("recorded: 3.1, derived: 3.04", "bound", {"value": 3.04, "abs": 0.005}),
        ("derived: 75.00", "bound", {"value": 75.0, "abs": 0.005}),
        ("derived: 47.0", "bound", {"value": 47.0, "abs": 0.05}),
        ("derived: 1.50e-4", "bound", {"value": 1.5e-4, "abs": 5e-07}),
        ("derived: {value: 75.0, quantum: 0.5}", "bound", {"value": 75.0, "abs": 0.25}),
        ("derived: {value: 75.00}", "bound", {"value": 75.0, "abs": 0.005}),
        ("derived: 3", "exact", {"value": 3}),
        ("derived: true", "exact", {"value": True}),
        ("derived: b16", "exact", {"value": "b16"}),
        ("kind: exact, derived: 3.04", "exact", {"value": 3.04}),
        ("kind: bound, derived: 13501", "bound", {"value": 13501, "abs": 0.5}),
        ("derived: 3.04, expect: {rel: 0.02}", "bound", {"value": 3.04, "rel": 0.02}),
        ("derived: 3, expect: {abs: 2}", "bound", {"value": 3, "abs": 2}),
        ("derived: 3.04, expect: {low: 3}", "bound", {"low": 3}),
        ("derived: 3.04, expect: {value: 3, abs: 1}", "bound", {"value": 3, "abs": 1}),
        (
            "derived: 2, expect: {abs: 1, to: {metric: loss}}",
            "ratio",
            {"value": 2, "abs": 1, "to": {"metric": "loss"}},
        ),
        ("derived: 3.04, expect: {value: 3}", "exact", {"value": 3}),
        ("expect: {than: {metric: loss}}", "ordering", {"than": {"metric": "loss"}}),
        ("expect: {successes: 1, trials: 2}", "proportion", {"successes": 1, "trials": 2}),
        ("expect: {law: all_cells}", "law", {"law": "all_cells"}),
        (
            "kind: equivalence, expect: {value: 3, margin: 1}",
            "equivalence",
            {"value": 3, "margin": 1},
        ),
        ("class: reported", "reported", None),
        ("class: reported, derived: 3.04", "reported", None),
        ("class: reported, expect: {high: 4}", "bound", {"high": 4}),
    ],
)
def test_what_is_expected_follows_from_the_figures(figures: str, kind: str, expect: Any) -> None:
    found = entry(f"  - {{id: a, {figures}}}\n")
    assert (found["kind"], found.get("expect")) == (kind, expect)


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ("derived: 3.04", "half of the last digit derived"),
        ("recorded: 3.04", "half of the last digit recorded"),
        ("derived: 3.04, reason: as it is rounded", "as it is rounded"),
        ("derived: 3.04, expect: {abs: 1}", "a guess"),
        ("derived: 3.04, expect: {abs: 1}, reason: measured", "measured"),
        ("expect: {law: all_cells}", "a guess"),
        ("derived: 3", None),
        ("expect: {than: {metric: loss}}", None),
    ],
)
def test_a_default_reason_is_of_written_tolerances(figures: str, reason: str | None) -> None:
    assert entry(f"  - {{id: a, {figures}}}\n").get("reason") == reason


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        ("metric: speed, derived: 1.5", "token/s"),
        ("metric: wall, unit: h, derived: 1.5", "h"),
        ("metric: hash, derived: b16", "text"),
        ("metric: speed, derived: 1.5, expect: {abs: 1, to: {metric: speed}}", "x"),
    ],
)
def test_the_unit_is_the_metrics(said: str, unit: str) -> None:
    assert entry(f"  - {{id: a, {said}}}\n")["unit"] == unit


def test_a_default_tolerance_is_around_each_entrys_own_figure() -> None:
    head = HEAD.replace("reason:", "expect: {rel: 0.05}, reason:")
    document = resolved("  - {id: a, derived: 2.0}\n  - {id: b, recorded: 3.0}\n", head)
    found = [each["expect"] for each in document.value["expectations"]]
    assert found == [{"value": 2.0, "rel": 0.05}, {"value": 3.0, "rel": 0.05}]


def test_every_value_has_the_place_where_it_is_written() -> None:
    entries = "  - {id: a, derived: 3.04}\n- title: Two\n  entries:\n  - {id: b, metric: speed}\n"
    document = resolved(entries)
    assert document.place(("expectations", 0, "metric")) == (4, 14)
    assert document.place(("expectations", 0, "where", "size")) == (4, 36)
    assert document.place(("expectations", 0, "derived")) == (6, 13)
    assert document.place(("expectations", 1, "metric")) == (9, 13)
    assert document.place(("expectations", 0, "expect")) is None
    problem = document.problem(("expectations", 0, "where", "size"), "is mistaken")
    assert (problem.key, problem.line) == ("sections[0].defaults.where.size", 4)
    problem = document.problem(("expectations", 1, "expect", "abs"), "is mistaken")
    assert (problem.key, problem.line) == ("sections[1].entries[0].expect.abs", 9)
