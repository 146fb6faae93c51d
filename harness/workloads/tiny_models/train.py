"""Run a recipe: train a model from scratch, on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen2ForCausalLM

from harness.records import record
from harness.workloads.api import progress
from harness.workloads.tiny_models.model import new_model, shape_of
from harness.workloads.tiny_models.recipe import Recipe, TrainingPhase
from harness.workloads.tiny_models.samples import SequenceSampler, TrainingSequence

_MATRIX = 2  # dimensions
_LENGTHS = 16  # batches are padded to multiples of it, as every length keeps compiled kernels


@record
class TrainingProgress:
    """One step.

    Attributes:
        step: from 0, within the phase.
        loss: of the policy's own tokens, nats.
        tokens: how many the step saw.
        elapsed_s: since training began, seconds.
    """

    phase: TrainingPhase
    step: int
    loss: float
    tokens: int
    elapsed_s: float


def train(
    recipe: Recipe,
    tokenizer: Tokenizer,
    sampler: SequenceSampler,
    listen: Callable[[TrainingProgress], None],
) -> Iterator[tuple[TrainingPhase, Qwen2ForCausalLM]]:
    """Yield each phase with the model after it: one object, trained further for the next.

    Args:
        recipe: how.
        tokenizer: the model's.
        sampler: its training data.
        listen: is told of every step.
    """
    model = new_model(shape_of(tokenizer), recipe.seed)
    trainer = _Trainer(model, recipe)
    began = time.monotonic()
    for phase in recipe.phases:
        model.train()
        for step, batch in zip(range(phase.steps), sampler.batches(phase), strict=False):
            loss = trainer.step(batch, phase.rate(step))
            progress.detail("make the tiny model", step + 1, phase.steps, {"loss": loss})
            listen(
                TrainingProgress(
                    phase=phase,
                    step=step,
                    loss=loss,
                    tokens=sum(len(sample.tokens) for sample in batch),
                    elapsed_s=time.monotonic() - began,
                )
            )
        yield phase, model.eval()


def multiplies_bfloat16() -> bool:
    """Return whether the processor does; one that does not takes ten times as long so."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - nothing public says it


class _Trainer:
    """The model and its two optimizers: Muon for the matrices of the layers, AdamW for the rest."""

    def __init__(self, model: Qwen2ForCausalLM, recipe: Recipe) -> None:
        self._model, self._recipe = model, recipe
        inside = [p for p in model.model.layers.parameters() if p.ndim == _MATRIX]
        rest = [p for p in model.parameters() if all(p is not matrix for matrix in inside)]
        self._optimizers: tuple[tuple[torch.optim.Optimizer, float], ...] = (
            (torch.optim.Muon(inside, weight_decay=0.0), recipe.muon_rate),
            (
                torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
                recipe.adamw_rate,
            ),
        )

    def step(self, batch: Sequence[TrainingSequence], rate: float) -> float:
        """Update the model once; return the loss of its own tokens."""
        tokens = _padded([torch.tensor(sample.tokens) for sample in batch])
        own = _padded([torch.tensor(sample.own) for sample in batch])[:, 1:]
        shown = _padded([torch.ones(len(sample.tokens)) for sample in batch])[:, 1:]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=multiplies_bfloat16()):
            logits = self._model(input_ids=tokens[:, :-1], use_cache=False).logits
        losses = functional.cross_entropy(
            logits.float().transpose(1, 2), tokens[:, 1:], reduction="none"
        )
        weights = torch.where(own, 1.0, self._recipe.context_weight * shown)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.clip)
        for optimizer, learning_rate in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * learning_rate
            optimizer.step()
            optimizer.zero_grad()
        return float(losses.detach()[own].mean())


def _padded(rows: list[Tensor]) -> Tensor:
    """Return rows as one tensor, [batch, length], zeros behind them."""
    padded = pad_sequence(rows, batch_first=True)
    return functional.pad(padded, (0, -padded.shape[1] % _LENGTHS))
