"""What the policy is shown to imitate, and which tasks that leaves for its evaluation.

Article 32 lets one model play all tasks, and shows another one what passed or nearly did: those
tasks are the training pool, all others are held out. A held-out task is so one that the first model
failed, and the pool is easier by construction. Where no such model can be run, the split is the
article's by task id, and an oracle that never stops plays the pool.
"""

from __future__ import annotations

from harness.errors import HostError
from harness.experiments.a32_34.params import AgentParams
from harness.experiments.a32_34.settings import decoding_of, serve_of
from harness.records import record
from harness.sandbox.choice import Sandboxes
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.api.context import Context
from harness.workloads.envs.files.agent import EngineFilePolicy
from harness.workloads.envs.files.corpus import NEVER_STOPPING, worth_imitating
from harness.workloads.envs.files.personas import Split, split_of
from harness.workloads.envs.files.players import EpisodeSpec, run_episodes
from harness.workloads.envs.files.protocol import ParserVersion, PromptStyle
from harness.workloads.envs.files.rollout import FileRollout, RolloutLog, RolloutSettings
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import load_chat_template
from harness.workloads.inference.choice import serving_engine

TEACHER = "teacher"


@record
class Demonstrations:
    """What is imitated, and the two sides of the split.

    Attributes:
        rollouts: of tasks of the pool, one each.
        played: all that the demonstrator played; empty where there was none.
    """

    rollouts: tuple[FileRollout, ...]
    played: tuple[FileRollout, ...]
    pool: tuple[Task, ...]
    held_out: tuple[Task, ...]


def demonstrations(context: Context, tasks: tuple[Task, ...], boxes: Sandboxes) -> Demonstrations:
    """Return what the parameters ask for.

    Raises:
        HostError: the demonstrator did nothing worth imitating, or its model is not here.
    """
    params: AgentParams = context.params
    played: tuple[FileRollout, ...] = ()
    if params.sft_data == "rollouts":
        played = _demonstrated(context, tasks, boxes)
        shown = worth_imitating(played)
        ids = {each.task_id for each in shown}
    else:
        ids = {task.task_id for task in tasks if split_of(task.task_id) is Split.TRAIN}
        shown = _looking_around([task for task in tasks if task.task_id in ids], params)
    if not shown:
        message = f"{params.teacher} did nothing that is worth imitating"
        raise HostError(message, "choose another demonstrator")
    return Demonstrations(
        rollouts=shown,
        played=played,
        pool=tuple(task for task in tasks if task.task_id in ids),
        held_out=tuple(task for task in tasks if task.task_id not in ids),
    )


def _looking_around(pool: list[Task], params: AgentParams) -> tuple[FileRollout, ...]:
    rules = RolloutSettings(prompt_style=PromptStyle(params.prompt_style))
    with MemorySandbox() as box:
        return tuple(NEVER_STOPPING.play(task, 0, box, rules) for task in pool)


def _demonstrated(
    context: Context, tasks: tuple[Task, ...], boxes: Sandboxes
) -> tuple[FileRollout, ...]:
    """Let the demonstrator play every task, read by the parser that article 32 had."""
    params: AgentParams = context.params
    folder = context.model(params.teacher)
    chat_template = load_chat_template(folder)
    served = serve_of(context, folder, TEACHER)
    log_file = context.out / f"{TEACHER}.log"
    with serving_engine(served, chat_template.end, log_file) as engine:
        player = EngineFilePolicy(
            name=TEACHER, engine=engine, chat_template=chat_template, sampling=decoding_of(context)
        )
        return run_episodes(
            (EpisodeSpec(task=task) for task in tasks),
            player,
            boxes,
            RolloutLog(context.out / f"{TEACHER}.jsonl"),
            rules=RolloutSettings(
                parser=ParserVersion.PHASE5, prompt_style=PromptStyle(params.prompt_style)
            ),
            max_concurrency=params.max_concurrency,
        )
