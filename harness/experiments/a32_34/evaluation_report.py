"""Run policies on held-out tasks; report their scores and how they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.experiments.a32_34 import counts
from harness.experiments.a32_34.evaluation import (
    Comparison,
    PairedDifference,
    ParserSplit,
    PolicyEvaluation,
    ReparsedRollouts,
    StopProbability,
    compare,
    stop_probability,
)
from harness.experiments.a32_34.tasks import NOTHING
from harness.records import to_json
from harness.statistics import wilson
from harness.workloads.api import progress
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.files.environment import FileEpisode
from harness.workloads.envs.files.protocol import ParserVersion
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.observed import report_requests
from harness.workloads.rl.rollout import PLAYED, ROLLOUTS, RolloutLog
from harness.workloads.rl.runner import EnginePolicy, Policy
from harness.workloads.training.policy import WEIGHT_SYNC

# a step of these is what these modules make of its params
_PLAYING = (
    "harness.sandbox.choice",
    "harness.workloads.envs.files.environment",
    "harness.workloads.inference.choice",
    "harness.workloads.rl.runner",
)

if TYPE_CHECKING:  # it needs peft, which reporting does not
    from harness.experiments.a32_34.resources import FileAgentResources


def evaluate(
    resources: FileAgentResources,
    policy: Policy[Task],
    tasks: Sequence[Task],
    max_errors: int | None = None,
) -> PolicyEvaluation:
    """Run a policy on every task once: a step of the run.

    The weights are those that the engine is to answer with.

    Args:
        resources: of the run.
        policy: who plays.
        tasks: the tasks.
        max_errors: how many rollouts may break; None for 1 % of them.

    Raises:
        HostError: more of the rollouts broke.
    """
    progress.tell(f"evaluate {policy.name}")
    num_all = len(tasks)
    tasks = [task for task in tasks if task.task_id in resources.evaluated]
    decides: dict[str, Any] = {**resources.plays, "tasks": [task.task_id for task in tasks]}
    reads = {"tasks": resources.writing.digest()}
    if isinstance(policy, EnginePolicy):
        decides |= {"engine": policy.identity, "sampling": to_json(policy.sampling)}
        reads["weights"] = resources.served.version
    with resources.context.steps.step(
        f"evaluation {policy.name}", decides=decides, reads=reads, code=_PLAYING, keeps=PLAYED
    ) as step:
        if step.is_new:
            if isinstance(policy, EnginePolicy):
                resources.served.settle(step)
            runner = resources.runner.into(step.folder / ROLLOUTS)
            played = runner.run_part(policy, tasks, num_all, max_errors=max_errors)
            step.is_whole = not any(each.is_error for each in played)  # else they are played again
    found = RolloutLog(step.folder / ROLLOUTS, FileEpisode).find(
        (policy.name, task.task_id, 0) for task in tasks
    )
    return PolicyEvaluation(policy=policy.name, rollouts=tuple(found.values()))


def judge(resources: FileAgentResources, name: str, weights: str | None) -> PolicyEvaluation:
    """Serve a policy, run it on the held-out tasks, and report every figure."""
    resources.served.answer_with(weights)
    found = evaluate(resources, resources.policy(name), resources.held_out)
    report_served(resources, found)
    return found


def judge_nothing(resources: FileAgentResources) -> PolicyEvaluation:
    """Report the score of an agent that does nothing, on the held-out tasks."""
    found = evaluate(resources, NOTHING, resources.held_out)
    report_policy(resources.context.emit, found)
    return found


def report_served(resources: FileAgentResources, found: PolicyEvaluation) -> None:
    """Report an evaluation of the weights that the engine is to answer with."""
    emit, served = resources.context.emit, resources.served
    report_policy(emit, found)
    seen = {each.task_id for each in found.rollouts} & resources.trained_on
    emit.measured("agent.tasks_trained", len(seen), where={"policy": found.policy})
    with resources.context.steps.step(
        f"stopping {found.policy}",
        decides={
            "model": resources.model,
            "dtype": resources.params.dtype,
            "engine": served.engine.identity,
            "max_model_len": resources.params.max_model_len,
            "prompt_style": resources.params.prompt_style,
            "tasks": [task.task_id for task in resources.held_out],
        },
        reads={"tasks": resources.writing.digest(), "weights": served.version},
        code=(*_PLAYING, "harness.experiments.a32_34.evaluation"),
    ) as step:
        if step.is_new:
            served.settle(step)
            asked = stop_probability(served.engine, served.chat_template, resources.stop_chances)
            report_stopping(emit, found.policy, asked)


def report_serving(resources: FileAgentResources) -> None:
    """Report what served the policy, and what new weights took."""
    emit = resources.context.emit
    took_s = [
        seconds
        for step in resources.context.steps.done
        for seconds in step.facts.get(WEIGHT_SYNC, ())
    ]
    emit.measured("serve.engine", resources.served.engine.identity)
    report_requests(emit, resources.context.steps.folders)
    emit.measured("serve.sandbox", resources.sandboxes.kind.value)
    emit.note(resources.sandboxes.note)
    emit.measured("serve.weight_sync_time", fmean(took_s), count=len(took_s))


# --- Figures --------------------------------------------------------------------------------------


def report_policy(emit: EventWriter, found: PolicyEvaluation) -> None:
    """Report every figure of one policy's rollouts."""
    where = {"policy": found.policy}
    graded = len(found.graded)
    for figures in (counts.RATES, counts.WALL):
        rates = found.rates
        figures.report(
            emit,
            counts.PrintedEvaluation(
                tasks=rates.tasks,
                tasks_passed=rates.tasks_passed,
                assertions=rates.assertions,
                assertions_passed=rates.assertions_passed,
                stop_rate=found.task_complete.successes,
                mean_turns=found.mean_turns,
                mean_wall_s=found.total_s / len(found.graded),
                wall_s=found.total_s,
            ),
            where,
        )
    stopping, holding = wilson(found.task_complete), found.assertions_interval
    for name, value, count in (
        ("agent.mean_turns", found.mean_turns, graded),
        ("agent.rollout_errors", found.num_errors, 1),
        ("agent.assertion_pass_rate_low", 100 * holding.low, graded),
        ("agent.assertion_pass_rate_high", 100 * holding.high, graded),
        ("agent.stop_rate_low", 100 * stopping.low, graded),
        ("agent.stop_rate_high", 100 * stopping.high, graded),
        ("agent.environment_share", 100 * found.environment_share, 1),
    ):
        emit.measured(name, value, where=where, count=count)
    for reason, count in found.stops.items():
        share = 100 * count / len(found.rollouts)
        emit.measured("agent.stop_reason", share, where={**where, "reason": reason.value})
    for persona, own in found.by_persona.items():
        share = 100 * own.tasks_passed / own.tasks
        by = {**where, "persona": persona}
        emit.measured("agent.pass_rate_by_persona", share, where=by, count=own.tasks)
    for kind, held in found.by_kind.items():
        by = {**where, "kind": kind.value}
        emit.measured(
            "agent.assertion_pass_rate_by_kind", 100 * held.rate, where=by, count=held.trials
        )


