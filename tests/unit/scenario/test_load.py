"""Loading a scenario and its ledger: right files load, wrong ones name every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError, Problem
from harness.records import Profile, VerdictKind
from harness.scenario.expectations import BoundEntry, Expectations, Printed, claim_verdict
from harness.scenario.folders import find, folders
from harness.scenario.load import Loaded, load, load_expectations

SCENARIO = """\
scenario: a99-example
title: An example
question: Does it load?
article: {number: 99, title: Nothing}
workload: noop
params: {value: 3}
sweep:
  product: {index: [1, 2]}
profiles:
  cpu:
    summary: here
    params: {sleep_s: 0}
  spark:
    summary: there
    sweep: {product: {index: [7]}}
"""
LEDGER = """\
scenario: a99-example
sections:
- title: Figures
  entries:
  - id: value
    metric: noop.value
    where: {index: 1}
    unit: "1"
    class: arithmetic
    claimed: 3.0
    derived: 3.04
    kind: bound
    expect: {value: 3, abs: 0.5}
    reason: an example
    source: article 99
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a99-example"
    place.mkdir()
    (place / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    (place / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    return place


def mistakes(folder: Path, old: str, new: str) -> dict[str, Problem]:
    """Return key -> problem after replacing `old` by `new` in whichever file holds it."""
    for name in ("scenario.yaml", "expectations.yaml"):
        text = (folder / name).read_text(encoding="utf-8")
        if old in text:
            (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_expectations(load(folder))
    return {problem.key: problem for problem in caught.value.problems}


def test_a_right_scenario_loads(folder: Path) -> None:
    scenario = load(folder).scenario
    assert scenario.workload_of(Profile.CPU) == "noop"
    assert scenario.sweep_of(Profile.CPU).product == {"index": [1, 2]}
    assert scenario.sweep_of(Profile.SPARK).product == {"index": [7]}


def test_a_right_ledger_loads(folder: Path) -> None:
    (entry,) = load_expectations(load(folder)).expectations
    assert isinstance(entry, BoundEntry)
    assert entry.claimed == Printed(value=3.0)


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [
        ("workload: noop", "workload: nop", "workload", "noop"),
        ("params: {value: 3}", "params: {valeu: 3}", "params.valeu", "value"),
        ("  cpu:", "  cpuu:", "profiles.cpuu", "cpu"),
        ("    params:", "    prams:", "profiles.cpu.prams", "params"),
        ("sweep:\n", "sweeps:\n", "sweeps", "sweep"),
        ("{index: [1", "{indx: [1", "sweep.product.indx", "index"),
        ("metric: noop.value", "metric: noop.vale", "sections[0].entries[0].metric", "noop.value"),
        ('unit: "1"', "unit: tokens/s", "sections[0].entries[0].unit", "token/s"),
        ("class: arithmetic", "class: aritmetic", "sections[0].entries[0].class", "arithmetic"),
        ("abs: 0.5", "bas: 0.5", "sections[0].entries[0].expect.bas", "abs"),
    ],
)
def test_a_misspelling_has_its_place_and_the_nearest_name(
    folder: Path, old: str, new: str, key: str, nearest: str
) -> None:
    problem = mistakes(folder, old, new)[key]
    assert problem.nearest == nearest
    assert problem.line is not None
    assert problem.column is not None


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("scenario: a99-example\ntitle", "scenario: a98-other\ntitle", "scenario", "folder's name"),
        ("title: An example\n", "", "title", "required"),
        ("number: 99", "number: x", "article.number", "a whole number"),
        ("value: 3}\nsweep", "value: x}\nsweep", "params.value", "wrong type"),
        ("sleep_s: 0", "sleep_s: -1", "profiles.cpu.params.sleep_s", "out of range"),
        ("[1, 2]", "[1, 1]", "sweep.product.index[1]", "occurs twice"),
        ("[1, 2]}", "[1, 2], value: [1, 1.0]}", "sweep.product.value[1]", "occurs twice"),
        ("[1, 2]", "[]", "sweep.product.index", "at least 1"),
        ("[1, 2]}", "[1, 2]}\n  zip: {index: [1]}", "sweep.zip.index", "both product and zip"),
        (
            "[1, 2]}",
            "[1, 2]}\n  exclude: [{index: 3}]",
            "sweep.exclude[0].index",
            "does not take",
        ),
        (
            "[1, 2]}",
            "[1, 2]}\n  exclude: [{value: 3}]",
            "sweep.exclude[0].value",
            "not an axis",
        ),
        (
            "summary: there",
            "uses: [a/b.json]\n    summary: there",
            "profiles.spark.uses[0]",
            "evid",
        ),
        (
            "expect: {value: 3, abs: 0.5}",
            "expect: {value: 3}",
            "sections[0].entries[0].expect",
            "exactly",
        ),
        (
            "expect: {value: 3, abs: 0.5}",
            "expect: {low: 3, high: 2}",
            "sections[0].entries[0].expect",
            "above",
        ),
        ("    reason: an example\n", "", "sections[0].entries[0].reason", "key is required"),
        ('unit: "1"', "unit: GiB", "sections[0].entries[0].unit", "does not fit"),
        (
            "    source: article 99",
            "    source: article 99\n    binds: {profile: [cuda]}",
            "sections[0].entries[0].binds.profile[0]",
            "no such profile",
        ),
    ],
)
def test_a_mistake_is_found_and_placed(
    folder: Path, old: str, new: str, key: str, message: str
) -> None:
    found = mistakes(folder, old, new)
    assert key in found, list(found)
    assert message in found[key].message
    assert found[key].line is not None


