"""Reporting evaluations as figures, by the names of `declare.AGENT` and `evaluation_declare`."""

from __future__ import annotations

from harness.experiments.a32_34 import counts
from harness.statistics import wilson
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.files.evaluate import (
    Comparison,
    Difference,
    Evaluation,
    ParserSplit,
    Replay,
)
from harness.workloads.envs.files.protocol import ParserVersion
from harness.workloads.envs.files.stopping import StopProbability


def report_policy(emit: EventWriter, found: Evaluation) -> None:
    """Report everything that one player's rollouts say."""
    where = {"policy": found.policy}
    graded = len(found.graded)
    for rates in (counts.RATES, counts.WALL):
        rates.report(emit, _counts(found), where)
    emit.measured("agent.mean_turns", found.mean_turns, where=where, count=graded)
    emit.measured("agent.broken", found.num_broken, where=where)
    interval = found.assertions_interval
    emit.measured("agent.assertions_low", 100 * interval.low, where=where, count=graded)
    emit.measured("agent.assertions_high", 100 * interval.high, where=where, count=graded)
    interval = wilson(found.task_complete)
    emit.measured("agent.task_complete_low", 100 * interval.low, where=where, count=graded)
    emit.measured("agent.task_complete_high", 100 * interval.high, where=where, count=graded)
    emit.measured("agent.environment_share", 100 * found.environment_share, where=where)
    _report_parts(emit, found)


def _counts(found: Evaluation) -> counts.Evaluation:
    rates = found.rates
    return counts.Evaluation(
        tasks=rates.tasks,
        tasks_passed=rates.tasks_passed,
        assertions=rates.assertions,
        assertions_passed=rates.assertions_passed,
        task_complete=found.task_complete.successes,
        mean_turns=found.mean_turns,
        mean_wall_s=found.wall_s / len(found.graded),
        wall_s=found.wall_s,
    )


def _report_parts(emit: EventWriter, found: Evaluation) -> None:
    where = {"policy": found.policy}
    for reason, count in found.stops.items():
        share = 100 * count / len(found.rollouts)
        emit.measured("agent.stops", share, where={**where, "reason": reason.value})
    for persona, rates in found.by_persona.items():
        share = 100 * rates.tasks_passed / rates.tasks
        by = {**where, "persona": persona}
        emit.measured("agent.persona_pass", share, where=by, count=rates.tasks)
    for kind, held in found.by_kind.items():
        by = {**where, "kind": kind.value}
        emit.measured("agent.kind_assertions", 100 * held.rate, where=by, count=held.trials)


def report_comparison(emit: EventWriter, policy: str, other: str, found: Comparison) -> None:
    """Report by how much `policy` differs from `other`."""
    where = {"policy": policy, "other": other}

    def report(name: str, difference: Difference, factor: float) -> None:
        emit.measured(name, factor * difference.value, where=where, count=found.tasks)
        ends = {"low": difference.interval.low, "high": difference.interval.high}
        for end, value in ends.items():
            emit.measured(f"{name}_{end}", factor * value, where=where, count=found.tasks)

    report("agent.task_pass_difference", found.task_pass, 100)
    report("agent.assertions_difference", found.assertions, 100)
    report("agent.task_complete_difference", found.task_complete, 100)
    report("agent.turns_difference", found.turns, 1)
    for name, difference in (
        ("agent.task_pass_paired_p", found.task_pass),
        ("agent.task_complete_paired_p", found.task_complete),
    ):
        emit.measured(name, difference.p, where=where, count=found.tasks)


def report_stopping(emit: EventWriter, policy: str, found: StopProbability) -> None:
    """Report how likely a player stops before and after its work."""
    where = {"policy": policy}
    for name, value, count in (
        ("agent.stop_early", found.early, found.num_early),
        ("agent.stop_late", found.late, found.num_late),
    ):
        absent = "" if count else "there is no such turn"
        emit.measured(name, value, where=where, count=count, absent=absent)


def report_replay(emit: EventWriter, found: Evaluation, parser: ParserVersion, by: Replay) -> None:
    """Report what another parser would have made of a player's rollouts."""
    where = {"policy": found.policy, "parser": parser.value}
    turns = found.mean_turns - by.turns_saved / by.rollouts
    complete = 100 * by.complete / by.rollouts
    emit.measured("agent.replayed_complete", complete, where=where, count=by.rollouts)
    emit.measured("agent.replayed_turns", turns, where=where, count=by.rollouts)


def report_parser_split(emit: EventWriter, by: str, found: ParserSplit) -> None:
    """Report where clean stops come from; `by` says how the parsers were matched."""
    emit.measured("stop.by_parser", 100 * found.by_parser, where={"by": by})
    emit.measured("stop.by_training", 100 * found.by_training, where={"by": by})
