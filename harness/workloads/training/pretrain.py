"""One cell of article 18 or 19: some steps of one shape under some conditions.

How it departs from the articles: article 19's model is written by hand too (see `gpt`), torch's
generator is seeded before the weights are drawn, and every cell is a process of its own, so that
neither weights nor fragmentation nor heat of one cell depend on the cell before. The arms of
article 18 ran in two containers with two builds of torch; here they share one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice

import torch

from harness.errors import HostError
from harness.workloads.api.context import Context
from harness.workloads.api.device import cpu_model
from harness.workloads.api.emit import EventWriter
from harness.workloads.models.frameworks import Library, library
from harness.workloads.models.precision import Arithmetic, arithmetic
from harness.workloads.training.loop import Step, TrainingRun, repeated_batch
from harness.workloads.training.memory_tracker import CudaAllocator, LiveStorages, PeakCounter
from harness.workloads.training.pretrain_params import CellParams
from harness.workloads.training.pretrain_schedule import WarmupCosine

_BYTES_PER_GIB = 1024.0**3


def run(context: Context) -> None:
    """Train one cell; running out of GPU memory is an outcome, reported like any other."""
    params: CellParams = context.params
    device = torch_device(params.device, params.num_threads)
    counter: PeakCounter = CudaAllocator(device) if device.type == "cuda" else LiveStorages()
    context.emit.started(
        device_name(device), torch=torch.__version__, threads=torch.get_num_threads()
    )
    began = time.perf_counter()
    try:
        _train(context, params, device, counter)
    except torch.OutOfMemoryError:
        _report_out_of_memory(context.emit)
        return
    context.emit.measured("cell.wall_time", time.perf_counter() - began)
    _report_memory(context.emit, counter)


def torch_device(kind: str, num_threads: int) -> torch.device:
    """Return the device of that kind, with so many threads where it is the CPU.

    Raises:
        HostError: torch sees no such device.
    """
    if kind == "cpu":
        torch.set_num_threads(num_threads)
    elif not torch.cuda.is_available():
        message = f"torch {torch.__version__} sees no CUDA device"
        raise HostError(message, "harness doctor")
    return torch.device(kind)


def device_name(device: torch.device) -> str:
    """Return what a result says it was computed on."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()


def training_run(params: CellParams, way: Arithmetic, make: Library) -> TrainingRun:
    """Build model, optimizer, schedule and data of one cell, inside the library's world."""
    model = make.model(params.shape, params.conditions, way)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=params.learning_rate,
        betas=(params.beta1, params.beta2),
        weight_decay=params.weight_decay,
        fused=True,
    )
    return TrainingRun(
        model=model,
        optimizer=optimizer,
        learning_rate=WarmupCosine(
            peak=params.learning_rate, num_warmup=params.warmup_steps, num_steps=params.steps
        ),
        batch=repeated_batch(
            vocab_size=params.vocab_size,
            batch_size=params.batch_size,
            seq_len=params.seq_len,
            seed=params.data_seed,
            device=torch.device(params.device),
        ),
        forward_context=way.forward_context,
        clip_norm=params.clip_norm,
    )


def _train(
    context: Context, params: CellParams, device: torch.device, counter: PeakCounter
) -> None:
    """Build, warm up under the counter, then take the steps that are timed without it.

    Following storages costs time on the CPU, and from the second step on every step holds the
    same; the CUDA allocator counts throughout.
    """
    emit, seed = context.emit, context.spec.seed
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
            steps = training.steps(params.steps)
            _report_steps(emit, islice(steps, params.warmup_steps))
        _report_steps(emit, steps)


def _report_steps(emit: EventWriter, steps: Iterable[Step]) -> None:
    for step in steps:
        emit.step(step.index, loss=step.loss, step_s=step.step_s, learning_rate=step.learning_rate)


def _report_memory(emit: EventWriter, counter: PeakCounter) -> None:
    emit.measured("cell.out_of_memory", value=False)
    emit.measured("memory.counter", counter.name)
    emit.measured("memory.peak_allocated", counter.peak_bytes / _BYTES_PER_GIB)
    reserved = counter.reserved_bytes
    if reserved is None:
        emit.measured("memory.peak_reserved", None, absent="this allocator keeps no reserve")
    else:
        emit.measured("memory.peak_reserved", reserved / _BYTES_PER_GIB)


def _report_out_of_memory(emit: EventWriter) -> None:
    emit.measured("cell.out_of_memory", value=True)
    for metric in ("cell.wall_time", "memory.peak_allocated", "memory.peak_reserved"):
        emit.measured(metric, None, absent="out of memory")
