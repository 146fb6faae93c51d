"""Plans conserve cells, keep their order, and depend on nothing but what decides a result."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.plan.expand import Plan, expand
from harness.plan.overrides import Overrides
from harness.records import Profile
from harness.scenario.load import load

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FOLDERS = sorted(path.parent for path in SCENARIOS.glob("*/expectations.yaml"))
AXES = {
    "index": st.integers(-3, 9),
    "value": st.floats(-2, 2, allow_nan=False) | st.integers(-3, 3),
    "exit_code": st.integers(0, 255),
    "sleep_s": st.sampled_from((0, 0.5, 1, 2.5)),
}
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def sweeps(draw: st.DrawFn) -> dict[str, Any]:
    """Return a sweep of the noop workload; what it excludes may be nothing or everything."""
    names = draw(st.permutations(sorted(AXES)))[: draw(st.integers(0, len(AXES)))]
    num_zipped, length = draw(st.integers(0, len(names))), draw(st.integers(1, 3))
    axes = {}
    for place, name in enumerate(names):
        least, most = (length, length) if place < num_zipped else (1, 4)
        lists = st.lists(AXES[name], unique_by=float, min_size=least, max_size=most)
        axes[name] = draw(lists)
    rules = [
        {name: draw(st.sampled_from(axes[name])) for name in names if draw(st.booleans())}
        for _ in range(draw(st.integers(0, 2)))
    ]
    return {
        "zip": {name: axes[name] for name in names[:num_zipped]},
        "product": {name: axes[name] for name in names[num_zipped:]},
        "exclude": [rule for rule in rules if rule],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("scenarios") / "a99-example"
    place.mkdir()
    return place


def plan_of(folder: Path, sweep: dict[str, Any], replicates: int) -> Plan | str:
    """Return the plan of a scenario with this sweep, or why there is none."""
    document = {
        "scenario": folder.name,
        "title": "An example",
        "question": "Does it plan?",
        "article": {"number": 99, "title": "An example"},
        "workload": "noop",
        "sweep": sweep,
        "replicates": replicates,
        "profiles": {"cpu": {"summary": "here"}},
    }
    (folder / "scenario.yaml").write_text(json.dumps(document), encoding="utf-8")
    try:
        return expand(load(folder), Profile.CPU, Overrides())
    except InputError as error:
        return str(error)


@few
@given(sweep=sweeps(), replicates=st.integers(1, 3))
def test_declared_cells_are_planned_or_left_out(
    folder: Path, sweep: dict[str, Any], replicates: int
) -> None:
    plan = plan_of(folder, sweep, replicates)
    if isinstance(plan, str):
        assert sweep["exclude"]
        assert "is left out" in plan or "leaves out no cell" in plan
        return
    lengths = [len(values) for values in sweep["product"].values()]
    lengths += [len(values) for values in [*sweep["zip"].values()][:1]]
    assert plan.num_declared == math.prod(lengths) * replicates
    assert not any(excluded(run.cell, sweep) for run in plan.runs)
    assert all(excluded(each.cell, sweep) for each in plan.skipped)
    assert len({run.run_id for run in plan.runs}) == len(plan.runs)


@few
@given(sweep=sweeps())
def test_the_order_is_that_of_the_file(folder: Path, sweep: dict[str, Any]) -> None:
    plan = plan_of(folder, sweep, 1)
    if isinstance(plan, str):
        return
    assert plan_of(folder, sweep, 1) == plan
    axes = {**sweep["zip"], **sweep["product"]}
    places = [
        [axes[axis].index(run.cell[axis]) for axis in [*[*sweep["zip"]][:1], *sweep["product"]]]
        for run in plan.runs
    ]
    assert places == sorted(places)


def excluded(cell: Any, sweep: dict[str, Any]) -> bool:
    return any(
        all(cell[axis] == value for axis, value in rule.items()) for rule in sweep["exclude"]
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_ids_depend_on_no_path(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, elsewhere)
    here, there = load(folder), load(elsewhere)
    for profile in here.scenario.profiles:
        plan = expand(here, profile, Overrides())
        assert plan.runs == expand(there, profile, Overrides()).runs


@given(data=st.data())
def test_ids_depend_on_no_order(data: st.DataObject) -> None:
    loaded = load(data.draw(st.sampled_from(FOLDERS)))
    profile = data.draw(st.sampled_from([*loaded.scenario.profiles]))
    run = data.draw(st.sampled_from(expand(loaded, profile, Overrides()).runs))
    params = dict(data.draw(st.permutations(sorted(run.params.items()))))
    evidence = dict(data.draw(st.permutations(sorted(run.evidence.items()))))
    shuffled = replace(run, params=params, evidence=evidence)
    assert (shuffled.run_id, shuffled.point_id) == (run.run_id, run.point_id)
