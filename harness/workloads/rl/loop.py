"""The training loop of GRPO and of what differs from it: rollouts, an update, new weights; again.

::

    prompts -> rollouts -> groups -> advantages -> loss -> update -> weight sync -> (evaluation)

An algorithm is a record of what it puts in (`Algorithm`): article 33's GRPO is an objective and a
loss, T2PO adds a filter of sampled turns, A2TGPO adds information gains. Evaluation is the
caller's: `train` yields each step when the engine answers with its weights.

Each step is one of the run's (`harness.workloads.api.steps`): rollouts, adapter, optimizer and what
was reported are kept, and a run that was killed goes on behind the last of them, with a partly
played step's rollouts too. No generator's state is among them, as every random number is drawn from
the seed and the number of its step.

How it differs from article 33's program, section "The loop": the server is told of new weights
instead of being started anew, and which prompts a step draws depends on the run's seed alone.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from harness.reading import read_json
from harness.records import from_json, record, to_json
from harness.workloads.api.context import Context
from harness.workloads.api.passes import part, passes, portion
from harness.workloads.api.steps import Step
from harness.workloads.envs.base import EpisodeT, TaskT
from harness.workloads.inference.engine import EngineError, SamplingParams
from harness.workloads.rl.advantages import Group, Objective, groups
from harness.workloads.rl.losses import Loss
from harness.workloads.rl.rollout import PLAYED, ROLLOUTS, Key, Rollout
from harness.workloads.rl.runner import MAX_ERROR_FRACTION, EnginePolicy, Runner, TurnFilter
from harness.workloads.rl.trainer import ADAPTER, StepReport, Trainer, TrainerSettings
from harness.workloads.training.params import TrainerParams
from harness.workloads.training.policy import ServedPolicy

_TRAINER, _STEP = "trainer", "step.json"  # of a step's files
_CODE = ("harness.workloads.rl.loop", "harness.workloads.inference.choice")
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


@dataclass(frozen=True, kw_only=True)
class Training(Generic[TaskT, EpisodeT]):
    """What is trained, on what, and what decides its steps beside the algorithm's own settings.

    Attributes:
        context: of the run.
        served: the policy, and its engine.
        runner: plays the rollouts.
        tasks: what prompts are drawn from.
        params: how many steps, prompts and rollouts.
        sampling: from the number of a step to how its rollouts are sampled.
        decides: params of policy, algorithm and environment, plain JSON.
        reads: name -> digest of what is read of other steps: tasks, first weights.
        code: modules that make a step beside this one and the engine: algorithm and environment.
    """

    context: Context
    served: ServedPolicy
    runner: Runner[TaskT, EpisodeT]
    tasks: Sequence[TaskT]
    params: TrainerParams
    sampling: Callable[[int], SamplingParams]
    decides: Mapping[str, Any]
    reads: Mapping[str, str]
    code: tuple[str, ...]

    @property
    def prompts_per_step(self) -> int:
        """Groups a step; none twice within it."""
        return min(self.params.prompts_per_step, len(self.tasks))

    def prompts(self, seed: int, number: int) -> Sequence[TaskT]:
        """Return the prompts of a step, which are the same for every algorithm.

        A rehearsal has as many as keep the runner busy.
        """
        draw = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
        drawn = draw.sample(self.tasks, self.prompts_per_step)
        at_once = math.ceil(self.runner.max_concurrency / self.params.num_generations)
        return portion(drawn, at_once, least=1)


def train(
    training: Training[TaskT, EpisodeT], algorithm: Algorithm
) -> Iterator[TrainingStep[EpisodeT]]:
    """Train the policy from the weights that it has, and that the engine is to answer with.

    Steps that are finished are taken: the policy then has the weights of the last step that was
    made, and the engine is to answer with those of the last step of all.

    Raises:
        HostError: more than 1 % of all rollouts of the training broke.
        EngineError: the engine answers with other weights than the trainer's.
        UnscorableError: what nothing can be learnt from; names the rollout.
        DivergedError: a gradient is not finite.
    """
    served, params, settings = training.served, training.params, algorithm.settings
    trainer = Trainer(
        served.policy,
        algorithm.objective,
        algorithm.loss,
        settings,
        served.policy.weights() if algorithm.needs_reference else None,
    )
    planned = params.max_steps * training.prompts_per_step * params.num_generations
    errors_left = int(MAX_ERROR_FRACTION * planned)
    behind: Path | None = None  # a step that was taken: the trainer has yet to go on from it
    reads = dict(training.reads)
    # the last step is evaluated, also by a rehearsal
    for number in passes(range(1, params.max_steps + 1), algorithm.name, with_last=True):
        with training.context.steps.step(
            f"{algorithm.name}-{number}",
            decides={
                **training.decides,
                "step": number,
                "prompts_per_step": training.prompts_per_step,
                "num_generations": params.num_generations,
                "settings": to_json(settings),
                "sampling": to_json(training.sampling(number)),
                "engine": served.engine.identity,
            },
            reads=reads,
            code=(*_CODE, *training.code),
            keeps=PLAYED,
        ) as step:
            if not step.is_new:
                behind = step.folder / _TRAINER
            else:
                if behind is not None:
                    trainer.resume(behind)
                    behind = None
                _take_step(training, algorithm, trainer, step, number, errors_left)
        done = _read_step(training, step, number, settings.seed)
        adapter = f"{_TRAINER}/{ADAPTER}"
        served.keep(step.name, step.folder / adapter, step.digest(adapter))
        if not done.no_signal:
            served.answer_with(step.name)
        reads = {**training.reads, "before": step.digest(_TRAINER)}
        errors_left -= done.num_errors
        yield done


def _take_step(
    training: Training[TaskT, EpisodeT],
    algorithm: Algorithm,
    trainer: Trainer,
    step: Step,
    number: int,
    errors_left: int,
) -> None:
    """Play, update, hand over the new weights, and leave all of it in the step's folder."""
    served = training.served
    served.settle(step)
    began = time.monotonic()
    policy = EnginePolicy(
        name=step.name,
        engine=served.engine,
        chat_template=served.chat_template,
        sampling=training.sampling(number),
        turn_filter=algorithm.turn_filter,
        seed_has_draw=algorithm.seed_has_draw,
    )
    prompts, num_all = training.prompts(algorithm.settings.seed, number), training.prompts_per_step
    rollouts = training.runner.into(step.folder / ROLLOUTS).run_part(
        policy, prompts, num_all, training.params.num_generations, errors_left
    )
    played = time.monotonic()

    with part("update", num_all, done=len(prompts)):
        # groups, with what each turn gained where the objective asks for it
        gains = algorithm.gains(rollouts) if algorithm.gains else None
        grouped = groups(rollouts, gains)
        scored = time.monotonic()

        # advantages, loss, update
        report = trainer.step(grouped, policy.sampling)
    # make sure that the engine sampled with the weights that the step began with
    difference = report.update.logprob_difference.mean if report.update else 0.0
    if difference > _OTHER_WEIGHTS:
        message = (
            f"step {report.step}: the engine's log-probabilities differ from the trainer's by "
            f"{difference:.3g} nats a token: it answers with other weights"
        )
        raise EngineError(message)
    trainer.save(step.folder / _TRAINER)

    # weight sync: the next step's rollouts are sampled by what this one has learnt
    if report.update is not None:
        served.keep(step.name, step.folder / _TRAINER / ADAPTER)
        served.answer_with(step.name)
        served.settle(step)
    facts = {
        "report": to_json(report),
        "gains": None if gains is None else [[*key, list(gains[key])] for key in gains],
        "rollout_s": played - began,
        "gain_s": scored - played,
        "update_s": time.monotonic() - scored,
    }
    (step.folder / _STEP).write_text(json.dumps(facts), encoding="utf-8")


