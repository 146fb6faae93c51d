"""What is published, and what is calculated, is what each ledger says of it, entry by entry."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from harness.check.audit import cannot_fail
from harness.check.verdicts import check
from harness.experiments.a32_34.params import TasksParams
from harness.measure import measure, metrics_by_name
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import (
    FinishedRun,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    Usage,
    Verdict,
    VerdictKind,
)
from harness.scenario.expectations import (
    ArithmeticEntry,
    EvidenceClass,
    Expectation,
    TrajectoryEntry,
    claim_verdict,
)
from harness.scenario.folders import find
from harness.scenario.load import Loaded, load, load_expectations
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.api.registry import workload

SCENARIOS = Path(__file__).parents[2] / "scenarios"
REPRODUCED, DIVERGES = VerdictKind.REPRODUCED, VerdictKind.ARTICLE_DIFFERS

# scenario -> claims that its own raw files, its own figures or the laws contradict: which, or how
# many
CONTRADICTED: dict[str, set[str] | int] = {
    "a18": {
        "matched.conditions",
        "matched.torch",
        "step_time.nemo",
        "throughput.nemo",
        "gain.tokens_per_second",
        "gain.step_time",
        "gain.step_saved",
        "gain.published",
        "effect.precision.memory.law",
        "effect.framework.memory.law",
        "effect.framework.memory",
        "effect.framework.memory.dropout",
        "loss.first.vanilla",
        "loss.first.ratio",
        "loss.last.nemo",
        "long_run.vanilla",
        "long_run.nemo",
        "long_run.saved",
        "night.nemo",
        "night.gain",
        "year.gain",
    },
    "a19": {
        "throughput.spread",
        "fp8.speedup_falls",
        "memory.slope.bf16",
        "memory.intercept.bf16",
        "memory.intercept.bf16.elsewhere",
        "samples.span",
        "drift.tokens_per_second",
        "drift.step_time",
        "drift.position",
        "cloud.bandwidth.h100",
        "cloud.bandwidth.h200",
        "cloud.bandwidth.b200",
    },
    "a20": 9,
    "a22": 22,
    "a23": 17,
    "a24": 36,
    "a25": {
        "corpus.as_asked.published",
        "corpus.most_frequent",
        "corpus.same_target",
        "cost.50",
        "cost.200",
        "picks.distilled.d_model_768",
        "picks.distilled.n_head_8",
        "race.told_apart.exact",
        "race.told_apart.knob",
        "training.held_out.1",
        "training.held_out.3",
        "training.loss.4",
        "training.loss.6",
        "trajectory.higher",
        "trajectory.kept_768",
    },
    "a32": 5,
    "a33": 5,
    "a34": 6,
    "a35": 21,
    "a36": 22,
    "cpt": {"fits.8b.megatron"},
}
# profiles that recompute published figures, or calculate: how many entries bind there
RECOMPUTED = {
    ("a18", Profile.EVIDENCE): 55,
    ("a19", Profile.EVIDENCE): 143,
    ("a20", Profile.EVIDENCE): 115,
    ("a22", Profile.EVIDENCE): 140,
    ("a23", Profile.EVIDENCE): 12,
    ("a23", Profile.CPU): 42,
    ("a24", Profile.EVIDENCE): 84,
    ("a24", Profile.CPU): 83,
    ("a25", Profile.EVIDENCE): 71,
    ("a32", Profile.EVIDENCE): 111,
    ("a33", Profile.EVIDENCE): 9,
    ("a34", Profile.EVIDENCE): 8,
    ("a35", Profile.EVIDENCE): 193,
    ("a36", Profile.EVIDENCE): 143,
    ("cpt", Profile.EVIDENCE): 37,
}


@cache
def loaded(name: str) -> Loaded:
    return load(find(SCENARIOS, name))


@cache
def entries(name: str) -> tuple[Expectation, ...]:
    return tuple(load_expectations(loaded(name)).expectations)


def executed(spec: RunSpec, out: Path) -> FinishedRun:
    """Run a workload that needs no container, in this process."""
    out.mkdir(exist_ok=True)
    run(spec.workload, spec, out)
    events = read_events(out / EVENTS_FILE)
    (device,) = [each.payload["device"] for each in events if each.kind == "started"]
    outcome = RunOutcome(
        status=Status.FINISHED, runtime="local", device=device, usage=Usage(wall_s=1.0)
    )
    return FinishedRun(spec=spec, outcome=outcome, measurements=measure(spec, events))


def judged(name: str, profile: Profile, runs: list[FinishedRun]) -> dict[str, Verdict]:
    ledger = load_expectations(loaded(name))
    found = check(ledger, runs, profile, metrics_by_name(loaded(name).scenario))
    return {each.expectation: each for each in found}


# entries that are arithmetic on the article's own numbers
ARITHMETIC = {"a18": 3, "a33": 40, "a34": 39, "a36": 24}


@pytest.mark.parametrize("name", CONTRADICTED)
def test_arithmetic_holds_without_a_run(name: str) -> None:
    verdicts = judged(name, Profile.SPARK, [])
    sums = [each for each in entries(name) if isinstance(each, ArithmeticEntry)]
    assert len(sums) == ARITHMETIC.get(name, 0)
    assert {verdicts[each.id].kind for each in sums} <= {VerdictKind.ARITHMETIC}


def test_every_scenario_is_here() -> None:
    known = {folder.name.partition("-")[0] for folder in SCENARIOS.iterdir()}
    assert {*CONTRADICTED} == {name for name, _ in RECOMPUTED} == known


@pytest.mark.parametrize("name", CONTRADICTED)
def test_every_disagreement_is_declared(name: str) -> None:
    claims = {entry.id: claim_verdict(entry)[0] for entry in entries(name)}
    assert {*claims.values()} == {None, REPRODUCED, DIVERGES}
    diverging, known = (
        {each for each, kind in claims.items() if kind is DIVERGES},
        CONTRADICTED[name],
    )
    assert (len(diverging) if isinstance(known, int) else diverging) == known


@pytest.mark.parametrize(("name", "profile"), RECOMPUTED)
def test_every_figure_that_binds_comes_out(
    name: str,
    profile: Profile,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = loaded(name).scenario
    if uses := scenario.profiles[profile].uses:
        folder: Path = request.getfixturevalue("evidence_dir")
        unfetchable = {each.file for each in scenario.evidence if each.url is None}
        if missing := [
            each for each in uses if each in unfetchable and not (folder / each).is_file()
        ]:
            pytest.skip(f"published without an address, and not in {folder}: {missing}")
        monkeypatch.setenv(EVIDENCE_VARIABLE, str(folder))
    specs = expand(loaded(name), profile, Overrides()).runs
    runs = [executed(spec, tmp_path / spec.run_id) for spec in specs]
    verdicts = judged(name, profile, runs)
    comparable = [each for each in entries(name) if not isinstance(each, ArithmeticEntry)]
    bound = [
        each
        for each in comparable
        if binds(each, profile) and each.evidence_class is not EvidenceClass.REPORTED
    ]
    assert {each.id for each in bound} == {
        each.expectation for each in verdicts.values() if each.kind is REPRODUCED
    }
    assert len(bound) == RECOMPUTED[name, profile]
    uncounted = {VerdictKind.OTHER_PROFILE, VerdictKind.ARITHMETIC, VerdictKind.REPORTED}
    known = {REPRODUCED, *uncounted}
    assert {each.kind for each in verdicts.values()} <= known
    ledger = load_expectations(loaded(name))
    found = cannot_fail(ledger, runs, profile, metrics_by_name(scenario))
    assert found == ((), len(bound)), "an entry that no dead experiment turns says nothing"
    if profile is Profile.EVIDENCE:  # the reverse, that no other is reported, the writer holds
        declared = {each.name for spec in specs for each in workload(spec.workload).metrics}
        assert declared <= {each.metric for finished in runs for each in finished.measurements}
    for entry in bound:
        if isinstance(entry, TrajectoryEntry):  # every point, not only within its tolerance
            assert series(entry, runs) == pytest.approx(dict(entry.expect.points)), entry.id


def binds(entry: Expectation, profile: Profile) -> bool:
    return not entry.binds.profile or profile in entry.binds.profile


def series(entry: TrajectoryEntry, runs: list[FinishedRun]) -> dict[float, object]:
    """Return what was measured at the points that a trajectory names."""
    found = {
        each.where[entry.expect.key]: each.value
        for finished in runs
        for each in finished.measurements
        if each.metric == entry.metric and entry.where.items() <= each.where.items()
    }
    return {at: found[int(at)] for at, _ in entry.expect.points}


def test_article_19s_laws_and_small_runs_alone_bind_elsewhere() -> None:
    elsewhere = {each.id for each in entries("a19") if not binds(each, Profile.EVIDENCE)}
    kinds = (".cpu", "law", "fp32", "observed.")
    assert all(any(kind in each for kind in kinds) for each in elsewhere)


def test_templates_give_what_the_ledger_of_article_32_says(tmp_path: Path) -> None:
    """Without the policy, whose training is tested where its packages are."""
    written = replace(
        expand(loaded("a32"), Profile.CPU, Overrides()).runs[0],
        workload="clawgym.tasks",
        params=defaults_of(TasksParams),
        seed=42,
    )
    finished = executed(written, tmp_path)
    verdicts = judged("a32", Profile.CPU, [finished])
    known = {each.metric for each in finished.measurements}
    asked = [
        each
        for each in entries("a32")
        if Profile.CPU in each.binds.profile and each.metric in known
        if each.evidence_class is not EvidenceClass.REPORTED
    ]
    assert len(asked) >= 10
    assert {each.kind for each in asked} == {"exact"}
    assert {verdicts[each.id].kind for each in asked} == {REPRODUCED}
