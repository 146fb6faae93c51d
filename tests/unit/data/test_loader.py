"""Which tokens a step sees, and that making them ahead changes nothing but the waiting."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import InputError
from harness.workloads.data.loader import (
    BatchShape,
    InOrder,
    Prefetched,
    Shuffled,
    loader,
    refuse,
)
from harness.workloads.data.pack import Packed, open_packed, pack
from harness.workloads.data.tokens import Vocabulary
from harness.workloads.models.shape import gpt_shape
from harness.workloads.training.loop import Batch

_SHAPE = BatchShape(batch_size=3, seq_len=4)
_CPU = torch.device("cpu")
_MODEL = gpt_shape(
    vocab_size=1000,
    num_positions=4,
    num_hidden_layers=1,
    hidden_size=8,
    num_attention_heads=1,
    intermediate_size=16,
)


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """Ids that say where they stand."""
    ids = np.arange(100, dtype=np.int32)
    vocabulary = Vocabulary(tokenizer="positions", size=1000, end_id=999)
    pack([ids], tmp_path / "packed", vocabulary, shard_tokens=33)
    return open_packed(tmp_path / "packed")


def test_a_batch_is_ids_and_the_ids_that_follow_them(packed: Packed) -> None:
    order = InOrder(shape=_SHAPE, num_tokens=100, cursor=30)
    ids_BS, targets_BS = loader(packed, order, _SHAPE, _CPU)(0)
    assert ids_BS.tolist() == [[30, 31, 32, 33], [35, 36, 37, 38], [40, 41, 42, 43]]
    assert torch.equal(targets_BS, ids_BS + 1)
    assert ids_BS.dtype == targets_BS.dtype == torch.int64


def test_every_step_is_fed_the_rows_of_its_own_place(packed: Packed) -> None:
    for order in (
        InOrder(shape=_SHAPE, num_tokens=100),
        Shuffled(shape=_SHAPE, num_tokens=100, seed=5),
    ):
        batch = loader(packed, order, _SHAPE, _CPU)
        fed = [batch(step)[0][:, 0].tolist() for step in range(6)]
        assert fed == [order(step).tolist() for step in range(6)]
        assert len({tuple(rows) for rows in fed}) == 6  # no batch comes twice


def test_in_order_is_the_articles_cursor() -> None:
    order = InOrder(shape=_SHAPE, num_tokens=100, cursor=7)
    cursor = 7
    for step in range(40):  # as article 20's batcher: take, move on, start again at the end
        if cursor + 3 * 5 > 100:
            cursor = 0
        assert order.cursor_at(step) == cursor
        assert order(step).tolist() == [cursor, cursor + 5, cursor + 10]
        cursor += 3 * 4


def test_an_epoch_sees_every_stretch_at_most_once_and_the_next_in_another_order() -> None:
    order = Shuffled(shape=_SHAPE, num_tokens=100, seed=5)
    assert order.steps_per_epoch == 8
    epochs = [
        np.concatenate([order(step) for step in range(first, first + 8)]).tolist()
        for first in (0, 8)
    ]
    for seen in epochs:
        assert len(set(seen)) == 24
        assert all(start % 4 == 0 and start + 5 <= 100 for start in seen)
    assert epochs[0] != epochs[1]
    assert order(3).tolist() == Shuffled(shape=_SHAPE, num_tokens=100, seed=5)(3).tolist()
    assert order(3).tolist() != Shuffled(shape=_SHAPE, num_tokens=100, seed=6)(3).tolist()


@pytest.mark.parametrize("depth", [1, 2, 7, 100])
def test_batches_made_ahead_are_those_made_when_asked_for(packed: Packed, depth: int) -> None:
    make = loader(packed, Shuffled(shape=_SHAPE, num_tokens=100, seed=1), _SHAPE, _CPU)
    with Prefetched(make, num_steps=20, depth=depth, device=_CPU) as ahead:
        for step in range(20):
            for now, then in zip(ahead(step), make(step), strict=True):
                assert torch.equal(now, then)


def test_no_more_are_made_ahead_than_asked_for() -> None:
    made: list[int] = []
    first_two = threading.Event()

    def make(step: int) -> Batch:
        made.append(step)
        if len(made) == 2:
            first_two.set()
        return torch.zeros(1), torch.zeros(1)

    with Prefetched(make, num_steps=50, depth=2, device=_CPU):
        assert first_two.wait(5)
    assert made == [0, 1]


def test_what_goes_wrong_in_the_thread_is_raised_where_it_is_waited_for() -> None:
    def make(step: int) -> Batch:
        if step == 1:
            message = "the disk went away"
            raise OSError(message)
        return torch.zeros(1), torch.zeros(1)

    with Prefetched(make, num_steps=5, depth=2, device=_CPU) as ahead:
        ahead(0)
        with pytest.raises(OSError, match="disk went away"):
            ahead(1)


def test_steps_are_asked_for_in_their_order() -> None:
    def make(_: int) -> Batch:
        return torch.zeros(1), torch.zeros(1)

    with (
        Prefetched(make, num_steps=5, depth=2, device=_CPU) as ahead,
        pytest.raises(ValueError, match="step 3 asked for, step 0 is next"),
    ):
        ahead(3)


def test_what_cannot_be_trained_on_is_refused_with_every_reason(packed: Packed) -> None:
    refuse(packed, _SHAPE, _MODEL)
    small = gpt_shape(
        vocab_size=99,
        num_positions=4,
        num_hidden_layers=1,
        hidden_size=8,
        num_attention_heads=1,
        intermediate_size=16,
    )
    with pytest.raises(InputError) as caught:
        refuse(packed, BatchShape(batch_size=20, seq_len=5), small)
    assert [problem.message for problem in caught.value.problems] == [
        "sequence is longer than the model's position table",
        "corpus is smaller than one batch",
        "token id is beyond the vocabulary",
    ]
    assert caught.value.problems[1].allowed == "at least 120"
