"""Training and measuring one candidate (article 22, "Evaluator"), with the model of articles 18-20.

How it departs from the article: the model is the hand-written one, as in article 19, not
Megatron-Core's; weights are drawn from a seed that is given, so that a figure can be had again;
and unless the published rule is asked for, every candidate is evaluated on the same tokens.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.workloads.api.device import device_name, torch_device
from harness.workloads.autoresearch.evaluator import Bench, CandidateEvaluation
from harness.workloads.autoresearch.trajectory import EvalMetrics, TrainConfig
from harness.workloads.data import split as corpora
from harness.workloads.data.split import TokenStream
from harness.workloads.models.conditions import Conditions, Framework
from harness.workloads.models.frameworks import hand_written
from harness.workloads.models.memory import GIB
from harness.workloads.models.precision import Arithmetic, arithmetic
from harness.workloads.models.shape import Init, Precision, training_flop_per_token
from harness.workloads.training.loop import (
    AdamW,
    Batch,
    OptimizerStep,
    TrainingRun,
    cross_entropy,
)

_KIB_PER_GIB = 1024.0**2


def corpus_of(bench: Bench) -> TokenStream:
    """Return what candidates are trained on.

    Raises:
        InputError: it is to be read from a folder, which does not hold it.
    """
    if bench.corpus_folder:
        return corpora.packed(Path(bench.corpus_folder))
    return corpora.sampled_stream(
        bench.vocabulary, bench.training_tokens, bench.held_out_tokens, bench.corpus_seed
    )


class OverBudgetError(ValueError):
    """A candidate has trained for more operations than it may."""


def evaluate(
    cfg: TrainConfig, corpus: TokenStream, bench: Bench, seed: int, most_flop: float | None
) -> CandidateEvaluation:
    """Train one candidate for its steps, and measure it on the held-out tokens.

    Raises:
        OverBudgetError: after the step with which it had trained for more than `most_flop`.
        ValueError: the candidate cannot be built, or its held-out loss is not finite.
        HostError: the device is not there, or cannot do the candidate's precision.
    """
    device = torch_device(bench.device, bench.num_threads)
    began = time.perf_counter()
    torch.manual_seed(seed)
    way = arithmetic(Precision(cfg.precision), device)
    training = _training(cfg, corpus, bench, way)
    steps, train_flop = list[OptimizerStep](), 0.0
    flop_per_token = training_flop_per_token(cfg.shape, cfg.seq_len)
    for step in training.steps(cfg.steps):
        steps.append(step)
        train_flop += step.tokens * flop_per_token
        if most_flop is not None and train_flop > most_flop:
            message = f"over its limit of {most_flop:.4g} FLOP after {len(steps)} steps"
            raise OverBudgetError(message)
    trained = time.perf_counter()
    batches = list(_held_out(cfg, corpus, bench, device))
    val_loss = _loss(training.model, way, batches)
    if not math.isfinite(val_loss):
        message = f"the held-out loss is {val_loss}"
        raise ValueError(message)
    metrics = EvalMetrics(
        ok=True,
        params_m=sum(parameter.numel() for parameter in training.model.parameters()) / 1e6,
        train_steps=len(steps),
        train_loss_first=steps[0].loss,
        train_loss_last=steps[-1].loss,
        val_bpb=val_loss / math.log(2),
        val_n_batches=len(batches),
        mean_step_ms=1e3 * math.fsum(step.step_s for step in steps) / len(steps),
        train_wall_s=trained - began,
        val_wall_s=time.perf_counter() - trained,
        peak_gpu_mem_gib=(
            torch.cuda.max_memory_allocated(device) / GIB
            if device.type == "cuda"
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB_PER_GIB
        ),
    )
    return CandidateEvaluation(
        result=metrics, device=device_name(device.type), train_flop=train_flop
    )


def _training(cfg: TrainConfig, corpus: TokenStream, bench: Bench, way: Arithmetic) -> TrainingRun:
    device = torch.device(bench.device)
    conditions = Conditions(
        framework=Framework.HAND_WRITTEN,
        precision=Precision(cfg.precision),
        init=Init.SCALED,
        dropout=bench.dropout,
    )
    model = hand_written(cfg.shape, conditions, way, device=device)
    adamw = AdamW(
        learning_rate=cfg.lr,
        num_warmup=cfg.lr_warmup,
        num_steps=cfg.steps,
        betas=(cfg.beta1, cfg.beta2),
        weight_decay=cfg.weight_decay,
        max_grad_norm=cfg.grad_clip,
    )
    # the article's walk: every evaluation reads the training part from its start
    batch = partial(_batch, corpus, 0, corpus.split, cfg, device)
    return adamw.run(model, batch, way.forward_context)


def _batch(
    corpus: TokenStream, begin: int, end: int, cfg: TrainConfig, device: torch.device, step: int
) -> Batch:
    """Return rows of S + 1 ids in a piece; the next batch starts B S ids on, as in the article."""
    rows, length = cfg.batch_size, cfg.seq_len + 1
    place = begin + step * cfg.batch_size * cfg.seq_len % (end - begin - rows * length + 1)
    ids = torch.from_numpy(corpus.ids[place : place + rows * length].astype("int64"))
    ids_BS = ids.view(rows, length).to(device)
    return ids_BS[:, :-1], ids_BS[:, 1:]


def _held_out(
    cfg: TrainConfig,
    corpus: TokenStream,
    bench: Bench,
    device: torch.device,
) -> Iterator[Batch]:
    """Yield what a candidate is measured on.

    Published: whole batches of the candidate, at least one, so that another batch is another
    test. Else each of the same ids once, in rows of the candidate's length.
    """
    if bench.published_held_out:
        number = max(1, cfg.val_chunk_tokens // (cfg.batch_size * cfg.seq_len))
        for step in range(number):
            yield _batch(corpus, corpus.split, len(corpus.ids), cfg, device, step)
        return
    piece = corpus.ids[corpus.split : corpus.split + cfg.val_chunk_tokens + 1].astype("int64")
    ids = torch.from_numpy(piece).to(device)
    inputs, targets = ids[:-1].view(-1, cfg.seq_len), ids[1:].view(-1, cfg.seq_len)
    for first in range(0, len(inputs), cfg.batch_size):
        rows = slice(first, first + cfg.batch_size)
        yield inputs[rows], targets[rows]


@torch.no_grad()
def _loss(model: nn.Module, way: Arithmetic, batches: list[Batch]) -> float:
    """Return the mean cross-entropy over all held-out ids, nats per token."""
    model.eval()
    total, count = 0.0, 0
    for ids_BS, targets_BS in batches:
        with way.forward_context():
            logits_BSV: Tensor = model(ids_BS)
        total += cross_entropy(logits_BSV, targets_BS).item() * targets_BS.numel()
        count += targets_BS.numel()
    return total / count
