"""The training loop of GRPO and of what differs from it: rollouts, an update, new weights; again.

::

    prompts -> rollouts -> groups -> advantages -> loss -> update -> weight sync -> (evaluation)

An algorithm is a record of what it puts in (`Algorithm`): article 33's GRPO is an objective and a
loss, T2PO adds a filter of sampled turns, A2TGPO adds information gains. Evaluation is the
caller's: `train` yields each step when the engine answers with its weights.

How it differs from article 33's program, section "The loop": the server is told of new weights
instead of being started anew, and which prompts a step draws depends on the run's seed alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from harness.records import record
from harness.workloads.envs.base import EpisodeT, TaskT
from harness.workloads.inference.engine import EngineError, SamplingParams
from harness.workloads.rl.advantages import Group, Objective, groups
from harness.workloads.rl.losses import Loss
from harness.workloads.rl.rollout import Key, Rollout
from harness.workloads.rl.runner import MAX_ERROR_FRACTION, EnginePolicy, Runner, TurnFilter
from harness.workloads.rl.trainer import StepReport, Trainer, TrainerSettings
from harness.workloads.training.params import TrainerParams
from harness.workloads.training.policy import ServedPolicy

_OTHER_WEIGHTS = 0.2  # nats a token, mean; bfloat16 on both sides leaves a tenth of it

Gains = Mapping[Key, tuple[float, ...]]  # of each rollout, one a process turn


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What decides an update.

    Attributes:
        name: what its steps are filed under.
        objective: from a group to advantages.
        loss: from log-probabilities and advantages to a number.
        settings: the trainer's; their seed also draws the prompts.
        needs_reference: whether the loss has a KL term to the weights that training begins with.
        turn_filter: makes what decides, in one rollout, whether a turn is sampled again; T2PO.
        gains: takes the information gain of every process turn; A2TGPO. None where the objective
            has no use for it.
        seed_has_draw: see `EnginePolicy`.
    """

    name: str
    objective: Objective
    loss: Loss
    settings: TrainerSettings
    needs_reference: bool = True
    turn_filter: Callable[[], TurnFilter] | None = None
    gains: Callable[[Sequence[Rollout[Any]]], Gains] | None = None
    seed_has_draw: bool = True


@record
class TrainingStep(Generic[EpisodeT]):
    """One step: what was played, what came of it, and what it took.

    Attributes:
        number: 1 for the first.
        rollouts: played by the weights of the step before.
        groups: what was made of them.
        report: the trainer's.
        rollout_s: playing, seconds.
        gain_s: taking information gains, seconds.
        update_s: the update, and the weight sync, seconds.
    """

    number: int
    rollouts: tuple[Rollout[EpisodeT], ...]
    groups: tuple[Group, ...]
    report: StepReport
    rollout_s: float
    gain_s: float
    update_s: float

    @property
    def num_errors(self) -> int:
        """How many rollouts broke."""
        return sum(each.is_error for each in self.rollouts)

    @property
    def total_s(self) -> float:
        """All of it, seconds."""
        return self.rollout_s + self.gain_s + self.update_s

    @property
    def no_signal(self) -> bool:
        """Whether no group told its rollouts apart, so that nothing was changed."""
        return self.report.update is None


def train(
    served: ServedPolicy,
    algorithm: Algorithm,
    runner: Runner[TaskT, EpisodeT],
    tasks: Sequence[TaskT],
    params: TrainerParams,
    sampling: Callable[[int], SamplingParams],
) -> Iterator[TrainingStep[EpisodeT]]:
    """Train the policy from the weights that it has, which the engine answers with too.

    Args:
        served: the policy, and its engine.
        algorithm: how.
        runner: plays the rollouts.
        tasks: what prompts are drawn from.
        params: how many steps, prompts and rollouts.
        sampling: from the number of a step to how its rollouts are sampled.

    Raises:
        HostError: more than 1 % of all rollouts of the training broke.
        EngineError: the engine answers with other weights than the trainer's.
        UnscorableError: what nothing can be learnt from; names the rollout.
        DivergedError: a gradient is not finite.
    """
    trainer = Trainer(
        served.policy,
        algorithm.objective,
        algorithm.loss,
        algorithm.settings,
        served.policy.weights() if algorithm.needs_reference else None,
    )
    prompts_per_step = min(params.prompts_per_step, len(tasks))
    planned = params.max_steps * prompts_per_step * params.num_generations
    errors_left = int(MAX_ERROR_FRACTION * planned)
    for number in range(1, params.max_steps + 1):
        began, drawn = time.monotonic(), sampling(number)

        # rollouts: the same prompts for every algorithm, none twice within a step
        draw = random.Random(f"{algorithm.settings.seed} {number}")  # noqa: S311 - no secret
        rollouts = runner.run(
            EnginePolicy(
                name=f"{algorithm.name}-{number}",
                engine=served.engine,
                chat_template=served.chat_template,
                sampling=drawn,
                turn_filter=algorithm.turn_filter,
                seed_has_draw=algorithm.seed_has_draw,
            ),
            draw.sample(tasks, prompts_per_step),
            params.num_generations,
            errors_left,
        )
        played = time.monotonic()

        # groups, with what each turn gained where the objective asks for it
        gains = algorithm.gains(rollouts) if algorithm.gains else None
        grouped = groups(rollouts, gains)
        scored = time.monotonic()

        # advantages, loss, update
        report = trainer.step(grouped, drawn)
        # make sure that the engine sampled with the weights that the step began with
        difference = report.update.logprob_difference.mean if report.update else 0.0
        if difference > _OTHER_WEIGHTS:
            message = (
                f"step {report.step}: the engine's log-probabilities differ from the trainer's by "
                f"{difference:.3g} nats a token: it answers with other weights"
            )
            raise EngineError(message)

        # weight sync: the next step's rollouts are sampled by what this one has learnt
        if report.update is not None:
            served.sync_weights(f"{algorithm.name}-{number}")
        step = TrainingStep(
            number=number,
            rollouts=rollouts,
            groups=grouped,
            report=report,
            rollout_s=played - began,
            gain_s=scored - played,
            update_s=time.monotonic() - scored,
        )
        errors_left -= step.num_errors
        yield step


def is_evaluated(params: TrainerParams, step: int) -> bool:
    """Whether the weights of a step are evaluated: every so often, and the last ones."""
    return step % params.eval_steps == 0 or step == params.max_steps
