"""The second half of the data path: train on the packed corpus, and time what feeding it costs.

Each configuration is trained twice over on the same model. First as article 20 does: a step waits
for its batch, and both are timed between synchronisations. Then as a training loop would: batches
are prepared ahead by a thread, and the timer measures how long the loop waits for one.

All configurations run in this one process, as in the article: the corpus is made here, and the
cursor of the first kind of steps goes on from one configuration to the next. Memory is counted anew
for each, after everything of the one before is gone.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import torch

from harness.experiments.a20.fit import available_gib, predicted_gib
from harness.experiments.a20.params import PathParams, where_of
from harness.records import Scalar
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.passes import passes
from harness.workloads.data.loader import (
    BatchShape,
    InOrder,
    Order,
    Prefetched,
    Shuffled,
    loader,
    refuse,
)
from harness.workloads.data.pack import Packed
from harness.workloads.models.frameworks import library
from harness.workloads.models.precision import arithmetic
from harness.workloads.training.loop import Batch, OptimizerStep, TrainingRun, synchronise
from harness.workloads.training.memory_tracker import PeakCounter, peak_counter, report_peak
from harness.workloads.training.pretrain import observed, training_run
from harness.workloads.training.pretrain_params import EnvelopeParams


class Timed:
    """A source of batches that notes how long each took.

    Attributes:
        taken_s: of the last batch.
        asked_at_s: when it was asked for, by the performance counter.
    """

    def __init__(self, batch: Callable[[int], Batch], device: torch.device) -> None:
        self._batch = batch
        self._device = device
        self.taken_s = 0.0
        self.asked_at_s = 0.0

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        synchronise(self._device)
        self.asked_at_s = time.perf_counter()
        batch = self._batch(step)
        synchronise(self._device)
        self.taken_s = time.perf_counter() - self.asked_at_s
        return batch


class ConfigurationSweep:
    """All configurations, one after the other."""

    def __init__(self, context: Context, packed: Packed, device: torch.device) -> None:
        self._emit = context.emit
        self._params: PathParams = context.params
        self._seed = context.spec.seed
        self._memory_gib = context.spec.limits.memory_gib
        self._packed = packed
        self._device = device
        self._cursor = 0
        self._idle_since_s = time.perf_counter()

    def run(self) -> None:
        """Train every configuration; those that do not fit are reported and left out.

        Raises:
            InputError: a configuration cannot be trained on this corpus; none was trained.
        """
        for cell in self._params.cells:
            refuse(self._packed, _shape(cell), cell.shape)
        for number, cell in enumerate(self._params.cells):
            progress.tell("sweep", number, len(self._params.cells), unit="configuration")
            needed = predicted_gib(cell)
            fits = needed <= available_gib(self._device, self._memory_gib)
            self._report(cell, {"memory.predicted": needed, "cell.fits": fits})
            if not fits:
                self._report_absent(cell, "not tried: too large by the memory law")
                continue
            counter = peak_counter(self._device)
            try:
                self._train(number, cell, counter)
            except torch.OutOfMemoryError:
                self._report(cell, {"cell.out_of_memory": True})
                self._report_absent(cell, "out of memory")
            else:
                self._report(cell, {"cell.out_of_memory": False})
                report_peak(self._emit, counter, where_of(cell))
            gc.collect()  # the model of a failed try hangs on its traceback

    def _train(self, number: int, cell: EnvelopeParams, counter: PeakCounter) -> None:
        began = time.perf_counter()
        way = arithmetic(cell.conditions.precision, self._device)
        make = library(cell.conditions.framework, self._device)
        with make.world(self._seed):
            order = InOrder(
                shape=_shape(cell), num_tokens=self._packed.num_tokens, cursor=self._cursor
            )
            batches = Timed(self._loader(cell, order), self._device)
            with counter:  # on the CPU, following storages costs time: not in the timed steps
                torch.manual_seed(self._seed)
                training = replace(training_run(cell, way, make), batch=batches)
                steps = _until_broken(training, cell.max_steps)
                counted = min(cell.warmup_steps, cell.max_steps)
                for step in passes(islice(steps, counted), "counted steps", counted):
                    self._note(number, step, batches)
                    if step.index == 0:
                        turnaround_s = batches.asked_at_s - self._idle_since_s
                        self._report(cell, {"cell.turnaround": turnaround_s})
            for step in passes(steps, "steps", cell.max_steps - counted):
                self._note(number, step, batches)
            self._cursor = order.cursor_at(cell.max_steps)
            self._report(cell, {"cell.wall_time": time.perf_counter() - began})
            self._train_ahead(number, cell, training)
        self._idle_since_s = time.perf_counter()
        num_parameters = sum(parameter.numel() for parameter in training.model.parameters())
        self._report(cell, {"parameters": num_parameters, "fp8.backend": way.fp8_backend})

    def _train_ahead(self, number: int, cell: EnvelopeParams, training: TrainingRun) -> None:
        """Train on with batches made ahead, in an order that is shuffled."""
        order = Shuffled(shape=_shape(cell), num_tokens=self._packed.num_tokens, seed=self._seed)
        with Prefetched(
            self._loader(cell, order),
            num_steps=cell.max_steps,
            depth=self._params.prefetch_factor,
            device=self._device,
        ) as ahead:
            batches = Timed(ahead, self._device)
            steps = _until_broken(replace(training, batch=batches), cell.max_steps)
            for step in passes(steps, "steps ahead", cell.max_steps):
                self._note(number, step, batches, overlapped=True)

    def _loader(self, cell: EnvelopeParams, order: Order) -> Callable[[int], Batch]:
        return loader(self._packed, order, _shape(cell), self._device)

    def _note(
        self, cell: int, step: OptimizerStep, batches: Timed, *, overlapped: bool = False
    ) -> None:
        steps = self._params.cells[cell].max_steps
        progress.detail("steps", step.index + 1, steps, {"loss": step.loss})
        self._emit.step(
            step.index,
            cell=cell,
            overlapped=int(overlapped),
            **observed(step),
            data_s=batches.taken_s,
            at_s=time.perf_counter(),
        )

    def _report(self, cell: EnvelopeParams, figures: dict[str, Scalar]) -> None:
        for metric, value in figures.items():
            self._emit.measured(metric, value, where=where_of(cell))

    def _report_absent(self, cell: EnvelopeParams, why: str) -> None:
        for metric in ("cell.wall_time", "memory.peak_allocated", "memory.peak_reserved"):
            self._emit.measured(metric, None, where=where_of(cell), absent=why)


def _until_broken(training: TrainingRun, num_steps: int) -> Iterator[OptimizerStep]:
    """Yield steps up to the first whose loss is no number: what follows would be none either."""
    for step in training.steps(num_steps):
        yield step
        if not math.isfinite(step.loss):
            return


def _shape(cell: EnvelopeParams) -> BatchShape:
    return BatchShape(batch_size=cell.batch_size, seq_len=cell.seq_len)
