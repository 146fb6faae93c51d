"""Batches out of a packed corpus: which tokens, in which order, and made ready ahead of time.

A batch is a function of its step alone, so it is the same whether it is made when it is asked for
or several steps before, in another thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import InputError, Problem
from harness.records import record
from harness.workloads.data.pack import Packed, refuse_ids
from harness.workloads.models.shape import ModelShape
from harness.workloads.training.loop import Batch

Starts = NDArray[np.int64]


@record
class BatchShape:
    """How much of the corpus one step sees."""

    batch_size: int
    seq_len: int

    @property
    def tokens_per_step(self) -> int:
        """Ids that are read; each row has one more, the target of its last."""
        return self.batch_size * self.seq_len


class Order(Protocol):
    """Which tokens each step sees."""

    def __call__(self, step: int) -> Starts:
        """Return where the rows of a step begin, (B,)."""


@record
class InOrder:
    """Row after row from a cursor on, which goes back to 0 where a batch would not fit: article 20.

    A batch takes B (S + 1) tokens in one piece and the cursor moves on by B S, so the last B tokens
    are seen again by the next batch.

    Attributes:
        shape: of a batch.
        num_tokens: of the corpus.
        cursor: where the first step begins.
    """

    shape: BatchShape
    num_tokens: int
    cursor: int = 0

    def __call__(self, step: int) -> Starts:
        """Return where the rows of a step begin."""
        row = self.shape.seq_len + 1
        return self.cursor_at(step) + row * np.arange(self.shape.batch_size, dtype=np.int64)

    def cursor_at(self, step: int) -> int:
        """Return the cursor of a step."""
        first = self._steps_from(self.cursor)
        if step < first:
            return self.cursor + step * self.shape.tokens_per_step
        return (step - first) % self._steps_from(0) * self.shape.tokens_per_step

    def _steps_from(self, cursor: int) -> int:
        """Return how many batches fit from a cursor to the end."""
        spare = self.num_tokens - cursor - self.shape.tokens_per_step - self.shape.batch_size
        return max(0, spare // self.shape.tokens_per_step + 1)


@record
class Shuffled:
    """Every stretch of S tokens once per epoch, in another order each epoch.

    Attributes:
        shape: of a batch.
        num_tokens: of the corpus.
        seed: of the order; each epoch draws its own from it.
    """

    shape: BatchShape
    num_tokens: int
    seed: int

    def __call__(self, step: int) -> Starts:
        """Return where the rows of a step begin."""
        batch_size = self.shape.batch_size
        epoch, number = divmod(step, self.steps_per_epoch)
        order = _permutation(self._rows, self.seed, epoch)
        return order[number * batch_size : (number + 1) * batch_size] * self.shape.seq_len

    @property
    def steps_per_epoch(self) -> int:
        """Full batches per epoch; the remainder is dropped."""
        return self._rows // self.shape.batch_size

    @property
    def _rows(self) -> int:
        return (self.num_tokens - 1) // self.shape.seq_len


@lru_cache(maxsize=2)
def _permutation(rows: int, seed: int, epoch: int) -> Starts:
    return np.random.default_rng([seed, epoch]).permutation(rows)


def loader(
    packed: Packed, order: Order, shape: BatchShape, device: torch.device
) -> Callable[[int], Batch]:
    """Return the source of batches: 0-based step to ids (B, S) and their targets (B, S).

    The ids go to the device in one piece, from pinned memory where it is a GPU, and are widened
    and split there.
    """
    pin = device.type == "cuda"

    def batch(step: int) -> Batch:
        rows = [packed.read(int(start), shape.seq_len + 1) for start in order(step)]
        ids_BS1 = torch.from_numpy(np.stack(rows))
        ids_BS1 = (ids_BS1.pin_memory() if pin else ids_BS1).to(device, non_blocking=pin)
        return ids_BS1[:, :-1].to(torch.int64), ids_BS1[:, 1:].to(torch.int64)

    return batch


class Prefetched:
    """The batches of steps 0 to `num_steps`, made by a thread up to `depth` steps ahead.

    Use it as a context manager, and ask for the steps in their order. The two queues hand over
    without a Python lock: taking a ready batch costs less than a microsecond.

    Args:
        batch: makes a batch.
        num_steps: how many will be asked for.
        depth: how many are held ready at most.
        device: a GPU's copies run on a stream of the thread's own.
    """

    def __init__(
        self, batch: Callable[[int], Batch], *, num_steps: int, depth: int, device: torch.device
    ) -> None:
        self._batch = batch
        self._num_steps = num_steps
        self._device = device
        self._ready: SimpleQueue[tuple[int, Batch] | BaseException] = SimpleQueue()
        self._slots: SimpleQueue[bool] = SimpleQueue()
        for _ in range(depth):
            self._slots.put(True)  # noqa: FBT003 - a slot; False ends the thread
        self._thread = threading.Thread(target=self._make_all, name="loader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._slots.put(False)  # noqa: FBT003 - see above
        self._thread.join()

    def __call__(self, step: int) -> Batch:
        """Return the batch of the next step; waits where it is not ready.

        Raises:
            ValueError: the steps are not asked for in their order.
        """
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        number, batch = item
        if number != step:
            message = f"step {step} asked for, step {number} is next"
            raise ValueError(message)
        self._slots.put(True)  # noqa: FBT003 - see above
        return batch

    def _make_all(self) -> None:
        # woken while the trainer runs, this thread does not push it off its core
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        make = self._on_stream() if self._device.type == "cuda" else self._batch
        try:
            for step in range(self._num_steps):
                if not self._slots.get():
                    return
                self._ready.put((step, make(step)))
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            self._ready.put(error)

    def _on_stream(self) -> Callable[[int], Batch]:
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        training = torch.cuda.default_stream(self._device)

        def made(step: int) -> Batch:
            with torch.cuda.stream(stream):
                batch = self._batch(step)
            stream.synchronize()
            for ids in batch:  # not to be handed out again before the training stream is done
                ids.record_stream(training)
            return batch

        return made


def refuse(packed: Packed, shape: BatchShape, model: ModelShape) -> None:
    """Refuse what cannot be trained on, before it is tried.

    Raises:
        InputError: every reason: too little text for one batch, ids without a row of the table, a
            sequence longer than the position table.
    """
    problems = []
    if shape.seq_len > model.num_positions:
        message = "sequence is longer than the model's position table"
        value, allowed = str(shape.seq_len), f"at most {model.num_positions}"
        problems.append(Problem(message=message, key="seq_len", value=value, allowed=allowed))
    needed = shape.tokens_per_step + shape.batch_size
    if packed.num_tokens < needed:
        message = "corpus is smaller than one batch"
        value, allowed = f"{packed.num_tokens} tokens", f"at least {needed}"
        problems.append(Problem(message=message, key="batch_size", value=value, allowed=allowed))
    try:
        refuse_ids(0, packed.sidecar.largest_id, model.vocab_size)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
