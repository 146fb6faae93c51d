"""Each README's table of departures from the article names params that the file really has."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.experiments.a32_34.params import T2poParams
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile
from harness.scenario.load import load
from harness.workloads.api.declare import build

SCENARIOS = sorted(
    path.parent for path in (Path(__file__).parents[2] / "scenarios").glob("*/scenario.yaml")
)
HEAD = "| point | article | here | why |"
_CODE = re.compile(r"`([^`]+)`")


def asked(folder: Path) -> Mapping[str, list[Any]]:
    """Return each param of the spark profile with the values that its runs have."""
    found: dict[str, list[Any]] = {}
    for spec in expand(load(folder), Profile.SPARK, Overrides()).runs:
        for name, value in spec.params.items():
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return found


def rows(folder: Path) -> list[list[str]]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Departures from the article\n")[2].partition(HEAD)[2]
    lines = table.strip().partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda path: path.name.partition("-")[0])
def test_the_params_that_it_names_are_those_of_the_file(folder: Path) -> None:
    params, found = asked(folder), rows(folder)
    assert found, "no table of departures"
    named = 0
    for row in found:
        assert len(row) == 4, row
        assert all(row), "an empty cell"
        for code in _CODE.findall(row[2]):
            name, is_given, text = code.partition("=")
            if not is_given or not name.isidentifier():
                continue
            assert name in params, f"{name} is no param of {folder.name}"
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                value = text
            assert params[name] == [value], f"{code}: the profile has {params[name]}"
            named += 1
    assert named, "no row names a param"


def test_article_34_trains_plain_grpo_beside_t2po_and_evaluates_its_steps() -> None:
    (folder,) = (each for each in SCENARIOS if each.name.startswith("a34-"))
    (spec,) = expand(load(folder), Profile.SPARK, Overrides()).runs
    params: T2poParams = build(T2poParams, spec.params)
    assert params.variants == ("grpo", "full")
    evaluated = {*range(params.eval_steps, params.max_steps + 1, params.eval_steps)}
    assert evaluated >= {25, 45, 50}, "the steps that the article prints"
    assert evaluated >= {10, 20, 30, 40}, "those that its author proposes"
