"""Does one more row in the token table make training faster? A comparison of vocabulary sizes.

Article 20 trains 2 to 6 % faster than article 19 in every configuration. Its explanation, that data
from a file spares the GPU some work, is refuted by both programs: neither times the making of a
batch. What else differs is a slip: one row more, 50258 instead of 50257, which makes the matrix of
the output layer even. Here models that differ only in that alternate, a few steps each, in
an order that rotates, so that a machine that grows warm grows warm for all.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from harness.experiments.a20.fit import available_gib, predicted_gib
from harness.experiments.a20.params import PathParams
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.passes import passes
from harness.workloads.data.loader import BatchShape, InOrder, loader, refuse
from harness.workloads.data.pack import Packed
from harness.workloads.models.frameworks import library
from harness.workloads.models.precision import arithmetic
from harness.workloads.training.pretrain import training_run


def compare_tables(context: Context, packed: Packed, device: torch.device) -> None:
    """Let the models take turns, and report every step.

    Raises:
        InputError: the corpus has ids that a table has no row for.
    """
    params: PathParams = context.params
    needed = sum(predicted_gib(turn) for turn in params.turns)
    if needed > available_gib(device, context.spec.limits.memory_gib):
        context.emit.note(f"tables not compared: {needed:.1f} GiB for all at once do not fit")
        return
    shape = BatchShape(batch_size=params.round_batch_size, seq_len=params.round_seq_len)
    batch = loader(packed, InOrder(shape=shape, num_tokens=packed.num_tokens), shape, device)
    models = {}  # by rows; all start from one seed and see the same batches
    for turn in params.turns:
        refuse(packed, shape, turn.shape)
        way = arithmetic(turn.conditions.precision, device)
        make = library(turn.conditions.framework, device)
        torch.manual_seed(context.spec.seed)
        models[turn.vocab_size] = replace(training_run(turn, way, make), batch=batch)
    for number in progress.tracked(
        passes(range(params.ab_rounds), "rounds"),
        "compare token tables",
        params.ab_rounds,
        unit="round",
    ):
        first = number % len(models)
        for rows in [*params.vocab_sizes[first:], *params.vocab_sizes[:first]]:
            for step in models[rows].steps(params.steps_per_round):
                context.emit.step(
                    step.index, vocab_size=rows, round=number, loss=step.loss, step_s=step.step_s
                )
