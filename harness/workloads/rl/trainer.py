"""The one trainer: groups of rollouts in, a change of the adapter out.

Articles 33, 34 and 36 differ in objective, loss and settings, and in nothing else here. How it
departs from article 33's program: the rollouts of a step are scored several at a time, the
reference's adapter is put in once a step instead of once a rollout, and the loss is averaged before
the backward pass instead of the gradients after it; all are the same up to rounding. What differs
by choice is in `TrainerSettings`.
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
from itertools import count
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from harness.atomic import new_folder
from harness.errors import InputError, Problem
from harness.workloads.models.adapter import Weights
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.rl.group import Advantages, Group, MaskReason, Objective
from harness.workloads.rl.losses import Loss, SampledTokens, SequenceLoss, batch_weights
from harness.workloads.rl.step import Agreement, StepPhase, StepReport, Update
from harness.workloads.training.errors import DivergedError
from harness.workloads.training.example import Example, traced
from harness.workloads.training.loop import synchronise
from harness.workloads.training.rng import seeded
from harness.workloads.training.settings import Dropout, Old, TrainerSettings
from harness.workloads.training.trace import NOT_TRAINED, Trace

_STEP, _OPTIMIZER, _ADAPTER = "step.json", "optimizer.pt", "adapter"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rollout:
    """One rollout that is trained on; tensors are of its N trained tokens."""

    number: int  # within the step
    name: str
    credit: Advantages
    example: Example
    turn_ids: Tensor
    drawn: Tensor  # log-probabilities that the engine gave
    old: Tensor  # those that a ratio is taken to
    reference: Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pass:
    """What one batch of rollouts came to; gradients are in the parameters."""

    value: float  # its share of the update's loss
    losses: Sequence[SequenceLoss]
    entropies: Tensor  # of all its trained tokens
    logprobs: Mapping[int, Tensor]  # by rollout


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What one update came to."""

    loss: float
    statistics: Mapping[str, float]
    entropy: float
    norm: float


