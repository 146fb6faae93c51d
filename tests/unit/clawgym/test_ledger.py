"""What is published, and what templates give, is what the ledger of article 32 says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.experiments.a32_34.tasks_params import TasksParams
from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Measurement, Profile, VerdictKind
from harness.scenario.expectations import Bound, Exact, Trajectory, claim_verdict
from harness.scenario.load import Loaded, load, load_expectations
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events

CONTRADICTED = 5  # claims that the article's own figures or files contradict


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / "a32-clawgym-on-spark")


def measured(loaded: Loaded, profile: Profile, out: Path) -> tuple[Measurement, ...]:
    (spec,) = expand(loaded, profile, Overrides()).runs
    run(spec.workload, spec, out)
    return measure(spec, read_events(out / EVENTS_FILE))


def verify(loaded: Loaded, profile: Profile, found: tuple[Measurement, ...]) -> int:
    bound = [e for e in load_expectations(loaded).expectations if profile in e.binds.profile]
    for entry in bound:
        rows = [
            m for m in found if m.metric == entry.metric and entry.where.items() <= m.where.items()
        ]
        if isinstance(entry, Trajectory):
            values = {row.where[entry.expect.key]: row.value for row in rows}
            for step, wanted in entry.expect.points:
                assert values[int(step)] == pytest.approx(wanted), entry.id
            continue
        (row,) = rows
        if isinstance(entry, Exact):
            assert row.value == entry.expect.value, entry.id
        else:
            assert isinstance(entry, Bound)
            assert isinstance(row.value, float)
            low, high = entry.expect.interval
            assert low <= row.value <= high, entry.id
    return len(bound)


def test_every_disagreement_is_declared(loaded: Loaded) -> None:
    kinds = [claim_verdict(entry)[0] for entry in load_expectations(loaded).expectations]
    assert set(kinds) == {None, VerdictKind.REPRODUCED, VerdictKind.KNOWN_DIVERGENCE}
    assert kinds.count(VerdictKind.KNOWN_DIVERGENCE) == CONTRADICTED


def test_every_figure_comes_out_of_the_published_files(
    loaded: Loaded, evidence_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EVIDENCE_VARIABLE, str(evidence_dir))
    found = measured(loaded, Profile.EVIDENCE, tmp_path)
    assert verify(loaded, Profile.EVIDENCE, found) > 100


def test_templates_give_what_the_ledger_says(loaded: Loaded, tmp_path: Path) -> None:
    """Without the policy, whose training is tested where its packages are."""
    written = replace(
        expand(loaded, Profile.CPU, Overrides()).runs[0],
        workload="clawgym.tasks",
        params=defaults_of(TasksParams),
        seed=42,
    )
    run(written.workload, written, tmp_path)
    found = measure(written, read_events(tmp_path / EVENTS_FILE))
    known = {each.metric for each in found}
    entries = [
        each
        for each in load_expectations(loaded).expectations
        if Profile.CPU in each.binds.profile and each.metric in known
    ]
    assert len(entries) >= 15
    for entry in entries:
        assert isinstance(entry, Exact)
        (row,) = (
            m for m in found if m.metric == entry.metric and entry.where.items() <= m.where.items()
        )
        assert row.value == entry.expect.value, entry.id