def _read_step(
    training: Training[TaskT, EpisodeT], step: Step, number: int, seed: int
) -> TrainingStep[EpisodeT]:
    """Return what `_take_step` left."""
    facts = read_json((step.folder / _STEP).read_bytes())
    keys = [
        (step.name, task.task_id, sample)
        for task in training.prompts(seed, number)
        for sample in range(training.params.num_generations)
    ]
    log = training.runner.into(step.folder / ROLLOUTS).log
    assert log is not None, "a step's rollouts are in its log"
    found = log.find(keys)
    rollouts = tuple(found[key] for key in keys)
    gains = facts["gains"]
    if gains is not None:
        gains = {(policy, task, sample): tuple(each) for policy, task, sample, each in gains}
    return TrainingStep(
        number=number,
        rollouts=rollouts,
        groups=groups(rollouts, gains),
        report=from_json(StepReport, facts["report"]),
        rollout_s=facts["rollout_s"],
        gain_s=facts["gain_s"],
        update_s=facts["update_s"],
    )


def is_evaluated(params: TrainerParams, step: int) -> bool:
    """Whether the weights of a step are evaluated: every so often, and the last ones."""
    return step % params.eval_steps == 0 or step == params.max_steps


def num_evaluated(params: TrainerParams) -> int:
    """Return how many steps are."""
    return sum(is_evaluated(params, step) for step in range(1, params.max_steps + 1))