class Trainer:
    """Changes a policy's adapter, step by step.

    Args:
        policy: what is trained.
        objective: from a group to credit.
        loss: from a rollout's log-probabilities and its credit to a number.
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
        self.steps = 0  # taken so far

    def step(self, groups: Sequence[Group]) -> StepReport:
        """Take one step.

        Raises:
            UnscorableError: a number of a group, or a rollout's loss, means nothing; names it.
            DivergedError: a gradient is not finite. The weights are as the last finite update left
                them: the step's first leaves them as they were.
        """
        self._clock = _Clock(self._policy.device)
        with self._clock(StepPhase.CREDIT):
            credits_ = [self._credits(group) for group in groups]
        muted = [[credit.masked for credit in of_group] for of_group in credits_]
        rollouts = list(_used(groups, credits_, self._policy.device))
        with seeded(self._policy.device, f"{self._settings.seed} {self.steps}"):
            update = self._update(rollouts) if rollouts else None
        self.steps += 1
        return StepReport(
            step=self.steps,
            groups=len(groups),
            zero_variance_groups=sum(all(of_group) for of_group in muted),
            rollouts=sum(map(len, muted)),
            used=len(rollouts),
            masked=Counter(cause for of_group in muted for cause in of_group if cause),
            seconds=self._clock.seconds,
            update=update,
        )

    def save(self, folder: Path) -> None:
        """Write what the next step depends on, whole or not at all: adapter, moments, number."""
        with new_folder(folder) as new:
            self._policy.save(new / _ADAPTER)
            if not self._settings.reset_optimizer_each_step:
                torch.save(self._optimizer.state_dict(), new / _OPTIMIZER)
            (new / _STEP).write_text(json.dumps({"steps": self.steps}), encoding="utf-8")

    def resume(self, folder: Path) -> None:
        """Go on from what `save` wrote: the same steps follow, bit for bit on the same machine.

        Raises:
            InputError: it is not there, or of another policy.
        """
        try:
            steps = json.loads((folder / _STEP).read_text(encoding="utf-8"))["steps"]
            if not self._settings.reset_optimizer_each_step:
                self._optimizer.load_state_dict(torch.load(folder / _OPTIMIZER, weights_only=True))
        except OSError as error:
            message = f"no step of a trainer can be read here: {error}"
            raise InputError([Problem(message=message, path=folder)]) from None
        self._policy.load(folder / _ADAPTER)
        self.steps = steps

    # --- credit -----------------------------------------------------------------------------------

    def _credits(self, group: Group) -> list[Advantages]:
        """Return the objective's credits; what is too long for a pass counts in them, as it did."""
        pairs = zip(group.members, self._objective(group), strict=True)
        return [self._heard(credit, len(member.trace.tokens)) for member, credit in pairs]

    def _heard(self, credit: Advantages, tokens: int) -> Advantages:
        if credit.masked or tokens < self._settings.max_length:
            return credit
        return replace(credit, masked=MaskReason.TOO_LONG)

    # --- update -----------------------------------------------------------------------------------

    def _update(self, rollouts: Sequence[_Rollout]) -> Update:
        before = [each.detach().clone() for each in self._policy.parameters]
        rollouts = self._with_reference(rollouts)
        seen: dict[
            int, Tensor
        ] = {}  # log-probabilities under the weights that the step begins with
        if self._looks_first:
            seen = self._start(rollouts)
        if self._settings.old is Old.COMPUTED:
            rollouts = [replace(each, old=seen[each.number]) for each in rollouts]
        if self._settings.reset_optimizer_each_step:
            self._optimizer = self._new_optimizer()
        parts = [self._part(part, seen) for part in self._parts(rollouts)]
        return self._report(rollouts, parts, seen, before)

    @property
    def _looks_first(self) -> bool:
        """Whether the passes that train do not themselves say what the step's weights say."""
        with_dropout = self._settings.dropout is Dropout.ACTIVE
        return (
            with_dropout or self._settings.num_minibatches > 1 or self._settings.old is Old.COMPUTED
        )

    def _with_reference(self, rollouts: Sequence[_Rollout]) -> Sequence[_Rollout]:
        if self._reference is None:
            return rollouts
        with self._clock(StepPhase.REFERENCE):
            logprobs = self._policy.reference_logprobs(
                [each.example for each in rollouts], self._reference, self._settings.dropout
            )
        pairs = zip(rollouts, logprobs, strict=True)
        return [replace(each, reference=reference_N) for each, reference_N in pairs]

    def _start(self, rollouts: Sequence[_Rollout]) -> dict[int, Tensor]:
        with self._clock(StepPhase.START), torch.no_grad():
            logprobs = self._policy.logprobs([each.example for each in rollouts])
        return {each.number: start_N for each, start_N in zip(rollouts, logprobs, strict=True)}

    def _parts(self, rollouts: Sequence[_Rollout]) -> Iterator[Sequence[_Rollout]]:
        """Yield what each update is made of; parts are as equal as can be."""
        parts = min(self._settings.num_minibatches, len(rollouts))
        for epoch in range(self._settings.num_iterations):
            order = random.Random(f"{self._settings.seed} {self.steps} {epoch}")  # noqa: S311
            drawn = order.sample(rollouts, len(rollouts))
            yield from (drawn[part::parts] for part in range(parts))

    def _part(self, rollouts: Sequence[_Rollout], seen: dict[int, Tensor]) -> _Part:
        """Make one update."""
        weights = batch_weights([len(each.old) for each in rollouts], self._settings.aggregation)
        batches = self._policy.batches([each.example for each in rollouts])
        self._optimizer.zero_grad()
        passes = [
            self._pass([(rollouts[index], weights[index]) for index in batch]) for batch in batches
        ]
        with self._clock(StepPhase.OPTIMIZER):
            norm = nn.utils.clip_grad_norm_(self._policy.parameters, self._settings.max_grad_norm)
            self._optimizer.step()
        for each in passes:
            seen.update({new: each.logprobs[new] for new in each.logprobs.keys() - seen})
        return _Part(
            loss=math.fsum(each.value for each in passes),
            statistics=_means([loss for each in passes for loss in each.losses]),
            entropy=torch.cat([each.entropies for each in passes]).mean().item(),
            norm=norm.item(),
        )

    def _pass(self, weighed: Sequence[tuple[_Rollout, float]]) -> _Pass:
        """Add the gradients of one batch of rollouts, each loss times its weight."""
        rollouts, weights = zip(*weighed, strict=True)
        with self._clock(StepPhase.FORWARD):
            scores = self._policy.scores(
                [each.example for each in rollouts], self._settings.dropout
            )
            losses = [
                self._loss(_drawn(rollout, score.logprobs), rollout.credit)
                for rollout, score in zip(rollouts, scores, strict=True)
            ]
            values = torch.stack([loss.value for loss in losses])
            value = torch.dot(values, values.new_tensor(weights))
        with self._clock(StepPhase.BACKWARD):
            torch.autograd.backward(value)
            self._require_finite(rollouts)
        return _Pass(
            value=value.item(),
            losses=losses,
            entropies=torch.cat([each.entropies for each in scores]),
            logprobs={
                rollout.number: score.logprobs.detach()
                for rollout, score in zip(rollouts, scores, strict=True)
            },
        )

    def _require_finite(self, rollouts: Sequence[_Rollout]) -> None:
        gradients = [each.grad for each in self._policy.parameters if each.grad is not None]
        if nn.utils.get_total_norm(gradients).isfinite():
            return
        self._optimizer.zero_grad()
        names = ", ".join(each.name for each in rollouts)
        message = f"step {self.steps + 1}: the gradient is not finite after {names}"
        raise DivergedError(message)

    def _report(
        self,
        rollouts: Sequence[_Rollout],
        parts: Sequence[_Part],
        seen: Mapping[int, Tensor],
        before: Sequence[Tensor],
    ) -> Update:
        delta = _distance(self._policy.parameters, before)
        most = self._settings.learning_rate * math.sqrt(self._policy.num_trainable)
        differences = torch.cat([(seen[each.number] - each.drawn).abs() for each in rollouts])
        return Update(
            updates=len(parts),
            tokens=len(differences),
            loss=fmean(part.loss for part in parts),
            statistics={
                name: fmean(part.statistics[name] for part in parts) for name in parts[0].statistics
            },
            entropy=fmean(part.entropy for part in parts),
            grad_norm=fmean(part.norm for part in parts),
            update_norm=delta,
            update_norm_ratio=delta / most,
            agreement=Agreement(mean=differences.mean().item(), max=differences.max().item()),
        )

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self._policy.parameters,
            lr=self._settings.learning_rate,
            weight_decay=self._settings.weight_decay,
            fused=True,
        )


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


