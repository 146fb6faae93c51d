"""Three loops that train one model on one packed corpus: ours, a plain one, and HF's Trainer.

Same model class, seed, batch shape, precision, optimizer and clipping. Each keeps its own model and
goes on with it, so that they can take turns; a turn is timed by this process's CPU clock, as every
loop computes in one thread and the machine may be shared.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from harness.workloads.data.loader import BatchShape, Prefetched, Shuffled, loader
from harness.workloads.data.pack import Packed
from harness.workloads.models.frameworks import library
from harness.workloads.models.gpt import Gpt
from harness.workloads.models.precision import arithmetic
from harness.workloads.training.loop import TrainingRun
from harness.workloads.training.pretrain import training_run
from harness.workloads.training.pretrain_params import EnvelopeParams

CELL = EnvelopeParams(
    precision="fp32",
    batch_size=2,  # article 19's smallest at the cpu profile
    seq_len=64,
    num_hidden_layers=4,
    hidden_size=128,
    num_attention_heads=4,
    intermediate_size=512,
    vocab_size=258,
    dropout=0.0,
    max_steps=30,
    learning_rate=1e-3,
    device="cpu",
)
_CPU = torch.device("cpu")
_SEED = 0
Turn = Callable[[int], float]  # number of steps to CPU seconds a step


def our_run(shape: BatchShape) -> TrainingRun:
    """Return the hand-written loop with its model, for batches of that shape."""
    cell = replace(CELL, batch_size=shape.batch_size, seq_len=shape.seq_len)
    way = arithmetic(cell.conditions.precision, _CPU)
    torch.manual_seed(_SEED)
    return training_run(cell, way, library(cell.conditions.framework, _CPU))


def ours(packed: Packed) -> Turn:
    """Our loop, with batches made ahead."""
    shape = BatchShape(batch_size=CELL.batch_size, seq_len=CELL.seq_len)
    run = our_run(shape)
    order = Shuffled(shape=shape, num_tokens=packed.num_tokens, seed=_SEED)
    make = loader(packed, order, shape, _CPU)

    def turn(num_steps: int) -> float:
        with Prefetched(make, num_steps=num_steps, depth=2, device=_CPU) as ahead:
            steps = replace(run, batch=ahead, learning_rate=lambda _: 1e-3)
            began = time.process_time()
            for _ in steps.steps(num_steps):
                pass
            return (time.process_time() - began) / num_steps

    return turn


def plain(packed: Packed) -> Turn:
    """Return the loop that people write by hand, after nanoGPT: random places, one at a time."""
    model, ids = _model(), packed.read(0, packed.num_tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    batch_size, seq_len = CELL.batch_size, CELL.seq_len

    def batch() -> tuple[Tensor, Tensor]:
        places = torch.randint(len(ids) - seq_len, (batch_size,))
        rows = [torch.from_numpy(ids[i : i + seq_len + 1].astype(np.int64)) for i in places]
        return torch.stack([row[:-1] for row in rows]), torch.stack([row[1:] for row in rows])

    def turn(num_steps: int) -> float:
        began = time.process_time()
        for _ in range(num_steps):
            ids_BS, targets_BS = batch()
            logits_BSV = model(ids_BS)
            loss = F.cross_entropy(logits_BSV.view(-1, logits_BSV.size(-1)), targets_BS.view(-1))
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
        return (time.process_time() - began) / num_steps

    return turn


class WithLoss(nn.Module):
    """The model as HF's Trainer wants it: it returns its loss."""

    def __init__(self, model: Gpt) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return loss and logits."""
        logits_BSV = self.model(input_ids)
        loss = F.cross_entropy(logits_BSV.flatten(0, 1), labels.flatten())
        return {"loss": loss, "logits": logits_BSV}


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The corpus as a data set of rows."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return (self._packed.num_tokens - 1) // CELL.seq_len

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        ids = self._packed.read(row * CELL.seq_len, CELL.seq_len + 1).astype(np.int64)
        return {"input_ids": torch.from_numpy(ids[:-1]), "labels": torch.from_numpy(ids[1:])}


def trainer(packed: Packed) -> Turn:
    """HF's Trainer, without logging, evaluation and checkpoints; its start is not timed."""
    import transformers  # noqa: PLC0415 - in the environment of rl, nowhere else

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        began = ended = 0.0

        def on_step_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            if state.global_step == 1:  # the first one brings the data loader up
                self.began = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.process_time()

    model, rows = WithLoss(_model()), Rows(packed)

    def turn(num_steps: int) -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as out:
            settings = transformers.TrainingArguments(
                output_dir=out,
                use_cpu=True,
                per_device_train_batch_size=CELL.batch_size,
                max_steps=num_steps + 1,
                learning_rate=1e-3,
                adam_beta2=0.95,
                weight_decay=0.01,
                max_grad_norm=1.0,
                lr_scheduler_type="constant",
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            )
            work = transformers.Trainer(
                model=model, args=settings, train_dataset=rows, callbacks=[clock]
            )
            work.train()
        return (clock.ended - clock.began) / num_steps

    return turn


def in_turns(loops: dict[str, Turn], rounds: int, num_steps: int) -> dict[str, list[float]]:
    """Return the CPU seconds a step of every loop, round by round; the first warms up."""
    taken: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name in _rotated(list(loops), number):
            taken[name].append(loops[name](num_steps))
    return {name: seconds[1:] for name, seconds in taken.items()}


def _rotated(names: list[str], by: int) -> Iterator[str]:
    first = by % len(names)
    return itertools.chain(names[first:], names[:first])


def _model() -> Gpt:
    torch.manual_seed(_SEED)
    return Gpt(CELL.shape, dropout=CELL.dropout)
