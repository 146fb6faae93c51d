"""The published runs hold what the ledger of article 35 says of them, entry by entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Measurement, Profile, VerdictKind
from harness.scenario.expectations import Bound, Exact, Trajectory, claim_verdict
from harness.scenario.load import Loaded, load, load_expectations
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.emit import EVENTS_FILE, read_events

# claims of the article that the published rows contradict
CONTRADICTED = 21


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / "a35-auto-research-loop")


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


def test_every_disagreement_is_declared(loaded: Loaded) -> None:
    kinds = [claim_verdict(entry)[0] for entry in load_expectations(loaded).expectations]
    assert set(kinds) == {None, VerdictKind.REPRODUCED, VerdictKind.KNOWN_DIVERGENCE}
    assert kinds.count(VerdictKind.KNOWN_DIVERGENCE) == CONTRADICTED


def test_every_figure_comes_out_of_the_published_rows(
    loaded: Loaded, measurements: tuple[Measurement, ...]
) -> None:
    figures = {(m.metric, frozenset(m.where.items())): (m.value, m.unit) for m in measurements}
    for entry in load_expectations(loaded).expectations:
        if Profile.EVIDENCE not in entry.binds.profile:
            continue
        rows = dict(entry.where)
        if isinstance(entry, Trajectory):
            for place, wanted in entry.expect.points:
                at = frozenset({**rows, entry.expect.key: int(place)}.items())
                assert figures[entry.metric, at] == (wanted, entry.unit), entry.id
            continue
        value, unit = figures[entry.metric, frozenset(rows.items())]
        assert unit == entry.unit
        if isinstance(entry, Exact):
            assert value == entry.expect.value, entry.id
        else:
            assert isinstance(entry, Bound)
            assert isinstance(value, int | float)
            low, high = entry.expect.interval
            assert low <= value <= high, entry.id
