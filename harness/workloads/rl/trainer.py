"""GRPO's update: groups of rollouts in, a change of the adapter out.

Read it after `algorithms/grpo.py` (advantages) and `losses.py` (loss); `loop.py` goes on from here.
One step of Shao et al. 2024 (arXiv 2402.03300, algorithm 1, lines 8 to 12):

1. advantages of every group; what has none is masked;
2. log-probabilities of the sampled tokens under the reference weights, for the KL term;
3. the same under the weights that the step begins with, where the loss takes a ratio to them;
4. for every minibatch: forward, loss, backward, gradient clipped, AdamW.

Articles 33, 34 and 36 differ in advantages, loss and `TrainerSettings`, and in nothing else here.
How we differ from the paper: only a LoRA adapter is trained, and the reference is the adapter that
training began with, never replaced. How we differ from article 33's program, all of it equal up to
rounding: the rollouts of a step are scored several at a time, the reference adapter is put in once
a step instead of once a rollout, and losses are averaged before the backward pass instead of
gradients after it.

Shapes: N sampled tokens of one rollout.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from harness.atomic import new_folder
from harness.errors import InputError, Problem
from harness.reading import read_json
from harness.records import record
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.models.adapter import Weights
from harness.workloads.models.example import Example
from harness.workloads.models.lora import LoraPolicy, TokenScores
from harness.workloads.models.lora_settings import Dropout
from harness.workloads.rl.advantages import (
    Advantages,
    Aggregation,
    Group,
    MaskReason,
    Objective,
)
from harness.workloads.rl.losses import Loss, SampledTokens, SequenceLoss, batch_weights
from harness.workloads.rl.rollout import NOT_TRAINED
from harness.workloads.training.errors import DivergedError
from harness.workloads.training.loop import synchronise
from harness.workloads.training.rng import seeded

ADAPTER = "adapter"  # of what `Trainer.save` writes
_STEP, _OPTIMIZER = "step.json", "optimizer.pt"


# --- Settings -------------------------------------------------------------------------------------


class OldLogprobs(StrEnum):
    """Which log-probabilities an importance ratio is taken to."""

    SAMPLED = "sampled"  # what the engine said when it sampled the token
    RECOMPUTED = "recomputed"  # the trainer's own, of the weights that the step begins with


@record
class TrainerSettings:
    """How one batch of groups becomes a change of the adapter; defaults are article 33's.

    Attributes:
        learning_rate: AdamW; betas and epsilon are torch's.
        weight_decay: AdamW; torch's default.
        max_grad_norm: gradients are clipped to this norm.
        reset_optimizer_each_step: AdamW is made anew each step, as articles 33 and 34 did: each
            weight then moves by the learning rate or less.
        dropout: of the passes that train, and of the reference's.
        max_length: a rollout of as many tokens or more trains nothing.
        num_iterations: how often each rollout is used in a step.
        num_minibatches: into how many parts, one update each, an iteration is divided at random.
        old_logprobs: what a ratio is taken to; a loss without ratio has no use for it.
        aggregation: how the losses of an update's rollouts are averaged.
        clip_band: how far below and above 1 an importance ratio between trainer and engine is
            reported to lie within; where a loss clips, its own widths.
        seed: dropout and the division are drawn from it and the step's number.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    reset_optimizer_each_step: bool = True
    dropout: Dropout = Dropout.ACTIVE
    max_length: int = 8192
    num_iterations: int = 1
    num_minibatches: int = 1
    old_logprobs: OldLogprobs = OldLogprobs.SAMPLED
    aggregation: Aggregation = Aggregation.SEQUENCE
    clip_band: tuple[float, float] = (0.2, 0.2)
    seed: int = 42


# --- What a step reports --------------------------------------------------------------------------


class StepPhase(StrEnum):
    """A part of a step, timed."""

    ADVANTAGES = "advantages"
    REFERENCE = "reference"  # log-probabilities under the reference weights
    START = "start"  # log-probabilities under the weights that the step begins with
    FORWARD = "forward"  # and losses
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"  # and what the weights moved by


