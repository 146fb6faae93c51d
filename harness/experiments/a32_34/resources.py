"""Resources of one run of articles 32 to 34: tasks, sandboxes, engine, trainable policy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import Any

import torch

from harness.errors import HostError
from harness.experiments.a32_34.evaluation import StopChance
from harness.experiments.a32_34.params import AgentParams
from harness.experiments.a32_34.sft_data import SftData, looking_around, retold, sft_data
from harness.experiments.a32_34.tasks import how_to_look, opened_author
from harness.sandbox.choice import Sandboxes, open_sandboxes
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.passes import portion
from harness.workloads.api.steps import Step
from harness.workloads.envs.files.author import synthesise
from harness.workloads.envs.files.environment import (
    FileEnvironment,
    FileEpisode,
    FileSettings,
    Reward,
)
from harness.workloads.envs.files.personas import role_of, slots
from harness.workloads.envs.files.protocol import STOP_WORD, PromptStyle
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import append_tasks, begun_tasks, read_tasks
from harness.workloads.inference.vllm import installed
from harness.workloads.models.adapter import base_identity
from harness.workloads.rl.rollout import RolloutLog
from harness.workloads.rl.runner import EnginePolicy, Runner
from harness.workloads.tiny_models.checkpoint import tiny_model
from harness.workloads.training.params import SMALL
from harness.workloads.training.policy import (
    ServedPolicy,
    open_policy,
    sampling_params,
)

TASKS = "tasks.jsonl"
_AUTHORS = (
    "harness.workloads.envs.files.author",
    "harness.workloads.envs.files.template_author",
    "harness.workloads.envs.files.llm_author",
    "harness.workloads.envs.files.task_json",
)
_STOP_TASKS = 16  # whose every turn is asked for the probability of stopping


@dataclass(frozen=True, kw_only=True)
class FileAgentResources:
    """Everything open.

    Attributes:
        tasks: all of them, by id.
        sft_data: what is imitated, and who showed it.
        writing: the step that wrote the tasks.
        model: the base that is trained (`base_identity`).
        pool: those that may be trained on.
        held_out: those that never are.
        sandboxes: where commands run.
        runner: plays rollouts in them.
        served: the policy.
        trained_on: ids of the tasks that training has been shown or has played so far.
    """

    context: Context
    params: AgentParams
    tasks: Mapping[str, Task]
    sft_data: SftData
    writing: Step
    model: str
    pool: tuple[Task, ...]
    held_out: tuple[Task, ...]
    sandboxes: Sandboxes
    runner: Runner[Task, FileEpisode]
    served: ServedPolicy
    trained_on: set[str] = field(default_factory=set)

    @property
    def seed(self) -> int:
        """The run's."""
        return self.context.spec.seed

    @cached_property
    def evaluated(self) -> frozenset[str]:
        """Ids of the tasks that policies are compared on; in a rehearsal some of either side."""
        at_once = self.params.max_concurrency
        sides = portion(self.held_out, at_once), portion(self.pool, at_once // 4)
        return frozenset(task.task_id for side in sides for task in side)

    @property
    def reads(self) -> Mapping[str, str]:
        """What every step reads that plays or trains: tasks, and how they are split."""
        return {
            "tasks": self.writing.digest(),
            "demonstrations": self.sft_data.step.digest(),
        }

    @property
    def plays(self) -> Mapping[str, Any]:
        """What decides a rollout beside policy, task and sampling, as params of a step."""
        return {
            "model": self.model,
            "dtype": self.params.dtype,
            "max_model_len": self.params.max_model_len,
            "environment": self.runner.environment().settings,
            "reward": getattr(self.params, "reward", Reward.SHAPED),
            "sandbox": self.sandboxes.kind.value,
        }

    @cached_property
    def stop_chances(self) -> tuple[StopChance, ...]:
        """Conversations in which the work is done and the turns go on, alike for every policy.

        They are the oracles of some held-out tasks, each going on until its turns are over: article
        32's demonstrations, made on tasks that no policy has imitated.
        """
        tasks = self.held_out[:: max(1, len(self.held_out) // _STOP_TASKS)]
        style = PromptStyle(self.params.prompt_style)
        return tuple(
            StopChance(
                trace=retold(rollout, task, self.served.chat_template, style),
                work=len(task.oracle),
            )
            for task, rollout in zip(tasks, looking_around(tasks, style), strict=True)
        )

    def policy(self, name: str) -> EnginePolicy:
        """Return the weights that the engine has now, as policies are compared."""
        return EnginePolicy(
            name=name,
            engine=self.served.engine,
            chat_template=self.served.chat_template,
            sampling=sampling_params(self.params, self.seed),
        )


@contextmanager
def open_resources(context: Context) -> Iterator[FileAgentResources]:
    """Write the tasks, load and serve the policy; end everything with the block."""
    params: AgentParams = context.params
    torch.set_num_threads(params.num_threads)
    writing, tasks = write(context)
    folder = tiny_model("files") if params.model == SMALL else context.model(params.model)
    settings = FileSettings(
        prompt_style=PromptStyle(params.prompt_style),
        reward=Reward(getattr(params, "reward", Reward.SHAPED)),
    )
    with ExitStack() as stack:
        assert context.spec.sandbox is not None, "a plan decides it for every run of this workload"
        sandboxes = stack.enter_context(open_sandboxes(context.spec.sandbox))
        progress.tell("make demonstrations")
        shown = sft_data(context, writing, tasks, sandboxes)
        progress.tell("load and serve the policy")
        served = stack.enter_context(
            open_policy(
                context,
                folder,
                "policy",
                max_model_len=params.max_model_len,
                max_concurrency=params.max_concurrency,
            )
        )
        served.chat_template.exactly(STOP_WORD)  # what a model cannot say it never learns
        yield FileAgentResources(
            context=context,
            params=params,
            tasks={task.task_id: task for task in tasks},
            sft_data=shown,
            writing=writing,
            model=base_identity(folder),
            pool=shown.pool,
            held_out=chosen(shown.held_out, params.num_eval_examples),
            sandboxes=sandboxes,
            runner=Runner(
                environment=partial(FileEnvironment, sandboxes.make, settings),
                log=RolloutLog(context.out / "rollouts.jsonl", FileEpisode),
                max_concurrency=params.max_concurrency,
            ),
            served=served,
        )


def write(context: Context) -> tuple[Step, tuple[Task, ...]]:
    """Write the tasks, and keep them with the run.

    A writer that is killed goes on behind the last task that is whole.

    Raises:
        HostError: a slot has no task; what is held out would be another set than the article's.
    """
    params: AgentParams = context.params
    progress.tell("write tasks")
    wanted = tuple(slots(params.per_persona, params.task_seed))
    decides: dict[str, Any] = {
        "author": params.author,
        "per_persona": params.per_persona,
        "seed": params.task_seed,
    }
    if params.author == "llm":
        decides |= {"model": params.author_model, "attempts": params.attempts}
        if not params.author_base_url:
            decides["engine"] = installed()
    with context.steps.step(
        "tasks", decides=decides, code=_AUTHORS, portable=True, keeps=(TASKS,)
    ) as step:
        if step.is_new:
            path = step.folder / TASKS
            known = {task.task_id for task in begun_tasks(path)}
            failures = dict[str, str]()
            with opened_author(context) as author:
                for slot in wanted:
                    if slot.task_id not in known:
                        written = synthesise(author, (slot,))
                        append_tasks(path, written.tasks)
                        failures.update(written.failures)
            if failures:
                causes = "; ".join(f"{task}: {cause}" for task, cause in failures.items())
                message = f"{len(failures)} tasks were not written: {causes}"
                raise HostError(message, how_to_look(params))
    path = context.out / TASKS
    shutil.copyfile(step.folder / TASKS, path)
    context.emit.artefact("tasks", path)
    tasks = {task.task_id: task for task in read_tasks(path)}
    return step, tuple(tasks[slot.task_id] for slot in wanted)


def chosen(tasks: Sequence[Task], count: int) -> tuple[Task, ...]:
    """Return `count` of the tasks, each persona's share as equal as can be, in their order."""
    queues: dict[str, list[Task]] = {}
    for task in tasks:
        queues.setdefault(role_of(task.task_id), []).append(task)
    rows = range(max(map(len, queues.values()), default=0))
    in_turn = (own[row].task_id for row in rows for own in queues.values() if row < len(own))
    ids = set(islice(in_turn, count))
    return tuple(task for task in tasks if task.task_id in ids)