def report_differences(
    resources: FileAgentResources, pairs: Iterable[tuple[PolicyEvaluation, PolicyEvaluation]]
) -> None:
    """Report every pair, the first less the second."""
    for one, other in pairs:
        report_comparison(resources.context.emit, one.policy, other.policy, compare(one, other))


def report_comparison(emit: EventWriter, policy: str, other: str, found: Comparison) -> None:
    """Report by how much `policy` differs from `other`."""
    where = {"policy": policy, "other": other}

    def report(name: str, difference: PairedDifference, factor: float) -> None:
        low, high = difference.interval.low, difference.interval.high
        for end, value in (("", difference.value), ("_low", low), ("_high", high)):
            emit.measured(f"{name}{end}", factor * value, where=where, count=found.tasks)

    report("agent.pass_rate_difference", found.task_pass, 100)
    report("agent.assertion_pass_rate_difference", found.assertions, 100)
    report("agent.stop_rate_difference", found.task_complete, 100)
    report("agent.turns_difference", found.turns, 1)
    for name, difference in (
        ("agent.pass_rate_paired_p", found.task_pass),
        ("agent.assertion_pass_rate_paired_p", found.assertions),
        ("agent.stop_rate_paired_p", found.task_complete),
        ("agent.turns_paired_p", found.turns),
    ):
        emit.measured(name, difference.p, where=where, count=found.tasks)
    for persona, gain in found.by_persona.items():
        by = {**where, "persona": persona}
        emit.measured("agent.assertion_pass_rate_difference_by_persona", 100 * gain, where=by)


def report_stopping(emit: EventWriter, policy: str, found: StopProbability) -> None:
    """Report how likely a policy stops before and after its work."""
    where = {"policy": policy}
    for name, value, count in (
        ("agent.stop_early", found.early, found.num_early),
        ("agent.stop_late", found.late, found.num_late),
    ):
        absent = "" if count else "there is no such turn"
        emit.measured(name, value, where=where, count=count, absent=absent)


def report_reparsed(
    emit: EventWriter, found: PolicyEvaluation, parser: ParserVersion, by: ReparsedRollouts
) -> None:
    """Report what another parser would have made of a policy's rollouts."""
    where = {"policy": found.policy, "parser": parser.value}
    turns = found.mean_turns - by.turns_saved / by.rollouts
    complete = 100 * by.complete / by.rollouts
    emit.measured("agent.reparsed_stop_rate", complete, where=where, count=by.rollouts)
    emit.measured("agent.reparsed_turns", turns, where=where, count=by.rollouts)


def report_parser_split(emit: EventWriter, by: str, found: ParserSplit) -> None:
    """Report where clean stops come from; `by` says how the parsers were matched."""
    emit.measured("stop.by_parser", 100 * found.by_parser, where={"source": by})
    emit.measured("stop.by_training", 100 * found.by_training, where={"source": by})
