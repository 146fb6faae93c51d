"""The whole path in this process, small: its figures, and what becomes of a broken one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import InputError
from harness.experiments.a20 import prepare
from harness.experiments.a20.params import DATA_PATH, PathParams
from harness.measure import measure
from harness.records import Limits, Measurement, Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.data import corpus
from harness.workloads.data.clean import Fate
from harness.workloads.data.loader import InOrder
from harness.workloads.data.planted import Planted, PlantedKind
from harness.workloads.training.loop import OptimizerStep, TrainingRun
from harness.workloads.training.pretrain import training_run

_TINY = {
    **defaults_of(PathParams),
    "datasets": ["planted"],
    "filters": ["own"],
    "tokenizer": "bytes",
    "device": "cpu",
    "vocab_size": 258,
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "dropout": 0.0,
    "precisions": ["fp32"],
    "batch_sizes": [2, 4],
    "seq_lens": [8, 8],
    "max_steps": 4,
    "warmup_steps": 2,
    "vocab_sizes": [257, 258],
    "ab_rounds": 3,
    "steps_per_round": 3,
    "round_precision": "fp32",
    "round_batch_size": 1,
    "round_seq_len": 8,
}
_SWEEP = "harness.experiments.a20.sweep"
_FIRST: dict[str, Any] = {"precision": "fp32", "seq_len": 8, "batch_size": 2}
_SECOND = {**_FIRST, "batch_size": 4}


@pytest.fixture(autouse=True)
def small_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of sixty documents."""

    def few(seed: int, scale: int) -> list[Planted]:
        texts = [" ".join(f"{seed}w{n * scale + k}" for k in range(60)) for n in range(60)]
        return [Planted(kind=PlantedKind.PROSE, text=t, clean=t, fate=Fate.KEPT) for t in texts]

    monkeypatch.setattr(prepare, "planted", few)


def _spec(**params: Any) -> RunSpec:
    return RunSpec(
        scenario="a20-training-data-path",
        profile=Profile.CPU,
        workload=DATA_PATH.name,
        params={**_TINY, **params},
        seed=3,
    )


def _measured(spec: RunSpec, out: Path) -> dict[str, list[Measurement]]:
    out.mkdir(exist_ok=True)
    run(spec.workload, spec, out)
    found: dict[str, list[Measurement]] = {}
    for each in measure(spec, read_events(out / EVENTS_FILE)):
        found.setdefault(each.metric, []).append(each)
    return found


def _at(found: list[Measurement], where: dict[str, Any]) -> Measurement:
    (only,) = [each for each in found if each.where == where]
    return only


def test_a_corpus_becomes_steps_and_every_part_of_it_a_figure(tmp_path: Path) -> None:
    found = _measured(_spec(), tmp_path)
    assert found["planted.mistakes"][0].value == 0
    assert _at(found["corpus.documents"], {"corpus": "planted", "stage": "unique"}).value == 60
    assert found["packed.documents"][0].value == 60
    for where in (_FIRST, _SECOND):
        for metric in ("step_time.mean", "data.time", "data.wait", "tokens_per_second.overlapped"):
            value = _at(found[metric], where).value
            assert isinstance(value, float)
            assert value > 0
        assert _at(found["cell.fits"], where).value is True
        assert _at(found["memory.peak_allocated"], where).value is not None
    assert [each.where for each in found["table.ratio"]] == [{"vocab_size": 258}]
    low, ratio, high = (
        found[f"table.{name}"][0].value for name in ("ratio_low", "ratio", "ratio_high")
    )
    assert isinstance(low, float)
    assert isinstance(ratio, float)
    assert isinstance(high, float)
    assert low <= ratio <= high
    assert not (tmp_path / "corpus").exists()


def test_the_cursor_goes_on_from_one_configuration_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors = []

    def seen(**facts: Any) -> InOrder:
        cursors.append(facts["cursor"])
        return InOrder(**facts)

    monkeypatch.setattr(f"{_SWEEP}.InOrder", seen)
    _measured(_spec(), tmp_path)
    assert cursors == [0, 4 * 2 * 8]


def test_what_has_no_room_is_not_tried_and_the_others_run(tmp_path: Path) -> None:
    found = _measured(_spec(), tmp_path / "all")
    needs = [_at(found["memory.predicted"], where).value for where in (_FIRST, _SECOND)]
    assert all(isinstance(need, float) for need in needs)
    between = math.fsum(need for need in needs if isinstance(need, float)) / 2
    spec = replace(_spec(), limits=Limits(memory_gib=between))
    found = _measured(spec, tmp_path / "some")
    assert _at(found["cell.fits"], _SECOND).value is False
    reasons = {
        _at(found[m], _SECOND).absent for m in ("tokens_per_second", "loss.last", "cell.wall_time")
    }
    assert reasons == {"not tried: too large by the memory law"}
    assert _at(found["tokens_per_second"], _FIRST).value is not None
    assert found["table.tokens_per_second"][0].absent == "not all rounds were run"


def test_running_out_of_memory_ends_a_configuration_not_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(cell: Any, *rest: Any) -> TrainingRun:
        if cell.batch_size == 2:
            raise torch.OutOfMemoryError
        return training_run(cell, *rest)

    monkeypatch.setattr(f"{_SWEEP}.training_run", short_of_memory)
    found = _measured(_spec(), tmp_path)
    assert _at(found["cell.out_of_memory"], _FIRST).value is True
    assert _at(found["tokens_per_second"], _FIRST).absent == "out of memory"
    assert _at(found["tokens_per_second"], _SECOND).value is not None


def test_a_loss_that_is_no_number_ends_a_configuration_and_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TrainingRun.steps
    taken = []

    def breaking(self: TrainingRun, num_steps: int) -> Iterator[OptimizerStep]:
        for step in whole(self, num_steps):
            taken.append(step.index)
            yield replace(step, loss=math.nan) if step.index == 2 else step

    monkeypatch.setattr(TrainingRun, "steps", breaking)
    found = _measured(_spec(batch_sizes=[2], seq_lens=[8]), tmp_path)
    for metric in ("tokens_per_second", "loss.last", "data.time", "data.wait"):
        assert _at(found[metric], _FIRST).absent == "loss is nan at step 2"
    assert _at(found["loss.first"], _FIRST).value is not None
    assert taken[:3] == [0, 1, 2]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_sizes": [2]}, "1 batch sizes, 2 sequence lengths"),
        ({"min_words": 61}, "no token to pack: the corpus is empty"),
        ({"batch_sizes": [2, 4000]}, "corpus is smaller than one batch"),
        ({"vocab_size": 200}, "token id is beyond the vocabulary"),
        ({"vocab_sizes": [200, 258]}, "token id is beyond the vocabulary"),
    ],
)
def test_a_mistake_has_one_clear_cause_and_leaves_no_corpus(
    tmp_path: Path, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _measured(_spec(**params), tmp_path)
    assert not (tmp_path / "corpus").exists()


def test_what_cannot_be_read_is_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join(f"word{number}" for number in range(200))
    library = corpus.Documents(name="stdlib", documents=[text], unreadable=["bad.py: no such code"])
    monkeypatch.setattr(prepare, "standard_library", lambda: library)
    found = _measured(_spec(datasets=["stdlib"]), tmp_path)
    assert found["corpus.unreadable"][0].value == 1
    notes = [e.payload["text"] for e in read_events(tmp_path / EVENTS_FILE) if e.kind == "note"]
    assert notes == ["stdlib: left out bad.py: no such code"]
