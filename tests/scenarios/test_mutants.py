"""The catalogue of planted faults is of today's code, and its page is of today's outcomes."""

from __future__ import annotations

import ast
import json

import pytest

from harness.scenario.folders import find
from tests.mutants.__main__ import OUTCOMES, TABLE
from tests.mutants.catalogue import ROOT, Mutant, read_catalogue
from tests.mutants.table import render

MUTANTS = read_catalogue()


def test_the_catalogue_is_large_and_each_fault_has_a_name() -> None:
    assert len(MUTANTS) >= 100
    assert len({each.id for each in MUTANTS}) == len(MUTANTS)
    areas = {each.area for each in MUTANTS}
    assert {"pretraining", "data", "continued pretraining", "fine-tuning"} <= areas
    assert {"reinforcement learning", "search loop", "distillation"} <= areas
    assert {"economics", "telemetry"} <= areas


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_every_fault_can_be_planted_and_changes_the_program(mutant: Mutant) -> None:
    sound = (ROOT / mutant.file).read_text(encoding="utf-8")
    planted = mutant.applied()
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(sound))
    assert find(ROOT / "scenarios", mutant.scenario).is_dir()
    assert all((ROOT / each).exists() for each in mutant.tests)


def test_the_page_says_what_came_of_them() -> None:
    outcomes = json.loads(OUTCOMES.read_text(encoding="utf-8")) if OUTCOMES.is_file() else {}
    assert TABLE.read_text(encoding="utf-8") == render(MUTANTS, outcomes)
