"""Supervised fine-tuning of a LoRA policy; articles 25 and 32.

Micro-batches only say how losses are averaged: examples of one step are scored together where they
fit, which changes nothing but rounding and dropout's draws.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from harness.errors import InputError, Problem
from harness.records import record
from harness.workloads.api import progress
from harness.workloads.api.passes import passes
from harness.workloads.models.example import Example
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.training.errors import DivergedError
from harness.workloads.training.loop import synchronise
from harness.workloads.training.rng import seeded
from harness.workloads.training.sft_settings import LastStep, SupervisedSettings, Weighting

StopAfter = Callable[[int], bool]  # asked after each epoch, from 1, whether it was the last


@record
class Fitted:
    """Examples that a policy can take.

    Attributes:
        examples: cut after so many tokens.
        truncated: how many were cut. Article 32's cut takes what comes last, such as the stop that
            its policy never learns.
    """

    examples: tuple[Example, ...]
    truncated: int


@record
class SupervisedStep:
    """One optimizer step.

    Attributes:
        step: 1 for the first.
        epoch: 1 for the first.
        loss: mean before the step, nats; weighted as in `SupervisedSettings.weighting`, and divided
            by what the step has.
        learning_rate: in the optimizer when it had stepped.
        grad_norm: before it was clipped.
        examples: in it.
        tokens: trained.
        step_s: wall clock, seconds.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    grad_norm: float
    examples: int
    tokens: int
    step_s: float


def fit(examples: Sequence[Example], max_length: int) -> Fitted:
    """Cut examples after `max_length` tokens.

    Raises:
        InputError: there is none, or some have no trained token; names each.
    """
    cut = tuple(
        Example(
            tokens=example.tokens[:max_length],
            trained=tuple(at for at in example.trained if at < max_length),
        )
        for example in examples
    )
    problems = [
        Problem(message=f"no trained token within {max_length}", key=f"example {number}")
        for number, example in enumerate(cut)
        if not example.trained
    ]
    if not cut or problems:
        raise InputError(problems or [Problem(message="no example to train on")])
    truncated = sum(len(example.tokens) > max_length for example in examples)
    return Fitted(examples=cut, truncated=truncated)


def supervise(
    policy: LoraPolicy,
    fitted: Fitted,
    settings: SupervisedSettings,
    stop_after: StopAfter = lambda _: False,
) -> Iterator[SupervisedStep]:
    """Take the optimizer steps, yielding each as it is done.

    Args:
        policy: whose adapter is trained.
        fitted: what on.
        settings: how.
        stop_after: asked after each epoch whether to stop; the schedule is that of all epochs.

    Raises:
        DivergedError: loss or gradient of a step is not finite; the step was not made.
    """
    schedule = settings.schedule(len(fitted.examples))
    optimizer = torch.optim.AdamW(
        policy.parameters,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    number = 0
    per_epoch = math.ceil(len(fitted.examples) / settings.examples_per_step)
    for epoch in passes(range(1, settings.num_train_epochs + 1), "epochs"):
        of_epoch = list(_steps(fitted.examples, settings, epoch))
        for examples in passes(of_epoch, "supervised steps"):
            rate = schedule.lr_at(number)
            number += 1
            for group in optimizer.param_groups:
                group["lr"] = rate
            began = time.perf_counter()
            with seeded(policy.device, f"{settings.seed} supervised {number}"):
                loss, norm = _step(policy, optimizer, settings, examples, number)
            total = per_epoch * settings.num_train_epochs
            progress.tell("supervised fine-tuning", number, total, {"loss": loss})
            yield SupervisedStep(
                step=number,
                epoch=epoch,
                loss=loss,
                learning_rate=optimizer.param_groups[0]["lr"],
                grad_norm=norm,
                examples=len(examples),
                tokens=sum(len(example.trained) for example in examples),
                step_s=time.perf_counter() - began,
            )
        if stop_after(epoch):
            return


def mean_loss(policy: LoraPolicy, examples: Sequence[Example]) -> float:
    """Return the mean over all trained tokens, nats, without dropout or gradients."""
    with torch.no_grad():
        return -torch.cat(policy.logprobs(examples)).mean().item()


def _steps(
    examples: Sequence[Example], settings: SupervisedSettings, epoch: int
) -> Iterator[Sequence[Example]]:
    order = random.Random(f"{settings.seed} {epoch}")  # noqa: S311 - no secret
    shuffled = order.sample(examples, len(examples))
    for start in range(0, len(shuffled), settings.examples_per_step):
        yield shuffled[start : start + settings.examples_per_step]


def _step(
    policy: LoraPolicy,
    optimizer: torch.optim.Optimizer,
    settings: SupervisedSettings,
    examples: Sequence[Example],
    number: int,
) -> tuple[float, float]:
    """Make one step; return its loss and the gradient's norm."""
    shares = _shares([len(example.trained) for example in examples], settings)
    optimizer.zero_grad()
    value = 0.0
    for batch in policy.batches(examples):
        scores = policy.scores([examples[index] for index in batch], settings.dropout)
        losses = torch.stack([-score.logprobs.mean() for score in scores])
        weighted = torch.dot(losses, losses.new_tensor([shares[index] for index in batch]))
        torch.autograd.backward(weighted)
        value += weighted.item()
    norm: Tensor = nn.utils.clip_grad_norm_(policy.parameters, settings.max_grad_norm)
    if not math.isfinite(value) or not norm.isfinite():
        optimizer.zero_grad()
        message = f"supervised step {number}: loss {value}, norm of the gradient {norm.item()}"
        raise DivergedError(message)
    optimizer.step()
    synchronise(policy.device)
    return value / math.fsum(shares), norm.item()


def _shares(num_tokens: Sequence[int], settings: SupervisedSettings) -> list[float]:
    """Return what the mean loss of each example counts in its step.

    They sum to 1, or to less where a short last step is divided as if it were full.
    """
    if settings.weighting is Weighting.TOKENS:
        return [count / sum(num_tokens) for count in num_tokens]
    size = settings.per_device_train_batch_size
    micro = [num_tokens[start : start + size] for start in range(0, len(num_tokens), size)]
    divisor = (
        settings.gradient_accumulation_steps if settings.last_step is LastStep.FULL else len(micro)
    )
    return [count / sum(counts) / divisor for counts in micro for count in counts]