@record
class LogprobDifference:
    """How far engine and trainer are apart on the same sampled tokens.

    Both log-probabilities are of the weights that sampled the tokens, without dropout. Their ratio
    is what an importance ratio begins with, where it should be 1.

    Attributes:
        mean: of |engine - trainer|, nats a token.
        p95: its 95th percentile, nats.
        largest: nats.
        outside_band: share of tokens whose ratio trainer / engine is outside
            `TrainerSettings.clip_band`.
        sampling_bias: mean of log mu - log pi, nats a token, of mu as the tokens were drawn
            (temperature, top-k, top-p) and pi as the loss takes them to be: 0 where nothing is cut
            off at temperature 1, else an estimate of KL(mu || pi), by which a loss without a ratio
            to mu is biased. None where it is not known how they were drawn, or none was as is said.
    """

    mean: float
    p95: float
    largest: float
    outside_band: float
    sampling_bias: float | None


@record
class Update:
    """What happened to the weights, and by what.

    Attributes:
        updates: of the optimizer.
        tokens: trained, each counted once.
        loss: of the updates, mean; statistics, entropy and gradient norm likewise.
        statistics: what the loss says (`losses.SequenceLoss`), means over tokens: ``kl`` is K3 to
            the reference, nats a token, ``kl_term`` that times its coefficient, which article 33
            prints as KL.
        entropy: of the distributions that tokens are sampled from, mean, nats.
        gradient_norm: before it was clipped.
        update_norm: Euclidean norm of what the weights moved by.
        update_norm_ratio: that over ``learning_rate sqrt(N)`` of N weights: the most that one
            update of a fresh AdamW can come to without weight decay, as every weight then moves by
            the learning rate at most. Articles 33 and 34 print 0.0622 of 0.0635.
        logprob_difference: of engine and trainer.
        learning_rate: in the optimizer when it had stepped; weight decay likewise.
    """

    updates: int
    tokens: int
    loss: float
    statistics: Mapping[str, float]
    entropy: float
    gradient_norm: float
    update_norm: float
    update_norm_ratio: float
    logprob_difference: LogprobDifference
    learning_rate: float
    weight_decay: float


@record
class StepReport:
    """One step.

    Attributes:
        step: 1 for the first.
        groups: how many there were.
        masked_groups: those of which no rollout was used.
        rollouts: of all groups.
        used: rollouts that were trained on.
        masked: why others were not, and how many.
        seconds: of each phase.
        update: None where no rollout was of use: the weights are as they were.
    """

    step: int
    groups: int
    masked_groups: int
    rollouts: int
    used: int
    masked: Mapping[MaskReason, int]
    seconds: Mapping[StepPhase, float]
    update: Update | None


# --- The trainer ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sequence:
    """One rollout that is trained on."""

    number: int  # within the step
    name: str  # in messages
    advantages: Advantages
    example: Example
    turn_ids: Tensor  # of each sampled token its turn: (N,)
    sampled: Tensor  # log-probabilities that the engine gave: (N,)
    old: Tensor  # those that a ratio is taken to: (N,)
    reference: Tensor | None = None  # (N,)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pass:
    """What the forward and backward pass of some sequences came to."""

    value: float  # their share of the update's loss
    losses: Sequence[SequenceLoss]
    scores: Mapping[int, TokenScores]  # by sequence, without gradients


@dataclass(frozen=True, kw_only=True, slots=True)
class _OptimizerStep:
    """What one optimizer step came to; see `Update`."""

    loss: float
    statistics: Mapping[str, float]
    entropy: float
    gradient_norm: float


