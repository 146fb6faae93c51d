"""What the ledger of the announced article holds, beside the arithmetic and the declarations."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.experiments.cpt.memory import TRAINING, TrainingParams, figure
from harness.experiments.cpt.params import BridgeParams, ReplayParams
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, VerdictKind
from harness.scenario.expectations import Bound, Exact, claim_verdict
from harness.scenario.load import Loaded, load, load_expectations
from harness.units import convert
from harness.workloads.api.declare import build
from harness.workloads.data.mixture import Mixture


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / "cpt-continued-pretraining")


def test_the_arithmetic_gives_what_the_ledger_expects_of_it(loaded: Loaded) -> None:
    units = {each.name: each.unit for each in TRAINING.metrics}
    found = {
        (each.metric, *sorted(each.where.items())): each.value
        for each in figure.found(TrainingParams())
    }
    checked = 0
    for entry in load_expectations(loaded).expectations:
        if entry.binds.profile != (Profile.EVIDENCE,):
            continue
        value = found[(entry.metric, *sorted(entry.where.items()))]
        if isinstance(entry, Exact):
            assert value == entry.expect.value, entry.id
        else:
            assert isinstance(entry, Bound)
            assert isinstance(value, int | float)
            low, high = entry.expect.interval
            assert low <= convert(value, units[entry.metric], entry.unit) <= high, entry.id
        checked += 1
    assert checked == 37


def test_what_is_replayed_follows_from_the_plan(loaded: Loaded) -> None:
    spark: BridgeParams = build(
        BridgeParams, expand(loaded, Profile.SPARK, Overrides()).runs[0].params
    )
    cpu: ReplayParams = build(ReplayParams, expand(loaded, Profile.CPU, Overrides()).runs[0].params)
    for entry in load_expectations(loaded).expectations:
        if entry.metric == "tokens.replayed" and isinstance(entry, Exact):
            params = spark if Profile.SPARK in entry.binds.profile else cpu
            share = entry.where["replay"]
            assert isinstance(share, float)
            mixture = Mixture(share=share, batch_size=params.batch_size)
            replayed = mixture.replayed_before(params.continued_steps) * params.seq_len
            assert replayed == entry.expect.value, entry.id


def test_only_the_claim_on_mixed_precision_is_contradicted(loaded: Loaded) -> None:
    entries = load_expectations(loaded).expectations
    verdicts = {entry.id: claim_verdict(entry)[0] for entry in entries if entry.claimed}
    diverging = {name for name, kind in verdicts.items() if kind is VerdictKind.KNOWN_DIVERGENCE}
    assert diverging == {"fits.8b.megatron"}
    assert set(verdicts.values()) == {VerdictKind.KNOWN_DIVERGENCE, VerdictKind.REPRODUCED}


def test_the_profile_lists_the_model_that_its_workload_reads(loaded: Loaded) -> None:
    spark = loaded.scenario.profiles[Profile.SPARK]
    params: BridgeParams = build(BridgeParams, {"replay": 0.0})
    assert spark.models == [params.model]
