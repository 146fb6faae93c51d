"""Demonstrations for fine-tuning, and the tasks that are left for evaluation.

Article 32 lets one model, the teacher, play all tasks, and shows another one what passed or nearly
did: those tasks are the training pool, all others are held out. A held-out task is so one that the
teacher failed, and the pool is easier by construction. None of its 42 demonstrations ended with a
stop, and a model trained on them never stops either. Its rollouts are not published, and a machine
without such a model has none of its own. There the split is the article's by task id, and the same
fault is made on purpose: an oracle that never stops plays the pool
(`harness.workloads.envs.files.environment.never_stopping`).

A demonstration is tokenized from its text, as whoever gave it may have had another tokenizer.
Trained is what the agent says, its end token included. The article's mask also covers the tokens
that open an agent's message, which no agent ever samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from harness.errors import HostError
from harness.experiments.a32_34.params import AgentParams
from harness.records import record, to_json
from harness.sandbox.choice import Sandboxes
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.api.context import Context
from harness.workloads.api.steps import Step
from harness.workloads.envs.files.environment import (
    FileEnvironment,
    FileEpisode,
    FileSettings,
    never_stopping,
)
from harness.workloads.envs.files.personas import Split, split_of
from harness.workloads.envs.files.protocol import ParserVersion, PromptStyle, conversation
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.models.example import Example
from harness.workloads.rl.rollout import ROLLOUTS, Rollout, RolloutLog, Trace, TurnTrace
from harness.workloads.rl.runner import EnginePolicy, Runner, ScriptedPolicy, run_episode
from harness.workloads.training.policy import open_engine, sampling_params

TEACHER = "teacher"
_CODE = (
    "harness.workloads.envs.files.environment",
    "harness.workloads.inference.choice",
    "harness.workloads.rl.runner",
)
NEAR_MISS = 0.75  # share of the assertions that hold; article 32, section "The corpus"
NEVER_STOPPING = ScriptedPolicy(name="never-stopping", script=never_stopping)


@record
class SftData:
    """What is imitated, and the two sides of the split.

    Attributes:
        step: that made them.
        rollouts: of tasks of the pool, one each.
        played: all that the teacher played; empty where there was none.
    """

    step: Step
    rollouts: tuple[Rollout[FileEpisode], ...]
    played: tuple[Rollout[FileEpisode], ...]
    pool: tuple[Task, ...]
    held_out: tuple[Task, ...]


def sft_data(
    context: Context, writing: Step, tasks: tuple[Task, ...], sandboxes: Sandboxes
) -> SftData:
    """Return what the parameters ask for.

    Raises:
        HostError: the teacher did nothing worth imitating, or its model is not here.
    """
    params: AgentParams = context.params
    is_taught = params.sft_data == "rollouts"
    decides: dict[str, Any] = {"by": params.sft_data, "prompt_style": params.prompt_style}
    if is_taught:
        decides |= {
            "teacher": params.teacher,
            "dtype": params.dtype,
            "engine": params.engine,
            "max_model_len": params.max_model_len,
            "sampling": to_json(sampling_params(params, context.spec.seed)),
            "sandbox": sandboxes.kind.value,
        }
    ids = {task.task_id for task in tasks if split_of(task.task_id) is Split.TRAIN}
    with context.steps.step(
        "demonstrations",
        decides=decides,
        reads={"tasks": writing.digest()},
        code=_CODE,
        portable=True,
        keeps=(ROLLOUTS,),
    ) as step:
        if step.is_new and is_taught:
            _teach(context, RolloutLog(step.folder / ROLLOUTS, FileEpisode), tasks, sandboxes)
        elif step.is_new:
            pool = [task for task in tasks if task.task_id in ids]
            (step.folder / ROLLOUTS).unlink(missing_ok=True)
            log = RolloutLog(step.folder / ROLLOUTS, FileEpisode)
            for rollout in looking_around(pool, PromptStyle(params.prompt_style)):
                log.append(rollout)
    found = {each.task_id: each for each in RolloutLog(step.folder / ROLLOUTS, FileEpisode).read()}
    played = tuple(found[task.task_id] for task in tasks if task.task_id in found)
    shown = worth_imitating(played) if is_taught else played
    if is_taught:
        ids = {each.task_id for each in shown}
    if not shown:
        message = f"{params.teacher} did nothing that is worth imitating"
        raise HostError(message, "choose another teacher")
    return SftData(
        step=step,
        rollouts=shown,
        played=played if is_taught else (),
        pool=tuple(task for task in tasks if task.task_id in ids),
        held_out=tuple(task for task in tasks if task.task_id not in ids),
    )


def looking_around(
    tasks: Iterable[Task], prompt_style: PromptStyle
) -> tuple[Rollout[FileEpisode], ...]:
    """Return rollouts that do every task and then go on until their turns are over."""
    settings = FileSettings(prompt_style=prompt_style)
    with FileEnvironment(MemorySandbox, settings) as environment:
        return tuple(run_episode(NEVER_STOPPING, environment, task) for task in tasks)


def _teach(
    context: Context,
    log: RolloutLog[FileEpisode],
    tasks: tuple[Task, ...],
    sandboxes: Sandboxes,
) -> None:
    """Let the teacher play every task, read by the parser that article 32 had."""
    params: AgentParams = context.params
    settings = FileSettings(
        parser=ParserVersion.PHASE5, prompt_style=PromptStyle(params.prompt_style)
    )
    runner = Runner(
        environment=partial(FileEnvironment, sandboxes.make, settings),
        log=log,
        max_concurrency=params.max_concurrency,
    )
    with open_engine(
        context,
        context.model(params.teacher),
        TEACHER,
        max_model_len=params.max_model_len,
        max_concurrency=params.max_concurrency,
    ) as (engine, chat_template):
        engine.wait_until_ready()
        policy = EnginePolicy(
            name=TEACHER,
            engine=engine,
            chat_template=chat_template,
            sampling=sampling_params(params, context.spec.seed),
        )
        runner.run(policy, tasks)


def worth_imitating(
    rollouts: Iterable[Rollout[FileEpisode]],
) -> tuple[Rollout[FileEpisode], ...]:
    """Return the rollouts that pass or nearly do."""
    found = []
    for each in rollouts:
        graded = each.episode.grade
        if graded and graded.num_total and graded.num_passed / graded.num_total >= NEAR_MISS:
            found.append(each)
    return tuple(found)


def examples(
    rollouts: Iterable[Rollout[FileEpisode]],
    tasks: Mapping[str, Task],
    chat_template: ChatTemplate,
    prompt_style: PromptStyle,
) -> tuple[Example, ...]:
    """Return the rollouts as sequences whose replies are trained.

    Args:
        rollouts: of whomever.
        tasks: theirs, by id.
        chat_template: of the model that will be trained.
        prompt_style: that the rollouts were played in.
    """
    return tuple(
        retold(each, tasks[each.task_id], chat_template, prompt_style).example for each in rollouts
    )


def retold(
    rollout: Rollout[FileEpisode],
    task: Task,
    chat_template: ChatTemplate,
    prompt_style: PromptStyle,
) -> Trace:
    """Return a rollout in the tokens of another model, which sampled none of them.

    The listing is that of the task's workspace, which is what the agent was shown.
    """
    listing, turns = sorted(task.workspace), rollout.episode.turns
    opening = conversation(task.intent, listing, (), prompt_style)
    exchange = conversation(task.intent, listing, turns, prompt_style)[len(opening) :]
    replies = [chat_template.said(message.content) for message in exchange[::2]]
    answers = [message.content for message in exchange[1::2]]  # none to a stop
    shown = [
        chat_template.opening(opening),
        *(chat_template.following(*each) for each in zip(replies, answers, strict=False)),
    ]
    return Trace(
        turns=tuple(
            TurnTrace(context=context, reply=reply, logprobs=())
            for context, reply in zip(shown, replies, strict=False)
        )
    )