class Trainer:
    """Changes a policy's adapter, step by step.

    Args:
        policy: what is trained.
        objective: from a group to advantages.
        loss: from a rollout's log-probabilities and its advantages to a number.
        settings: the rest.
        reference: the adapter that the policy is kept near, such as the one it began with
            (`LoraPolicy.weights`); None where the loss has no use for it.
    """

    def __init__(
        self,
        policy: LoraPolicy,
        objective: Objective,
        loss: Loss,
        settings: TrainerSettings,
        reference: Weights | None = None,
    ) -> None:
        self._policy = policy
        self._objective = objective
        self._loss = loss
        self._settings = settings
        self._reference = reference
        self._optimizer = self._new_optimizer()
        self._clock = _Clock(policy.device)
        self._sampling: SamplingParams | None = None  # of the step's rollouts
        self.steps = 0  # taken so far

    def step(self, groups: Sequence[Group], sampling: SamplingParams | None = None) -> StepReport:
        """Take one step, on rollouts that were drawn by `sampling`.

        Raises:
            UnscorableError: a number of a group, or a rollout's loss, means nothing; names it.
            DivergedError: a gradient is not finite. The weights are as the last finite update left
                them: the step's first leaves them as they were.
        """
        self._clock, self._sampling = _Clock(self._policy.device), sampling
        with self._clock(StepPhase.ADVANTAGES):
            scored = [self._advantages(group) for group in groups]
        masked = [[each.masked for each in of_group] for of_group in scored]
        sequences = self._sequences(groups, scored)
        with seeded(self._policy.device, f"{self._settings.seed} {self.steps}"):
            update = self._update(sequences) if sequences else None
        self.steps += 1
        return StepReport(
            step=self.steps,
            groups=len(groups),
            masked_groups=sum(all(of_group) for of_group in masked),
            rollouts=sum(map(len, masked)),
            used=len(sequences),
            masked=Counter(reason for of_group in masked for reason in of_group if reason),
            seconds=self._clock.seconds,
            update=update,
        )

    def _advantages(self, group: Group) -> list[Advantages]:
        """Return the objective's advantages, computed with the rollouts that are too long.

        Those are masked afterwards: their rewards count in the others' advantages.
        """
        found = []
        for member, advantages in zip(group.members, self._objective(group), strict=True):
            too_long = len(member.trace.tokens) >= self._settings.max_length
            if too_long and not advantages.masked:
                advantages = replace(advantages, masked=MaskReason.TOO_LONG)  # noqa: PLW2901
            found.append(advantages)
        return found

    def _sequences(
        self, groups: Sequence[Group], scored: Sequence[Sequence[Advantages]]
    ) -> list[_Sequence]:
        """Return the rollouts that are trained on, as tensors."""
        device = self._policy.device
        found: list[_Sequence] = []
        for group, of_group in zip(groups, scored, strict=True):
            for place, (member, advantages) in enumerate(zip(group.members, of_group, strict=True)):
                if advantages.masked:
                    continue
                turn_ids = [turn for turn in member.trace.turn_ids if turn != NOT_TRAINED]
                sampled_N = torch.tensor(member.trace.logprobs, device=device)
                sequence = _Sequence(
                    number=len(found),
                    name=f"group {group.key}, member {place}",
                    advantages=advantages,
                    example=member.trace.example,
                    turn_ids=torch.tensor(turn_ids, device=device),
                    sampled=sampled_N,
                    old=sampled_N,
                )
                found.append(sequence)
        return found

    def _update(self, sequences: Sequence[_Sequence]) -> Update:
        """Change the weights by the rollouts of one step."""
        settings, policy = self._settings, self._policy
        before = [each.detach().clone() for each in policy.parameters]
        examples = [each.example for each in sequences]

        # pi_ref of every sampled token. With dropout it never is pi itself, and KL never 0, as in
        # article 33.
        if self._reference is not None:
            with self._clock(StepPhase.REFERENCE):
                logprobs = policy.reference_logprobs(examples, self._reference, settings.dropout)
            sequences = [
                replace(each, reference=reference_N)
                for each, reference_N in zip(sequences, logprobs, strict=True)
            ]

        # pi_old. Where the passes that train see the step's first weights without dropout, they
        # give these log-probabilities themselves, and nothing is computed twice.
        start: dict[int, TokenScores] = {}
        recomputed = settings.old_logprobs is OldLogprobs.RECOMPUTED
        if settings.dropout is Dropout.ACTIVE or settings.num_minibatches > 1 or recomputed:
            with self._clock(StepPhase.START), torch.no_grad():
                start = dict(enumerate(policy.all_scores(examples, sampling=self._sampling)))
        if recomputed:
            sequences = [replace(each, old=start[each.number].logprobs) for each in sequences]

        if settings.reset_optimizer_each_step:
            self._optimizer = self._new_optimizer()
        steps = [
            self._optimizer_step(minibatch, start) for minibatch in self._minibatches(sequences)
        ]

        squares = [
            (after.detach().double() - earlier.double()).square().sum()
            for after, earlier in zip(policy.parameters, before, strict=True)
        ]
        update_norm = float(torch.stack(squares).sum().sqrt())
        largest_norm = settings.learning_rate * math.sqrt(policy.num_trainable)
        sampled_N = torch.cat([each.sampled for each in sequences])
        scores = [start[each.number] for each in sequences]
        return Update(
            updates=len(steps),
            tokens=len(sampled_N),
            loss=fmean(step.loss for step in steps),
            statistics={
                name: fmean(step.statistics[name] for step in steps) for name in steps[0].statistics
            },
            entropy=fmean(step.entropy for step in steps),
            gradient_norm=fmean(step.gradient_norm for step in steps),
            update_norm=update_norm,
            update_norm_ratio=update_norm / largest_norm,
            logprob_difference=_logprob_difference(scores, sampled_N, settings.clip_band),
            learning_rate=self._optimizer.param_groups[0]["lr"],
            weight_decay=self._optimizer.param_groups[0]["weight_decay"],
        )

    def _minibatches(self, sequences: Sequence[_Sequence]) -> Iterator[Sequence[_Sequence]]:
        """Yield what each optimizer step is made of; parts are as equal as can be."""
        parts = min(self._settings.num_minibatches, len(sequences))
        for iteration in range(self._settings.num_iterations):
            order = random.Random(f"{self._settings.seed} {self.steps} {iteration}")  # noqa: S311
            shuffled = order.sample(sequences, len(sequences))
            yield from (shuffled[part::parts] for part in range(parts))

    def _optimizer_step(
        self, minibatch: Sequence[_Sequence], start: dict[int, TokenScores]
    ) -> _OptimizerStep:
        """Take one optimizer step.

        Args:
            minibatch: what on.
            start: scores under the weights that the step began with, by sequence. Those that it
                lacks are filled in: this is then the first optimizer step.
        """
        weights = batch_weights([len(each.old) for each in minibatch], self._settings.aggregation)
        self._optimizer.zero_grad()
        passes = [
            self._forward_backward(
                [(minibatch[index], weights[index]) for index in batch],
                None if start else self._sampling,
            )
            for batch in self._policy.batches([each.example for each in minibatch])
        ]
        with self._clock(StepPhase.OPTIMIZER):
            gradient_norm = nn.utils.clip_grad_norm_(
                self._policy.parameters, self._settings.max_grad_norm
            )
            self._optimizer.step()
        for each in passes:
            start.update({new: each.scores[new] for new in each.scores.keys() - start})
        losses = [loss for each in passes for loss in each.losses]
        tokens = sum(loss.num_tokens for loss in losses)
        return _OptimizerStep(
            loss=math.fsum(each.value for each in passes),
            statistics={
                name: math.fsum(loss.statistics[name] * loss.num_tokens for loss in losses) / tokens
                for name in losses[0].statistics
            },
            entropy=torch.cat(
                [score.entropies for each in passes for score in each.scores.values()]
            )
            .mean()
            .item(),
            gradient_norm=gradient_norm.item(),
        )

    def _forward_backward(
        self, weighted: Sequence[tuple[_Sequence, float]], sampling: SamplingParams | None
    ) -> _Pass:
        """Add the gradients of some sequences, each loss times its weight.

        Args:
            weighted: the sequences, and the weights.
            sampling: how they were drawn, where their scores are still to be compared with that.

        Raises:
            DivergedError: a gradient is not finite.
        """
        sequences, weights = zip(*weighted, strict=True)
        with self._clock(StepPhase.FORWARD):
            scores = self._policy.scores(
                [each.example for each in sequences], self._settings.dropout, sampling
            )
            losses = [
                self._loss(
                    SampledTokens(
                        name=each.name,
                        new=score.logprobs,
                        old=each.old,
                        reference=each.reference,
                        turn_ids=each.turn_ids,
                    ),
                    each.advantages,
                )
                for each, score in zip(sequences, scores, strict=True)
            ]
            values = torch.stack([loss.value for loss in losses])
            value = torch.dot(values, values.new_tensor(weights))
        with self._clock(StepPhase.BACKWARD):
            torch.autograd.backward(value)
            gradients = [each.grad for each in self._policy.parameters if each.grad is not None]
            if not nn.utils.get_total_norm(gradients).isfinite():
                self._optimizer.zero_grad()
                names = ", ".join(each.name for each in sequences)
                message = f"step {self.steps + 1}: the gradient is not finite after {names}"
                raise DivergedError(message)
        return _Pass(
            value=value.item(),
            losses=losses,
            scores={
                each.number: replace(score, logprobs=score.logprobs.detach())
                for each, score in zip(sequences, scores, strict=True)
            },
        )

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self._policy.parameters,
            lr=self._settings.learning_rate,
            weight_decay=self._settings.weight_decay,
            fused=True,
        )

    # --- going on later ---------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write what the next step depends on, whole or not at all: adapter, moments, number."""
        with new_folder(folder) as new:
            self._policy.save(new / ADAPTER)
            if not self._settings.reset_optimizer_each_step:
                torch.save(self._optimizer.state_dict(), new / _OPTIMIZER)
            (new / _STEP).write_text(json.dumps({"steps": self.steps}), encoding="utf-8")

    def resume(self, folder: Path) -> None:
        """Go on from what `save` wrote: the same steps follow, bit for bit on the same machine.

        Raises:
            InputError: it is not there, or of another policy.
        """
        try:
            steps = read_json((folder / _STEP).read_bytes())["steps"]
            if not self._settings.reset_optimizer_each_step:
                self._optimizer.load_state_dict(torch.load(folder / _OPTIMIZER, weights_only=True))
        except OSError as error:
            message = f"no step of a trainer can be read here: {error}"
            raise InputError([Problem(message=message, path=folder)]) from None
        self._policy.load(folder / ADAPTER)
        self.steps = steps


