"""What the profiles of single scenarios ask, where an article or another file decides it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.experiments.a25.params import CloneParams
from harness.experiments.cpt.params import BridgeParams, ReplayParams
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, RunSpec
from harness.scenario.expectations import ExactEntry
from harness.scenario.folders import find
from harness.scenario.load import Loaded, load, load_expectations
from harness.workloads.api.declare import build
from harness.workloads.data.mixture import ReplayMixture
from harness.workloads.models.conditions import ARMS

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def loaded(name: str) -> Loaded:
    return load(find(SCENARIOS, name))


def planned(name: str, profile: Profile) -> tuple[RunSpec, ...]:
    return tuple(expand(loaded(name), profile, Overrides()).runs)


@pytest.mark.parametrize("profile", [Profile.SPARK, Profile.CUDA, Profile.CPU])
def test_article_18_runs_every_arm_for_a_hundred_steps(profile: Profile) -> None:
    runs = planned("a18", profile)
    assert [spec.params["variant"] for spec in runs if spec.replicate == 0] == [*ARMS]
    assert {(spec.params["max_steps"], spec.params["warmup_steps"]) for spec in runs} == {(100, 10)}
    assert {spec.params["batch_size"] for spec in runs} == {4}


@pytest.mark.parametrize("profile", [Profile.SPARK, Profile.CUDA])
def test_article_18_trains_its_own_model_on_a_gpu(profile: Profile) -> None:
    declared = {"num_hidden_layers": 24, "hidden_size": 1024, "vocab_size": 50257, "seq_len": 1024}
    for spec in planned("a18", profile):
        assert {name: spec.params[name] for name in declared} == declared


@pytest.mark.parametrize(
    ("profile", "precisions"), [(Profile.CUDA, {"bf16", "fp8"}), (Profile.CPU, {"fp32", "bf16"})]
)
def test_article_19_asks_sixteen_cells(profile: Profile, precisions: set[str]) -> None:
    runs = planned("a19", profile)
    assert len({spec.label for spec in runs}) == 16
    assert {spec.params["precision"] for spec in runs} == precisions
    assert {spec.params["batch_size"] for spec in runs} == {2, 4, 8, 16}
    assert {spec.params["warmup_steps"] for spec in runs} == {5}
    assert {spec.params["max_steps"] for spec in runs} == {30}


@pytest.mark.parametrize("profile", [Profile.SPARK, Profile.CUDA])
def test_article_25_lists_the_models_that_it_trains_and_serves(profile: Profile) -> None:
    params: CloneParams = build(CloneParams, planned("a25", profile)[0].params)
    found = loaded("a25").scenario.profiles[profile]
    taught_by = [params.teacher_model] if params.serves_teacher else []
    assert sorted(found.models) == sorted([params.model, *taught_by])
    assert params.trajectory in found.uses


def test_article_25_trains_on_a_spark_as_it_says() -> None:
    params: CloneParams = build(CloneParams, planned("a25", Profile.SPARK)[0].params)
    batch = params.per_device_train_batch_size * params.gradient_accumulation_steps
    assert (params.lora_rank, params.lora_alpha, params.num_train_epochs, batch) == (16, 32, 5, 8)
    assert params.learning_rate == 3e-4


def test_continued_pretraining_lists_the_model_that_it_reads() -> None:
    params: BridgeParams = build(BridgeParams, {"replay_ratio": 0.0})
    assert loaded("cpt").scenario.profiles[Profile.SPARK].models == [params.model]


def test_what_continued_pretraining_replays_follows_from_its_plan() -> None:
    spark: BridgeParams = build(BridgeParams, planned("cpt", Profile.SPARK)[0].params)
    cpu: ReplayParams = build(ReplayParams, planned("cpt", Profile.CPU)[0].params)
    for entry in load_expectations(loaded("cpt")).expectations:
        if entry.metric == "tokens.replayed" and isinstance(entry, ExactEntry):
            params = spark if Profile.SPARK in entry.binds.profile else cpu
            share = entry.where["replay_ratio"]
            assert isinstance(share, float)
            mixture = ReplayMixture(share=share, batch_size=params.batch_size)
            replayed = mixture.replayed_before(params.max_steps) * params.seq_len
            assert replayed == entry.expect.value, entry.id
