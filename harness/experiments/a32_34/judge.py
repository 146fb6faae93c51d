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
from harness.experiments.a32_34.stage import Stage
from harness.workloads.envs.files.agent import EnginePlayer
from harness.workloads.envs.files.evaluate import Evaluation, compare, evaluate
from harness.workloads.envs.files.players import NOTHING, Player
from harness.workloads.envs.files.stopping import stop_probability
from harness.workloads.envs.files.task import Task


def play(stage: Stage, name: str, tasks: Sequence[Task]) -> Evaluation:
    """Have what the engine serves now play `tasks`, filed under `name`."""
    player = EnginePlayer(
        name=name,
        engine=stage.engine,
        dialogue=stage.dialogue,
        sampling=decoding_of(stage.context),
    )
    return _played(stage, player, tasks)


def judge(stage: Stage, name: str, adapter: Path | None) -> Evaluation:
    """Serve a policy, have it play the held-out tasks, and report all that this says."""
    stage.answer_with(adapter)
    found = play(stage, name, stage.held_out)
    report(stage, found)
    return found


def report(stage: Stage, found: Evaluation) -> None:
    """Report an evaluation of the weights that the engine answers with."""
    report_policy(stage.context.emit, found)
    asked = stop_probability(stage.engine, stage.dialogue, stage.chances)
    report_stopping(stage.context.emit, found.policy, asked)


def judge_nobody(stage: Stage) -> Evaluation:
    """Report what doing nothing earns on the held-out tasks."""
    found = _played(stage, NOTHING, stage.held_out)
    report_policy(stage.context.emit, found)
    return found


def report_differences(stage: Stage, pairs: Iterable[tuple[Evaluation, Evaluation]]) -> None:
    """Report every pair, the first less the second."""
    for one, other in pairs:
        report_comparison(stage.context.emit, one.policy, other.policy, compare(one, other))


def report_serving(stage: Stage) -> None:
    """Report what served the policy, and what new weights took."""
    emit = stage.context.emit
    emit.measured("serve.engine", stage.engine.identity)
    emit.measured("serve.boxes", stage.boxes.kind.value)
    emit.note(stage.boxes.note)
    count = len(stage.refreshes_s)
    emit.measured("serve.refresh", fmean(stage.refreshes_s), count=count)


def _played(stage: Stage, player: Player, tasks: Sequence[Task]) -> Evaluation:
    return evaluate(
        player, tasks, stage.boxes, stage.log, rules=stage.rules, threads=stage.params.threads
    )
