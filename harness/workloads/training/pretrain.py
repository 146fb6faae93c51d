"""One cell of article 18 or 19: some steps of one shape under some conditions.

How it departs from the articles: article 19's model is written by hand too (see `gpt`), torch's
generator is seeded before the weights are initialised, and every cell is a separate process, so
that neither weights nor fragmentation nor heat of one cell depend on the cell before. The arms of
article 18 ran in two containers with two builds of torch; here they share one.
"""

from __future__ import annotations

import time
from itertools import islice

import torch

from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name, torch_device
from harness.workloads.api.passes import passes
from harness.workloads.models.frameworks import Library, library
from harness.workloads.models.precision import Arithmetic, arithmetic
from harness.workloads.training.loop import AdamW, OptimizerStep, TrainingRun, repeated_batch
from harness.workloads.training.memory_tracker import PeakCounter, peak_counter, report_peak
from harness.workloads.training.pretrain_params import CellParams


def run(context: Context) -> None:
    """Train one cell; running out of GPU memory is an outcome, reported like any other."""
    params: CellParams = context.params
    device = torch_device(params.device, params.num_threads)
    emit, counter = context.emit, peak_counter(device)
    emit.started(device_name(device.type), torch=torch.__version__, threads=torch.get_num_threads())
    began = time.perf_counter()
    try:
        _train(context, params, device, counter)
    except torch.OutOfMemoryError:
        emit.measured("cell.out_of_memory", value=True)
        for metric in ("cell.wall_time", "memory.peak_allocated", "memory.peak_reserved"):
            emit.measured(metric, None, absent="out of memory")
        return
    emit.measured("cell.wall_time", time.perf_counter() - began)
    emit.measured("cell.out_of_memory", value=False)
    report_peak(emit, counter)


def observed(step: OptimizerStep) -> dict[str, float]:
    """Return the values of a step's event."""
    assert step.betas is not None, "AdamW has betas"
    return {
        "loss": step.loss,
        "step_s": step.step_s,
        "batch_s": step.batch_s,
        "whole_s": step.whole_s,
        "learning_rate": step.learning_rate,
        "weight_decay": step.weight_decay,
        "beta1": step.betas[0],
        "beta2": step.betas[1],
        "tokens": step.tokens,
        "batch": step.batch,
    }


def training_run(params: CellParams, way: Arithmetic, make: Library) -> TrainingRun:
    """Build model, optimizer, schedule and data of one cell, inside the library's world."""
    model = make.model(params.shape, params.conditions, way)
    adamw = AdamW(
        learning_rate=params.learning_rate,
        num_warmup=params.warmup_steps,
        num_steps=params.max_steps,
        betas=(params.beta1, params.beta2),
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
    )
    batch = repeated_batch(
        vocab_size=params.vocab_size,
        batch_size=params.batch_size,
        seq_len=params.seq_len,
        seed=params.data_seed,
        device=torch.device(params.device),
    )
    return adamw.run(model, batch, way.forward_context)


def _train(
    context: Context, params: CellParams, device: torch.device, counter: PeakCounter
) -> None:
    """Build, warm up under the counter, then take the steps that are timed without it.

    Following storages costs time on the CPU, and from the second step on every step holds the
    same; the CUDA allocator counts throughout.
    """
    emit, seed = context.emit, context.spec.seed

    def report(step: OptimizerStep) -> None:
        emit.step(step.index, **observed(step))
        rate = params.batch_size * params.seq_len / step.step_s
        told = {"loss": step.loss, "tokens_per_second": rate}
        progress.tell("train", step.index + 1, params.max_steps, told)

    way = arithmetic(params.conditions.precision, device)
    make = library(params.conditions.framework, device)
    emit.measured("conditions", params.conditions.text)
    emit.measured("framework", make.version)
    emit.measured("fp8.backend", way.fp8_backend)
    with make.world(seed):
        with counter:
            torch.manual_seed(seed)
            training = training_run(params, way, make)
            num_parameters = sum(parameter.numel() for parameter in training.model.parameters())
            emit.measured("parameters", num_parameters)
            steps = training.steps(params.max_steps)
            counted = min(params.warmup_steps, params.max_steps)
            for step in passes(islice(steps, counted), "counted steps", counted):
                report(step)
        for step in passes(steps, "steps", params.max_steps - counted):
            report(step)
