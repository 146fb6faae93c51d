"""The training loop: a stream of steps, each timed between two synchronisations.

The content and order of the timed window are the article's: forward, loss, gradients cleared,
backward, clip, optimizer. Clearing after the forward keeps the old gradients alive through it, and
the logits live until the step ends; both show in the peak memory.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from harness.records import record
from harness.workloads.training.schedule import Schedule, warmup_cosine

Batch = tuple[Tensor, Tensor]  # input ids (B, S), ids that should follow them (B, S)


@record
class OptimizerStep:
    """What one optimizer step came to, as seen where it happened.

    Attributes:
        index: 0-based.
        learning_rate: in the optimizer when it had stepped.
        weight_decay: likewise.
        betas: likewise; None of an optimizer without.
        loss: mean cross-entropy before the step, nats per token.
        step_s: wall clock of the timed window, seconds.
        batch_s: wall clock of asking for the batch, seconds.
        whole_s: from asking for the batch to the end of the window, by another clock, seconds: what
            the two before leave of it was not accounted for.
        tokens: in the targets that it was fed.
        batch: digest of the ids that it was fed; equal where the ids are.
    """

    index: int
    learning_rate: float
    weight_decay: float
    betas: tuple[float, float] | None
    loss: float
    step_s: float
    batch_s: float
    whole_s: float
    tokens: int
    batch: int


@record
class AdamW:
    """How weights are updated: AdamW under a warm-up and a cosine, gradients clipped.

    Attributes:
        learning_rate: at the end of the warm-up.
        num_warmup: steps of the warm-up.
        num_steps: all steps.
        betas: of the first and the second moment.
        weight_decay: on every parameter.
        max_grad_norm: the gradients' norm is clipped to this.
    """

    learning_rate: float
    num_warmup: int
    num_steps: int
    betas: tuple[float, float]
    weight_decay: float
    max_grad_norm: float

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return a fresh optimizer over what of the model is trained."""
        return torch.optim.AdamW(
            [each for each in model.parameters() if each.requires_grad],
            lr=self.learning_rate,
            betas=self.betas,
            weight_decay=self.weight_decay,
            fused=True,
        )

    def schedule(self) -> Schedule:
        """Return the learning rate of every step.

        Raises:
            ValueError: the warm-up leaves no step.
        """
        return warmup_cosine(self.learning_rate, self.num_warmup, self.num_steps)

    def run(
        self,
        model: nn.Module,
        batch: Callable[[int], Batch],
        forward_context: Callable[[], AbstractContextManager[object]],
    ) -> TrainingRun:
        """Return a training run of `model`, with a fresh optimizer; see `TrainingRun`."""
        return TrainingRun(
            model=model,
            optimizer=self.optimizer(model),
            learning_rate=self.schedule().lr_at,
            batch=batch,
            forward_context=forward_context,
            max_grad_norm=self.max_grad_norm,
        )


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything that decides a run of optimizer steps.

    Attributes:
        model: ids (B, S) to logits (B, S, V); in training mode.
        optimizer: over the model's parameters.
        learning_rate: 0-based step to its rate.
        batch: 0-based step to its batch, on the model's device.
        forward_context: what the forward pass runs in, such as autocast; the loss is outside it.
        max_grad_norm: the gradients' norm is clipped to this.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    learning_rate: Callable[[int], float]
    batch: Callable[[int], Batch]
    forward_context: Callable[[], AbstractContextManager[object]]
    max_grad_norm: float

    def steps(self, num_steps: int) -> Iterator[OptimizerStep]:
        """Take `num_steps` optimizer steps, yielding each as it is done."""
        for index in range(num_steps):
            rate = self.learning_rate(index)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            asked = time.monotonic()
            batch = self.batch(index)
            synchronise(batch[0].device)
            ready = time.monotonic()
            began = time.perf_counter()
            loss = self._step(batch)
            synchronise(batch[0].device)
            step_s = time.perf_counter() - began
            whole_s = time.monotonic() - asked
            group = self.optimizer.param_groups[0]
            yield OptimizerStep(
                index=index,
                learning_rate=group["lr"],
                weight_decay=group["weight_decay"],
                betas=group.get("betas"),
                loss=loss.item(),
                step_s=step_s,
                batch_s=ready - asked,
                whole_s=whole_s,
                tokens=batch[1].numel(),
                batch=_digest(batch[0]),
            )

    def _step(self, batch: Batch) -> Tensor:
        ids_BS, targets_BS = batch
        with self.forward_context():
            logits_BSV = self.model(ids_BS)
        loss = cross_entropy(logits_BSV, targets_BS)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        # foreach: one call for all of them on the CPU too, a third less time for the same bits
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm, foreach=True)
        self.optimizer.step()
        return loss.detach()


def _digest(ids_BS: Tensor) -> int:
    """Return 48 bits that tell batches apart, which a float holds exactly."""
    content = hashlib.blake2b(ids_BS.cpu().numpy().tobytes(), digest_size=6)
    return int.from_bytes(content.digest(), "big")


def cross_entropy(logits_BSV: Tensor, targets_BS: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats per token, computed in float32."""
    return F.cross_entropy(logits_BSV.float().flatten(0, 1), targets_BS.flatten())


def synchronise(device: torch.device) -> None:
    """Wait until `device` has done all it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeated_batch(
    *, vocab_size: int, batch_size: int, seq_len: int, seed: int, device: torch.device
) -> Callable[[int], Batch]:
    """Return a source that gives the same uniform random batch at every step.

    The generator is seeded anew each time, as article 19 does, so the run memorises one batch. The
    target of the last position wraps round to the first id.
    """

    def batch(_: int) -> Batch:
        generator = torch.Generator(device).manual_seed(seed)
        shape = (batch_size, seq_len)
        ids_BS = torch.randint(0, vocab_size, shape, generator=generator, device=device)
        return ids_BS, ids_BS.roll(-1, dims=1)

    return batch
