"""What the ledger of article 25 holds, beside its figures and the declarations."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.experiments.a25.params import CloneParams
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, VerdictKind
from harness.scenario.expectations import claim_verdict
from harness.scenario.load import Loaded, load, load_expectations
from harness.workloads.api.declare import build


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / "a25-distill-architect-lora")


@pytest.mark.parametrize("profile", [Profile.SPARK, Profile.CUDA])
def test_a_profile_lists_the_model_that_it_trains(loaded: Loaded, profile: Profile) -> None:
    params: CloneParams = build(CloneParams, expand(loaded, profile, Overrides()).runs[0].params)
    found = loaded.scenario.profiles[profile]
    assert found.models == [params.policy]
    assert params.trajectory in found.uses


def test_a_spark_trains_as_the_article_did(loaded: Loaded) -> None:
    params: CloneParams = build(
        CloneParams, expand(loaded, Profile.SPARK, Overrides()).runs[0].params
    )
    batch = params.micro_batch * params.accumulated
    assert (params.lora_rank, params.lora_alpha, params.epochs, batch) == (16, 32, 5, 8)
    assert params.rate == 3e-4


def test_the_contradicted_claims_are_these(loaded: Loaded) -> None:
    entries = load_expectations(loaded).expectations
    verdicts = {entry.id: claim_verdict(entry)[0] for entry in entries if entry.claimed is not None}
    diverging = {name for name, kind in verdicts.items() if kind is VerdictKind.KNOWN_DIVERGENCE}
    assert diverging == {
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
    }
