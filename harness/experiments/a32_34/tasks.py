"""Workload ``clawgym.tasks``: write tasks, lint them, and run baselines."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness.errors import HostError
from harness.experiments.a32_34.evaluation import PolicyEvaluation
from harness.experiments.a32_34.params import AUTHOR_CACHE_GIB, TasksParams
from harness.records import Scalar
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.files.author import TaskAuthor, synthesise
from harness.workloads.envs.files.environment import (
    FileEnvironment,
    FileEpisode,
    nothing,
    oracle,
)
from harness.workloads.envs.files.grade import BaselineRates, do_nothing
from harness.workloads.envs.files.lint import LintRule, lint, linted
from harness.workloads.envs.files.llm_author import LlmAuthor
from harness.workloads.envs.files.personas import Split, slots, split_of
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import write_tasks
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.inference.chat import Endpoint
from harness.workloads.inference.opened_chat import opened_chat
from harness.workloads.rl.rollout import RolloutLog
from harness.workloads.rl.runner import Runner, ScriptedPolicy

AUTHOR = "author"
_AUTHOR_MODEL_LEN = 8192  # a prompt of some 2000 tokens, and a reply of 1500
NOTHING = ScriptedPolicy(name="nothing", script=nothing)
ORACLE = ScriptedPolicy(name="oracle", script=oracle)


def run(context: Context) -> None:
    """Write the tasks of every slot; keep, lint and play them."""
    emit, params = context.emit, context.params
    emit.started("no device: tasks are text")
    began = time.monotonic()
    with opened_author(context) as author:
        written = synthesise(author, slots(params.per_persona, context.spec.seed))
    wall_s = time.monotonic() - began
    for task_id, cause in written.failures.items():
        emit.note(f"{task_id} has no task: {cause}")
    if not written.tasks:
        message = "not one task was written; the notes of the run say why"
        raise HostError(message, how_to_look(params))

    path = context.out / "tasks.jsonl"
    write_tasks(path, written.tasks)
    emit.artefact("tasks", path)
    emit.measured("tasks.failed", len(written.failures))
    emit.measured("synthesis.time", wall_s)
    emit.measured("synthesis.task_time", wall_s / (len(written.tasks) + len(written.failures)))
    report_tasks(emit, written.tasks)
    report_findings(emit, written.tasks)
    for split in Split:
        tasks = [task for task in written.tasks if split_of(task.task_id) is split]
        report_baselines(emit, context.out, tasks, split)


@contextmanager
def opened_author(context: Context) -> Iterator[TaskAuthor]:
    """Give the author that the parameters name; a server that is started for it ends here.

    So nothing else needs memory while a model writes: demonstrations, training and evaluation begin
    once its server is gone.

    Raises:
        HostError: its model, or what serves it, is not here.
        EngineError: the server does not start.
    """
    params: TasksParams = context.params
    if params.author == "template":
        yield TemplateAuthor()
        return
    at = Endpoint(base_url=params.author_base_url, model=params.author_model)
    size = {"max_model_len": _AUTHOR_MODEL_LEN, "kv_cache_gib": AUTHOR_CACHE_GIB}
    with opened_chat(context, AUTHOR, at, **size) as endpoint:
        yield LlmAuthor(endpoint, params.attempts)


def how_to_look(params: TasksParams) -> str:
    """Return the command that shows what is wrong with an author."""
    if params.author_base_url:
        return f"curl {params.author_base_url}/models"
    return f"less {AUTHOR}.log  # in the run's folder"


def report_tasks(emit: EventWriter, tasks: tuple[Task, ...]) -> None:
    """Report how many tasks there are, and how large they are."""
    emit.measured("tasks.count", len(tasks))
    for split in Split:
        found = sum(split_of(task.task_id) is split for task in tasks)
        emit.measured("split.total", found, where={"split": split.value})
    count = len(tasks)
    sizes = [len(task.assertions) for task in tasks]
    emit.measured("tasks.assertions", statistics.fmean(sizes), count=count)
    steps = [task.estimated_steps for task in tasks]
    emit.measured("tasks.steps", statistics.fmean(steps), count=count)


def report_findings(emit: EventWriter, tasks: tuple[Task, ...]) -> None:
    """Report how often each rule of the linter finds something, and in how many tasks."""
    findings = lint(tasks)
    by_rule = Counter(finding.rule for finding in findings)
    for rule in LintRule:
        emit.measured("lint.findings", by_rule[rule], where={"rule": rule.value})
    emit.measured("lint.tasks", len({finding.task_id for finding in findings}))


def report_baselines(emit: EventWriter, folder: Path, tasks: Iterable[Task], split: Split) -> None:
    """Report the scores of doing nothing and of the oracle, with and without faulty assertions.

    The oracle's rollouts go into `folder`.
    """
    given = tuple(tasks)
    where = {"policy": "nothing", "split": split.value}
    _report_rates(emit, do_nothing(given), {**where, "assertions": "all"})
    _report_rates(emit, do_nothing(map(linted, given)), {**where, "assertions": "linted"})

    solved = [task for task in given if task.oracle]
    if not solved:
        return  # only a template author leaves commands
    runner = Runner(
        environment=partial(FileEnvironment, MemorySandbox),
        max_concurrency=1,
        log=RolloutLog(folder / "oracle.jsonl", FileEpisode),
    )
    played = runner.run(ORACLE, solved, max_errors=0)
    where = {"policy": "oracle", "split": split.value}
    found = PolicyEvaluation(policy=ORACLE.name, rollouts=played)
    _report_rates(emit, found.rates, {**where, "assertions": "all"})
    turns = statistics.fmean(len(each.episode.turns) for each in played)
    emit.measured("baseline.turns", turns, where={"split": split.value}, count=len(played))


def _report_rates(emit: EventWriter, found: BaselineRates, where: Mapping[str, Scalar]) -> None:
    pairs = (
        ("baseline.pass_rate", found.tasks_passed, found.tasks),
        ("baseline.assertion_pass_rate", found.assertions_passed, found.assertions),
    )
    for metric, passed, total in pairs:
        share = 100 * passed / total if total else None
        emit.measured(metric, share, where=where, count=total, absent="" if total else "no tasks")
