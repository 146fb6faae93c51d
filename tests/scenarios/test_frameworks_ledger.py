"""The published files hold what the ledger of article 18 says of them, entry by entry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.check.verdicts import check
from harness.experiments.a18.params import WORKLOADS
from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Finished, Profile, RunOutcome, Status, Usage, Verdict, VerdictKind
from harness.scenario.load import Loaded, load, load_expectations
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.models.conditions import ARMS

# claims of the article that its own raw files, or the laws, contradict
CONTRADICTED = {
    "matched.conditions",
    "matched.torch",
    "step_time.nemo",
    "throughput.nemo",
    "gain.throughput",
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
}


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / "a18-nemo-framework")


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
    declared = WORKLOADS
    metrics = {metric.name: metric for workload in declared for metric in workload.metrics}
    return check(load_expectations(loaded), [finished], Profile.EVIDENCE, metrics)


def test_the_published_files_reproduce_all_that_binds_on_them(
    verdicts: tuple[Verdict, ...],
) -> None:
    kinds = Counter(each.kind for each in verdicts)
    assert set(kinds) == {VerdictKind.REPRODUCED, VerdictKind.NOT_COMPARABLE}
    assert kinds[VerdictKind.REPRODUCED] > kinds[VerdictKind.NOT_COMPARABLE]


def test_every_disagreement_is_declared(verdicts: tuple[Verdict, ...]) -> None:
    assert {each.claim for each in verdicts} == {
        None,
        VerdictKind.REPRODUCED,
        VerdictKind.KNOWN_DIVERGENCE,
    }
    declared = {v.expectation for v in verdicts if v.claim is VerdictKind.KNOWN_DIVERGENCE}
    assert declared == CONTRADICTED


@pytest.mark.parametrize("profile", [Profile.SPARK, Profile.CUDA, Profile.CPU])
def test_a_profile_runs_every_arm_for_the_articles_hundred_steps(
    loaded: Loaded, profile: Profile
) -> None:
    runs = expand(loaded, profile, Overrides()).runs
    assert [spec.params["arm"] for spec in runs] == [*ARMS]
    assert {(spec.params["steps"], spec.params["warmup_steps"]) for spec in runs} == {(100, 10)}
    assert {spec.params["batch_size"] for spec in runs} == {4}


def test_the_gpu_profiles_run_the_articles_model(loaded: Loaded) -> None:
    for profile in (Profile.SPARK, Profile.CUDA):
        for spec in expand(loaded, profile, Overrides()).runs:
            declared = {"num_layers": 24, "width": 1024, "vocab_size": 50257, "seq_len": 1024}
            assert {name: spec.params[name] for name in declared} == declared
