"""The calculators work out what the ledgers of articles 23 and 24 hold, cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.experiments.a23_24 import campaign, training_tiers
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, Scalar
from harness.scenario.expectations import Bound, Ordering, claim_verdict
from harness.scenario.load import load, load_expectations
from harness.units import convert
from harness.workloads.api.declare import build
from harness.workloads.api.figures import Figure
from harness.workloads.api.registry import workload

FIGURES: dict[str, Callable[[Any], Iterator[Figure]]] = {
    "a23-what-the-agent-built": training_tiers.figure.found,
    "a24-derisk-cloud-pretraining": lambda p: campaign.figure.found(campaign.Campaign(p)),
}
Cells = list[tuple[str, Mapping[str, Scalar], Scalar]]


@pytest.fixture(params=FIGURES)
def folder(request: pytest.FixtureRequest, project_root: Path) -> Path:
    return project_root / "scenarios" / str(request.param)


def calculated(folder: Path) -> Cells:
    specs = expand(load(folder), Profile.CPU, Overrides()).runs
    return [
        (figure.metric, {**spec.cell, **figure.where}, figure.value)
        for spec in specs
        for figure in FIGURES[folder.name](build(workload(spec.workload).params, spec.params))
    ]


def figure_at(cells: Cells, metric: str, where: Mapping[str, Scalar]) -> float:
    (value,) = [v for name, row, v in cells if name == metric and where.items() <= row.items()]
    assert isinstance(value, int | float)
    return float(value)


def test_every_figure_that_binds_on_a_cpu_is_reproduced(folder: Path) -> None:
    loaded, cells = load(folder), calculated(folder)
    units = {each.name: each.unit for each in workload(loaded.scenario.workload).metrics}
    checked = 0
    for entry in load_expectations(loaded).expectations:
        if entry.binds.profile and Profile.CPU not in entry.binds.profile:
            continue
        if isinstance(entry, Bound):
            low, high = entry.expect.interval
            value = convert(
                figure_at(cells, entry.metric, entry.where), units[entry.metric], entry.unit
            )
            assert low <= value <= high, entry.id
            checked += 1
        elif isinstance(entry, Ordering):
            other = entry.expect.than
            better = figure_at(cells, entry.metric, entry.where)
            assert better < figure_at(cells, other.metric, other.where), entry.id
            checked += 1
    assert checked > 40


def test_every_disagreement_is_declared(folder: Path) -> None:
    for entry in load_expectations(load(folder)).expectations:
        kind, detail = claim_verdict(entry)
        assert kind is None or kind.value in {"REPRODUCED", "KNOWN_DIVERGENCE"}, (entry.id, detail)
