"""Resources of one run of articles 32 to 34: tasks, sandboxes, engine, trainable policy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import torch

from harness.errors import HostError
from harness.experiments.a32_34.evaluation import StopChance
from harness.experiments.a32_34.params import AgentParams
from harness.experiments.a32_34.sft_data import SftData, looking_around, retold, sft_data
from harness.experiments.a32_34.tasks import author_of
from harness.sandbox.choice import Sandboxes, open_sandboxes
from harness.workloads.api import progress
from harness.workloads.api.context import Context
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
from harness.workloads.envs.files.task_json import write_tasks
from harness.workloads.rl.rollout import RolloutLog
from harness.workloads.rl.runner import EnginePolicy, Runner
from harness.workloads.tiny_models.checkpoint import tiny_model
from harness.workloads.training.params import SMALL
from harness.workloads.training.policy import (
    ServedPolicy,
    open_policy,
    sampling_params,
)

_STOP_TASKS = 16  # whose every turn is asked for the probability of stopping


@dataclass(frozen=True, kw_only=True)
class FileAgentResources:
    """Everything open.

    Attributes:
        tasks: all of them, by id.
        sft_data: what is imitated, and who showed it.
        writing_s: what writing the tasks took, seconds.
        pool: those that may be trained on.
        held_out: those that never are.
        sandboxes: where commands run.
        runner: plays rollouts in them.
        served: the policy.
    """

    context: Context
    params: AgentParams
    tasks: Mapping[str, Task]
    sft_data: SftData
    writing_s: float
    pool: tuple[Task, ...]
    held_out: tuple[Task, ...]
    sandboxes: Sandboxes
    runner: Runner[Task, FileEpisode]
    served: ServedPolicy

    @property
    def seed(self) -> int:
        """The run's."""
        return self.context.spec.seed

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
    began = time.monotonic()
    tasks = write(context)
    writing_s = time.monotonic() - began
    folder = tiny_model("files") if params.model == SMALL else context.model(params.model)
    settings = FileSettings(
        prompt_style=PromptStyle(params.prompt_style),
        reward=Reward(getattr(params, "reward", Reward.SHAPED)),
    )
    with ExitStack() as stack:
        assert context.spec.sandbox is not None, "a plan decides it for every run of this workload"
        sandboxes = stack.enter_context(open_sandboxes(context.spec.sandbox))
        progress.tell("make demonstrations")
        shown = sft_data(context, tasks, sandboxes)
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
            writing_s=writing_s,
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


def write(context: Context) -> tuple[Task, ...]:
    """Write the tasks, and keep them with the run.

    Raises:
        HostError: a slot has no task; what is held out would be another set than the article's.
    """
    params: AgentParams = context.params
    progress.tell("write tasks")
    written = synthesise(author_of(params), slots(params.per_persona, params.task_seed))
    if written.failures:
        causes = "; ".join(f"{task}: {cause}" for task, cause in written.failures.items())
        message = f"{len(written.failures)} tasks were not written: {causes}"
        raise HostError(message, f"curl {params.author_base_url}/models")
    path = context.out / "tasks.jsonl"
    write_tasks(path, written.tasks)
    context.emit.artefact("tasks", path)
    return written.tasks


def chosen(tasks: Sequence[Task], count: int) -> tuple[Task, ...]:
    """Return `count` of the tasks, each persona's share as equal as can be, in their order."""
    queues: dict[str, list[Task]] = {}
    for task in tasks:
        queues.setdefault(role_of(task.task_id), []).append(task)
    rows = range(max(map(len, queues.values()), default=0))
    in_turn = (own[row].task_id for row in rows for own in queues.values() if row < len(own))
    ids = set(islice(in_turn, count))
    return tuple(task for task in tasks if task.task_id in ids)
