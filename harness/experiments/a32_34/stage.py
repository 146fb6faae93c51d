"""What a run of this room holds open: tasks, boxes, a served policy, and the same one to train."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch

from harness.errors import HostError
from harness.experiments.a32_34.demonstrations import Demonstrations, demonstrations
from harness.experiments.a32_34.params import SMALL, AgentParams
from harness.experiments.a32_34.settings import compute_of, lora_of, serve_of
from harness.experiments.a32_34.tasks import author_of
from harness.sandbox.choice import Sandboxes, open_sandboxes
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.api.context import Context
from harness.workloads.envs.files.author import synthesise
from harness.workloads.envs.files.corpus import NEVER_STOPPING, retold
from harness.workloads.envs.files.personas import role_of, slots
from harness.workloads.envs.files.protocol import ParserVersion, PromptStyle
from harness.workloads.envs.files.rollout import RolloutLog, RolloutSettings
from harness.workloads.envs.files.stopping import Chance
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import write_tasks
from harness.workloads.inference.chat_template import ChatTemplate, load_chat_template
from harness.workloads.inference.choice import serving_engine
from harness.workloads.inference.engine import Engine
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.tiny_models.checkpoint import tiny_model

_LOG = "rollouts.jsonl"
_STOP_TASKS = 16  # whose every turn is asked for the probability of stopping


@dataclass(kw_only=True)
class FileAgentResources:
    """Everything open.

    Attributes:
        tasks: all of them, by id.
        sft_data: what is imitated, and who showed it.
        writing_s: what writing the tasks took, seconds.
        pool: those that may be trained on.
        held_out: those that never are.
        sandboxes: where commands run.
        rules: of every rollout.
        log: takes every rollout.
        engine: serves the policy, with whatever adapter it was given last.
        chat_template: of the policy.
        policy: the same model, with gradients.
        refreshes_s: what giving the engine new weights took, each, seconds.
    """

    context: Context
    params: AgentParams
    tasks: Mapping[str, Task]
    sft_data: Demonstrations
    writing_s: float
    pool: tuple[Task, ...]
    held_out: tuple[Task, ...]
    sandboxes: Sandboxes
    rules: RolloutSettings
    log: RolloutLog
    engine: Engine
    chat_template: ChatTemplate
    policy: LoraPolicy
    refreshes_s: list[float] = field(default_factory=list)

    @cached_property
    def chances(self) -> list[Chance]:
        """Conversations in which the work is done and the turns go on, alike for every policy.

        They are the oracles of some held-out tasks, each going on until its turns are over: article
        32's demonstrations, made on tasks that no policy has imitated.
        """
        found = []
        with MemorySandbox() as box:
            for task in self.held_out[:: max(1, len(self.held_out) // _STOP_TASKS)]:
                rollout = NEVER_STOPPING.play(task, 0, box, self.rules)
                trace = retold(rollout, task, self.chat_template)
                found.append(Chance(trace=trace, work=len(task.oracle)))
        return found

    def adapter(self, name: str) -> Path:
        """Return where the weights called `name` are, or will be."""
        return self.context.out / "adapters" / name

    def serve(self, name: str) -> None:
        """Save the policy's weights under a new name, and let the engine answer with them."""
        folder = self.adapter(name)
        self.policy.save(folder)
        self.answer_with(folder)

    def answer_with(self, adapter: Path | None) -> None:
        """Let the engine answer with these weights; None for the model as it was published."""
        if adapter is not None and self.engine.served == adapter.name:
            return
        began = time.monotonic()
        self.engine.refresh(adapter)
        self.refreshes_s.append(time.monotonic() - began)


@contextmanager
def open_resources(context: Context) -> Iterator[FileAgentResources]:
    """Write the tasks, load and serve the policy; end everything with the block."""
    params: AgentParams = context.params
    torch.set_num_threads(params.num_threads)
    began = time.monotonic()
    tasks = write(context)
    writing_s = time.monotonic() - began
    folder = tiny_model("files") if params.model == SMALL else context.model(params.model)
    chat_template = load_chat_template(folder)
    with ExitStack() as stack:
        assert context.spec.sandbox is not None, "a plan decides it for every run of this workload"
        boxes = stack.enter_context(open_sandboxes(context.spec.sandbox))
        shown = demonstrations(context, tasks, boxes)
        policy = LoraPolicy.open(folder, lora_of(context), compute_of(params))
        engine = stack.enter_context(
            serving_engine(
                serve_of(context, folder, "policy", params.lora_rank),
                chat_template.end,
                context.out / "server.log",
            )
        )
        yield FileAgentResources(
            context=context,
            params=params,
            tasks={task.task_id: task for task in tasks},
            sft_data=shown,
            writing_s=writing_s,
            pool=shown.pool,
            held_out=chosen(shown.held_out, params.num_eval_examples),
            sandboxes=boxes,
            rules=RolloutSettings(
                parser=ParserVersion.PHASE6, prompt_style=PromptStyle(params.prompt_style)
            ),
            log=RolloutLog(context.out / _LOG),
            engine=engine,
            chat_template=chat_template,
            policy=policy,
        )


def write(context: Context) -> tuple[Task, ...]:
    """Write the tasks, and keep them with the run.

    Raises:
        HostError: a slot has no task; what is held out would be another set than the article's.
    """
    params: AgentParams = context.params
    seed = params.task_seed
    written = synthesise(author_of(params), slots(params.per_persona, seed))
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
    ids = set(islice(_in_turn(list(queues.values())), count))
    return tuple(task for task in tasks if task.task_id in ids)


def _in_turn(queues: list[list[Task]]) -> Iterator[str]:
    for row in range(max(map(len, queues), default=0)):
        yield from (queue[row].task_id for queue in queues if row < len(queue))