def _used(
    groups: Sequence[Group], credits_: Sequence[Sequence[Advantages]], device: torch.device
) -> Iterator[_Rollout]:
    numbers = count()
    for group, of_group in zip(groups, credits_, strict=True):
        for place, (member, credit) in enumerate(zip(group.members, of_group, strict=True)):
            if not credit.masked:
                name = f"group {group.key}, member {place}"
                yield _rollout(next(numbers), name, member.trace, credit, device)


def _rollout(
    number: int, name: str, trace: Trace, credit: Advantages, device: torch.device
) -> _Rollout:
    turns = [turn for turn in trace.turn_ids if turn != NOT_TRAINED]
    drawn = torch.tensor(trace.logprobs, device=device)
    return _Rollout(
        number=number,
        name=name,
        credit=credit,
        example=traced(trace),
        turn_ids=torch.tensor(turns, device=device),
        drawn=drawn,
        old=drawn,
    )


def _drawn(rollout: _Rollout, new_N: Tensor) -> SampledTokens:
    return SampledTokens(
        name=rollout.name,
        new=new_N,
        old=rollout.old,
        reference=rollout.reference,
        turn_ids=rollout.turn_ids,
    )


def _means(losses: Sequence[SequenceLoss]) -> Mapping[str, float]:
    """Return the means over all tokens of what the losses say, each a mean over its own."""
    tokens = sum(loss.num_tokens for loss in losses)
    return {
        name: math.fsum(loss.statistics[name] * loss.num_tokens for loss in losses) / tokens
        for name in losses[0].statistics
    }


def _distance(now: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    squares = [
        (after.detach().double() - earlier.double()).square().sum()
        for after, earlier in zip(now, before, strict=True)
    ]
    return float(torch.stack(squares).sum().sqrt())
