"""Reporting evaluations as figures, by the names of `declare.AGENT` and `evaluation_declare`."""

from __future__ import annotations

from harness.experiments.a32_34 import counts
from harness.statistics import wilson
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.files.evaluate import (
    Comparison,
    PairedDifference,
    ParserSplit,
    PolicyEvaluation,
    ReparsedRollouts,
)
from harness.workloads.envs.files.protocol import ParserVersion
from harness.workloads.envs.files.stopping import StopProbability


def report_policy(emit: EventWriter, found: PolicyEvaluation) -> None:
    """Report everything that one player's rollouts say."""
    where = {"policy": found.policy}
    graded = len(found.graded)
    for rates in (counts.RATES, counts.WALL):
        rates.report(emit, _counts(found), where)
    emit.measured("agent.mean_turns", found.mean_turns, where=where, count=graded)
    emit.measured("agent.rollout_errors", found.num_errors, where=where)
    interval = found.assertions_interval
    emit.measured("agent.assertion_pass_rate_low", 100 * interval.low, where=where, count=graded)
    emit.measured("agent.assertion_pass_rate_high", 100 * interval.high, where=where, count=graded)
    interval = wilson(found.stop_rate)
    emit.measured("agent.stop_rate_low", 100 * interval.low, where=where, count=graded)
    emit.measured("agent.stop_rate_high", 100 * interval.high, where=where, count=graded)
    emit.measured("agent.environment_share", 100 * found.environment_share, where=where)
    _report_parts(emit, found)


def _counts(found: PolicyEvaluation) -> counts.PrintedEvaluation:
    rates = found.rates
    return counts.PrintedEvaluation(
        tasks=rates.tasks,
        tasks_passed=rates.tasks_passed,
        assertions=rates.assertions,
        assertions_passed=rates.assertions_passed,
        stop_rate=found.stop_rate.successes,
        mean_turns=found.mean_turns,
        mean_wall_s=found.wall_s / len(found.graded),
        wall_s=found.wall_s,
    )


def _report_parts(emit: EventWriter, found: PolicyEvaluation) -> None:
    where = {"policy": found.policy}
    for reason, count in found.stops.items():
        share = 100 * count / len(found.rollouts)
        emit.measured("agent.stop_reason", share, where={**where, "reason": reason.value})
    for persona, rates in found.by_persona.items():
        share = 100 * rates.tasks_passed / rates.tasks
        by = {**where, "persona": persona}
        emit.measured("agent.pass_rate_by_persona", share, where=by, count=rates.tasks)
    for kind, held in found.by_kind.items():
        by = {**where, "kind": kind.value}
        emit.measured(
            "agent.assertion_pass_rate_by_kind", 100 * held.rate, where=by, count=held.trials
        )


def report_comparison(emit: EventWriter, policy: str, other: str, found: Comparison) -> None:
    """Report by how much `policy` differs from `other`."""
    where = {"policy": policy, "other": other}

    def report(name: str, difference: PairedDifference, factor: float) -> None:
        emit.measured(name, factor * difference.value, where=where, count=found.tasks)
        ends = {"low": difference.interval.low, "high": difference.interval.high}
        for end, value in ends.items():
            emit.measured(f"{name}_{end}", factor * value, where=where, count=found.tasks)

    report("agent.pass_rate_difference", found.pass_rate, 100)
    report("agent.assertion_pass_rate_difference", found.assertion_pass_rate, 100)
    report("agent.stop_rate_difference", found.stop_rate, 100)
    report("agent.turns_difference", found.turns, 1)
    for name, difference in (
        ("agent.pass_rate_paired_p", found.pass_rate),
        ("agent.stop_rate_paired_p", found.stop_rate),
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


def report_replay(
    emit: EventWriter, found: PolicyEvaluation, parser: ParserVersion, by: ReparsedRollouts
) -> None:
    """Report what another parser would have made of a player's rollouts."""
    where = {"policy": found.policy, "parser": parser.value}
    turns = found.mean_turns - by.turns_saved / by.rollouts
    complete = 100 * by.stopped / by.rollouts
    emit.measured("agent.reparsed_stop_rate", complete, where=where, count=by.rollouts)
    emit.measured("agent.reparsed_turns", turns, where=where, count=by.rollouts)


def report_parser_split(emit: EventWriter, by: str, found: ParserSplit) -> None:
    """Report where clean stops come from; `by` says how the parsers were matched."""
    emit.measured("stop.by_parser", 100 * found.by_parser, where={"source": by})
    emit.measured("stop.by_training", 100 * found.by_training, where={"source": by})
