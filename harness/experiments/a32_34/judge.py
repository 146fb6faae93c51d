"""Playing policies on the same tasks, and reporting what each earns and how they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from harness.experiments.a32_34.evaluation_report import (
    report_comparison,
    report_policy,
    report_stopping,
)
from harness.experiments.a32_34.settings import decoding_of
from harness.experiments.a32_34.stage import FileAgentResources
from harness.workloads.envs.files.agent import EngineFilePolicy
from harness.workloads.envs.files.evaluate import PolicyEvaluation, compare, evaluate
from harness.workloads.envs.files.players import NOTHING, FilePolicy
from harness.workloads.envs.files.stopping import stop_probability
from harness.workloads.envs.files.task import Task


def play(resources: FileAgentResources, name: str, tasks: Sequence[Task]) -> PolicyEvaluation:
    """Have what the engine serves now play `tasks`, filed under `name`."""
    player = EngineFilePolicy(
        name=name,
        engine=resources.engine,
        chat_template=resources.chat_template,
        sampling=decoding_of(resources.context),
    )
    return _played(resources, player, tasks)


def judge(resources: FileAgentResources, name: str, adapter: Path | None) -> PolicyEvaluation:
    """Serve a policy, have it play the held-out tasks, and report all that this says."""
    resources.answer_with(adapter)
    found = play(resources, name, resources.held_out)
    report(resources, found)
    return found


def report(resources: FileAgentResources, found: PolicyEvaluation) -> None:
    """Report an evaluation of the weights that the engine answers with."""
    report_policy(resources.context.emit, found)
    asked = stop_probability(resources.engine, resources.chat_template, resources.chances)
    report_stopping(resources.context.emit, found.policy, asked)


def judge_nobody(resources: FileAgentResources) -> PolicyEvaluation:
    """Report what doing nothing earns on the held-out tasks."""
    found = _played(resources, NOTHING, resources.held_out)
    report_policy(resources.context.emit, found)
    return found


def report_differences(
    resources: FileAgentResources, pairs: Iterable[tuple[PolicyEvaluation, PolicyEvaluation]]
) -> None:
    """Report every pair, the first less the second."""
    for one, other in pairs:
        report_comparison(resources.context.emit, one.policy, other.policy, compare(one, other))


def report_serving(resources: FileAgentResources) -> None:
    """Report what served the policy, and what new weights took."""
    emit = resources.context.emit
    emit.measured("serve.engine", resources.engine.identity)
    emit.measured("serve.sandbox", resources.sandboxes.kind.value)
    emit.note(resources.sandboxes.note)
    count = len(resources.refreshes_s)
    emit.measured("serve.weight_sync_time", fmean(resources.refreshes_s), count=count)


def _played(
    resources: FileAgentResources, player: FilePolicy, tasks: Sequence[Task]
) -> PolicyEvaluation:
    return evaluate(
        player,
        tasks,
        resources.sandboxes,
        resources.log,
        rules=resources.rules,
        threads=resources.params.max_concurrency,
    )
