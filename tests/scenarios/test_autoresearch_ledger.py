"""The published loop holds what the ledger of article 22 says of it, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Measurement, Profile, Scalar, VerdictKind
from harness.scenario.expectations import Bound, Exact, Trajectory, claim_verdict
from harness.scenario.load import Loaded, load, load_expectations
from harness.units import convert
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.emit import EVENTS_FILE, read_events

# claims of the article that its own raw files contradict
CONTRADICTED = 22


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / "a22-autoresearch-agent-loop")


@pytest.fixture(scope="module")
def measurements(
    loaded: Loaded, evidence_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Measurement, ...]:
    (spec,) = expand(loaded, Profile.EVIDENCE, Overrides()).runs
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EVIDENCE_VARIABLE, str(evidence_dir))
        run(spec.workload, spec, out)
    return measure(spec, read_events(out / EVENTS_FILE))


def figure(
    measurements: tuple[Measurement, ...], metric: str, where: Mapping[str, Scalar], unit: str
) -> Scalar:
    (found,) = [m for m in measurements if m.metric == metric and m.where == where]
    if isinstance(found.value, int | float):
        return convert(found.value, found.unit, unit)
    return found.value


def test_every_disagreement_is_declared(loaded: Loaded) -> None:
    kinds = [claim_verdict(entry)[0] for entry in load_expectations(loaded).expectations]
    assert set(kinds) == {None, VerdictKind.REPRODUCED, VerdictKind.KNOWN_DIVERGENCE}
    assert kinds.count(VerdictKind.KNOWN_DIVERGENCE) == CONTRADICTED


def test_every_figure_comes_out_of_the_published_files(
    loaded: Loaded, measurements: tuple[Measurement, ...]
) -> None:
    for entry in load_expectations(loaded).expectations:
        if Profile.EVIDENCE not in entry.binds.profile:
            continue
        if isinstance(entry, Trajectory):
            for iteration, wanted in entry.expect.points:
                where = {entry.expect.key: int(iteration)}
                assert figure(measurements, entry.metric, where, entry.unit) == wanted, entry.id
            continue
        value = figure(measurements, entry.metric, entry.where, entry.unit)
        if isinstance(entry, Exact):
            assert value == entry.expect.value, entry.id
        else:
            assert isinstance(entry, Bound)
            assert isinstance(value, float)
            low, high = entry.expect.interval
            assert low <= value <= high, entry.id
