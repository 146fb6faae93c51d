"""The published files hold what the ledger of article 19 says of them, entry by entry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.check.verdicts import check
from harness.experiments.a19.params import WORKLOADS
from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import (
    Finished,
    Profile,
    RunOutcome,
    Status,
    Usage,
    Verdict,
    VerdictKind,
)
from harness.scenario.load import Loaded, load, load_expectations
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.emit import EVENTS_FILE, read_events

# claims of the article that its own raw files contradict
CONTRADICTED = {
    "throughput.spread",
    "fp8.speedup_falls",
    "memory.slope.bf16",
    "memory.intercept.bf16",
    "memory.intercept.bf16.elsewhere",
    "samples.span",
    "drift.throughput",
    "drift.step_time",
    "drift.position",
    "cloud.bandwidth.h100",
    "cloud.bandwidth.h200",
    "cloud.bandwidth.b200",
}


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / "a19-gb10-pretrain-envelope")


@pytest.fixture(scope="module")
def verdicts(
    loaded: Loaded, evidence_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Verdict, ...]:
    (spec,) = expand(loaded, Profile.EVIDENCE, Overrides()).runs
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EVIDENCE_VARIABLE, str(evidence_dir))
        run(spec.workload, spec, out)
    outcome = RunOutcome(
        status=Status.FINISHED, runtime="local", device="NVIDIA GB10", usage=Usage(wall_s=1.0)
    )
    measurements = measure(spec, read_events(out / EVENTS_FILE))
    finished = Finished(spec=spec, outcome=outcome, measurements=measurements)
    metrics = {metric.name: metric for workload in WORKLOADS for metric in workload.metrics}
    return check(load_expectations(loaded), [finished], Profile.EVIDENCE, metrics)


def test_the_published_files_reproduce_all_that_binds_on_them(
    verdicts: tuple[Verdict, ...],
) -> None:
    kinds = Counter(each.kind for each in verdicts)
    assert set(kinds) == {VerdictKind.REPRODUCED, VerdictKind.NOT_COMPARABLE}
    elsewhere = {v.expectation for v in verdicts if v.kind is VerdictKind.NOT_COMPARABLE}
    assert all(".cpu" in each or "law" in each or "fp32" in each for each in elsewhere)


def test_every_disagreement_is_declared(verdicts: tuple[Verdict, ...]) -> None:
    assert {v.claim for v in verdicts} == {
        None,
        VerdictKind.REPRODUCED,
        VerdictKind.KNOWN_DIVERGENCE,
    }
    declared = {v.expectation for v in verdicts if v.claim is VerdictKind.KNOWN_DIVERGENCE}
    assert declared == CONTRADICTED


@pytest.mark.parametrize(
    ("profile", "precisions"), [(Profile.CUDA, {"bf16", "fp8"}), (Profile.CPU, {"fp32", "bf16"})]
)
def test_a_profile_asks_sixteen_cells(
    loaded: Loaded, profile: Profile, precisions: set[str]
) -> None:
    runs = expand(loaded, profile, Overrides()).runs
    assert len({spec.label for spec in runs}) == 16
    assert {spec.params["precision"] for spec in runs} == precisions
    assert {spec.params["batch_size"] for spec in runs} == {2, 4, 8, 16}
    assert {spec.params["warmup_steps"] for spec in runs} == {5}
    assert {spec.params["steps"] for spec in runs} == {30}
