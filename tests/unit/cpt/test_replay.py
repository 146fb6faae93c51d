"""One run of every arm, from spec to events, on a model of a few thousand weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.artefacts import ArtefactStore
from harness.experiments.cpt.params import ReplayParams
from harness.experiments.cpt.replay import Replayed, curve_steps, sampled_texts
from harness.records import Profile, RunSpec
from harness.variables import ARTEFACTS_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.data.languages import entropy_nats
from harness.workloads.models.gpt import Gpt
from harness.workloads.models.gpt_lora import adapt
from harness.workloads.models.peak_memory import peak_bytes
from harness.workloads.models.shape import ModelShape, Precision, gpt_shape, num_parameters
from harness.workloads.training.loop import Batch

TINY = {
    **defaults_of(ReplayParams),
    "vocab_size": 24,
    "branching_factor": 2,
    "seq_len": 16,
    "batch_size": 10,
    "hidden_size": 24,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "base_steps": 120,
    "max_steps": 60,
    "learning_rate": 0.01,
    "replay_ratios": [0.0, 0.3],
    "num_eval_examples": 40,
    "device": "cpu",
}
Figures = Mapping[tuple[Any, ...], Any]


def _run(out: Path, seed: int = 3, **params: Any) -> Figures:
    spec = RunSpec(
        scenario="cpt-continued-pretraining",
        profile=Profile.CPU,
        workload="continued.replay",
        params={**TINY, **params},
        seed=seed,
    )
    out.mkdir()
    run(spec.workload, spec, out)
    return dict(_figures(out))


def _figures(out: Path) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for event in read_events(out / EVENTS_FILE):
        if event.kind == "measured":
            figure = event.payload
            yield (figure["metric"], *figure["where"].values()), figure["value"]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return _run(tmp_path_factory.mktemp("replay") / "out")


def test_it_learns_the_old_language_then_the_new_and_forgets(figures: Figures) -> None:
    floor = figures["loss.entropy_floor",]
    assert floor == entropy_nats(2)
    assert floor < figures["base.loss", "old"] < floor + 0.2 < figures["base.loss", "new"]
    assert floor < figures["loss", "new", "all", 0.0] < floor + 0.3
    assert figures["forgetting", "all", 0.0] > 0.5


def test_replay_keeps_some_of_it(figures: Figures) -> None:
    assert figures["forgetting", "all", 0.3] < figures["forgetting", "all", 0.0] - 0.3


def test_what_is_gained_and_forgotten_are_differences_of_the_losses(figures: Figures) -> None:
    for arm in (("all", 0.0), ("all", 0.3), ("adapters", 0.0)):
        old, new = figures["loss", "old", *arm], figures["loss", "new", *arm]
        assert figures["forgetting", *arm] == old - figures["base.loss", "old"]
        assert figures["gain", *arm] == figures["base.loss", "new"] - new


def test_every_arm_starts_from_the_same_base_and_its_curve_ends_at_its_loss(
    figures: Figures,
) -> None:
    for arm in (("all", 0.0), ("all", 0.3), ("adapters", 0.0)):
        for domain in ("old", "new"):
            start = figures[f"eval.loss_{domain}", *arm, 0]
            assert start == pytest.approx(figures["base.loss", domain], rel=1e-6)
            assert figures[f"eval.loss_{domain}", *arm, 60] == figures["loss", domain, *arm]


def test_counts_are_exact(figures: Figures) -> None:
    assert figures["tokens.base",] == 120 * 160
    assert figures["tokens.continued", "all", 0.3] == 60 * 160
    assert figures["tokens.replayed", "all", 0.0] == 0
    assert figures["tokens.replayed", "all", 0.3] == 60 * 3 * 16
    maps = 24 * 72 + 24 * 24 + 2 * 24 * 48
    assert figures["parameters",] == num_parameters(_shape())
    assert figures["parameters.trained", "all", 0.0] == num_parameters(_shape())
    ends = (24 + 72) + (24 + 24) + 2 * (24 + 48)
    assert figures["parameters.trained", "adapters", 0.0] == 2 * 8 * ends < 2 * maps


def test_memory_follows_the_law(figures: Figures) -> None:
    law = peak_bytes(_shape(), 160, Precision.FP32, dropout=False)
    assert figures["memory.peak_allocated",] * 2**30 == pytest.approx(law, rel=0.001)


def test_a_seed_repeats_itself_and_another_is_another(figures: Figures, tmp_path: Path) -> None:
    again, other = _run(tmp_path / "again"), _run(tmp_path / "other", seed=4)
    one = {key: value for key, value in figures.items() if key != ("tokens_per_second",)}
    assert {key: again[key] for key in one} == one
    assert other["forgetting", "all", 0.0] != figures["forgetting", "all", 0.0]


def test_a_loss_that_is_no_number_is_absent(tmp_path: Path) -> None:
    found = _run(tmp_path / "out", learning_rate=1e30, base_steps=10, max_steps=10)
    assert found["base.loss", "old"] is None
    assert found["forgetting", "all", 0.0] is None


def test_held_out_texts_are_trained_on_by_nobody() -> None:
    params: ReplayParams = build(ReplayParams, {**TINY, "vocab_size": 500, "branching_factor": 8})
    corpora = sampled_texts(params, 0)
    seen = {tuple(text) for text in (*corpora.old.tolist(), *corpora.new.tolist())}
    held_out = {tuple(text) for texts in corpora.held_out.values() for text in texts.tolist()}
    assert len(corpora.old) == 1200
    assert len(corpora.new) == 600
    assert not seen & held_out


def test_a_curve_has_both_ends() -> None:
    params: ReplayParams = build(ReplayParams, {**TINY, "max_steps": 17, "num_eval_points": 3})
    assert curve_steps(params) == [0, 6, 11, 17]


def test_adapters_start_as_nothing_and_leave_the_weights_alone() -> None:
    torch.manual_seed(0)
    model = Gpt(_shape(), dropout=0.0)
    ids = torch.arange(16).expand(2, 16)
    with torch.no_grad():
        before = model(ids)
        after = adapt(model, 4)(ids)
    assert torch.equal(before, after)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert len(trained) == 2 * 4 * 2
    assert {name.rpartition(".")[2] for name in trained} == {"a", "b"}
    assert isinstance(model.get_submodule("blocks.0.up.frozen"), nn.Linear)


def _shape() -> ModelShape:
    return gpt_shape(
        vocab_size=24,
        num_positions=16,
        num_hidden_layers=2,
        hidden_size=24,
        num_attention_heads=2,
        intermediate_size=48,
    )


def test_replayed_texts_are_counted_in_the_batches_that_are_fed() -> None:
    old = torch.arange(20).view(4, 5)
    new = 100 + torch.arange(20).view(4, 5)

    def batch(step: int) -> Batch:
        texts = torch.cat((old[:step], new[: 3 - step]))
        return texts[:, :-1], texts[:, 1:]

    counted = Replayed(batch, old)
    for step in (0, 1, 2, 2):
        counted(step)
    assert counted.by_step == {0: 0, 1: 1, 2: 2}
    assert counted.texts == 12
    assert len(counted.seen) == 5


def test_what_is_trained_is_taken_by_the_next_attempt_with_the_same_figures(
    figures: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ARTEFACTS_VARIABLE, str(tmp_path / "store"))
    store = ArtefactStore(tmp_path / "store")
    _run(tmp_path / "first", replay_ratios=[0.0])  # an attempt that came to two of three ways
    before = set(store.keys())
    again = _run(tmp_path / "again")
    clock = ("tokens_per_second",)
    assert {key: again[key] for key in again if key != clock} == {
        key: figures[key] for key in figures if key != clock
    }
    assert len(set(store.keys()) - before) == 1
