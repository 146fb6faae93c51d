"""The catalogues of planted faults are of today's code, and their page is of today's outcomes."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from harness.scenario.folders import find
from tests.mutants.__main__ import TABLE, page
from tests.mutants.catalogue import FIRST, ROOT, SECOND, Mutant, outcomes_of, read_catalogue

CATALOGUES = {path.stem: read_catalogue(path) for path in (FIRST, SECOND)}
MUTANTS = [each for catalogue in CATALOGUES.values() for each in catalogue]


@pytest.mark.parametrize(("name", "least"), [("catalogue", 100), ("second", 60)])
def test_a_catalogue_is_large_and_is_of_every_area(name: str, least: int) -> None:
    mutants = CATALOGUES[name]
    assert len(mutants) >= least
    areas = {each.area for each in mutants}
    assert {"pretraining", "data", "continued pretraining", "fine-tuning"} <= areas
    assert {"reinforcement learning", "search loop", "distillation"} <= areas
    assert {"economics", "telemetry"} <= areas


def test_no_fault_is_of_both_catalogues_and_each_has_a_name() -> None:
    assert len({each.id for each in MUTANTS}) == len(MUTANTS)
    edits = [{(each.file, each.old) for each in mutants} for mutants in CATALOGUES.values()]
    assert not edits[0] & edits[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_every_fault_can_be_planted_and_changes_the_program(mutant: Mutant) -> None:
    sound = (ROOT / mutant.file).read_text(encoding="utf-8")
    planted = mutant.applied()
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(sound))
    assert find(ROOT / "scenarios", mutant.scenario).is_dir()
    assert all((ROOT / each).exists() for each in mutant.tests)


@pytest.mark.parametrize("catalogue", [FIRST, SECOND], ids=lambda path: path.stem)
def test_what_tests_and_pins_do_not_notice_is_explained(catalogue: Path) -> None:
    outcomes = json.loads(outcomes_of(catalogue).read_text(encoding="utf-8"))
    for each in read_catalogue(catalogue):
        came = {outcomes.get(each.id, {}).get(ask, {}).get("came") for ask in ("tests", "pins")}
        assert "caught" in came or "survived" not in came or each.explained, each.id


def test_the_page_says_what_came_of_them() -> None:
    assert TABLE.read_text(encoding="utf-8") == page()