def test_a_ratio_is_a_number_whatever_its_metric_is_measured_in(folder: Path) -> None:
    path = folder / "expectations.yaml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("noop.value", "run.wall_time").replace("kind: bound", "kind: ratio")
    text = text.replace("abs: 0.5}", "abs: 0.5, to: {metric: run.wall_time, where: {index: 2}}}")
    path.write_text(text.replace('unit: "1"', "unit: x"), encoding="utf-8")
    load_expectations(load(folder))
    assert "sections[0].entries[0].unit" in mistakes(folder, "unit: x", "unit: s")


def test_mistakes_of_shape_do_not_hide_the_others(folder: Path) -> None:
    text = (folder / "scenario.yaml").read_text(encoding="utf-8")
    text = text.replace("    params:", "    prams:").replace("[1, 2]", "[1, x]")
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load(folder)
    assert {each.key for each in caught.value.problems} == {
        "profiles.cpu.prams",
        "sweep.product.index[1]",
    }


def test_a_scenario_is_found_by_its_short_name(folder: Path) -> None:
    assert find(folder.parent, "a99") == folder
    assert find(folder.parent, "a99-example") == folder
    with pytest.raises(InputError, match="did you mean 'a99-example'"):
        find(folder.parent, "a99-exmple")


def test_two_scenarios_of_one_short_name_are_not_guessed_between(folder: Path) -> None:
    (folder.parent / "a99-other").mkdir()
    (folder.parent / "a99-other" / "scenario.yaml").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="more than one"):
        find(folder.parent, "a99")


def test_a_folder_without_a_scenario_is_an_error(folder: Path) -> None:
    (folder.parent / "stray").mkdir()
    with pytest.raises(InputError, match=r"stray: has no scenario\.yaml"):
        folders(folder.parent)


def _ledger(folder: Path, figures: str) -> Expectations:
    text = LEDGER.replace("    claimed: 3.0\n    derived: 3.04\n", figures)
    (folder / "expectations.yaml").write_text(text, encoding="utf-8")
    return load_expectations(Loaded(scenario=load(folder).scenario, document=load(folder).document))


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ("    claimed: 3.0\n    derived: 3.04\n", VerdictKind.REPRODUCED),
        ("    claimed: 3.0\n    derived: 3.06\n", VerdictKind.OUTSIDE),
        ("    claimed: 3.0\n    recorded: 4\n    derived: 3\n", VerdictKind.REPRODUCED),
        ("    claimed: 7000\n    derived: 7214\n", VerdictKind.OUTSIDE),
        ("    claimed: {value: 7000, quantum: 1000}\n    derived: 7214\n", VerdictKind.REPRODUCED),
        ("    claimed: 4\n    derived: 3\n    diverges: misprint\n", VerdictKind.ARTICLE_DIFFERS),
        ("    claimed: 3\n    derived: 3\n    diverges: misprint\n", VerdictKind.UNEXPECTED_MATCH),
        ("    claimed: 3\n", None),
        ("    derived: 3\n", None),
        ("    claimed: b16\n    recorded: b16\n", VerdictKind.REPRODUCED),
    ],
)
def test_the_ledger_judges_its_own_claims(
    folder: Path, figures: str, verdict: VerdictKind | None
) -> None:
    assert claim_verdict(_ledger(folder, figures).expectations[0])[0] == verdict
