"""What articles 33 and 34 print agrees with itself exactly as their ledgers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, VerdictKind
from harness.scenario.expectations import Bound, Exact, claim_verdict
from harness.scenario.load import load, load_expectations
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.emit import EVENTS_FILE, read_events

SCENARIOS = ("a33-clawgym-on-spark-grpo", "a34-t2po-uncertainty-guided-rl")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_printed_figure_comes_out(
    project_root: Path,
    evidence_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    loaded = load(project_root / "scenarios" / name)
    (spec,) = expand(loaded, Profile.EVIDENCE, Overrides()).runs
    monkeypatch.setenv(EVIDENCE_VARIABLE, str(evidence_dir))
    run(spec.workload, spec, tmp_path)
    measured = measure(spec, read_events(tmp_path / EVENTS_FILE))
    figures = {(each.metric, frozenset(each.where.items())): each.value for each in measured}
    asked = [
        entry
        for entry in load_expectations(loaded).expectations
        if Profile.EVIDENCE in entry.binds.profile
    ]
    assert len(asked) > 40
    for entry in asked:
        value = figures[entry.metric, frozenset(entry.where.items())]
        assert isinstance(value, int | float)
        match entry:
            case Exact():
                assert value == entry.expect.value, entry.id
            case Bound():
                wanted, allowed = entry.expect.value, entry.expect.abs
                assert wanted is not None
                assert value == pytest.approx(wanted, rel=0, abs=allowed), entry.id
            case _:
                pytest.fail(entry.id)


@pytest.mark.parametrize(("name", "contradicted"), list(zip(SCENARIOS, (5, 6), strict=True)))
def test_every_disagreement_is_declared(project_root: Path, name: str, contradicted: int) -> None:
    entries = load_expectations(load(project_root / "scenarios" / name)).expectations
    kinds = [claim_verdict(each)[0] for each in entries if Profile.EVIDENCE in each.binds.profile]
    assert set(kinds) == {None, VerdictKind.REPRODUCED, VerdictKind.KNOWN_DIVERGENCE}
    assert kinds.count(VerdictKind.KNOWN_DIVERGENCE) == contradicted