class _Clock:
    """Seconds by phase; work on a GPU is waited for at either end."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[StepPhase, float] = dict.fromkeys(StepPhase, 0.0)

    @contextmanager
    def __call__(self, phase: StepPhase) -> Iterator[None]:
        synchronise(self._device)
        began = time.perf_counter()
        try:
            yield
        finally:
            synchronise(self._device)
            self.seconds[phase] += time.perf_counter() - began


def _logprob_difference(
    scores: Sequence[TokenScores], sampled_N: Tensor, band: tuple[float, float]
) -> LogprobDifference:
    """Compare what the trainer says of sampled tokens with what the engine said: (N,)."""
    start_N = torch.cat([each.logprobs for each in scores])
    apart_N = (start_N - sampled_N).abs()
    ratio_N = (start_N - sampled_N).exp()
    outside_N = (ratio_N < 1 - band[0]) | (ratio_N > 1 + band[1])
    drawn = [each.drawn for each in scores if each.drawn is not None]
    bias = None
    if len(drawn) == len(scores):
        bias_N = torch.cat(drawn) - start_N
        known_N = bias_N[bias_N.isfinite()]
        bias = known_N.mean().item() if len(known_N) else None
    return LogprobDifference(
        mean=apart_N.mean().item(),
        # kthvalue, as quantile() takes no more than 16 million tokens
        p95=apart_N.kthvalue(max(1, math.ceil(0.95 * len(apart_N)))).values.item(),
        largest=apart_N.max().item(),
        outside_band=outside_N.float().mean().item(),
        sampling_bias=bias,
    )
