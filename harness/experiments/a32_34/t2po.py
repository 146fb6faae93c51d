"""Workload ``agent.t2po``: article 34, and its parts one by one, from one fine-tuned policy.

All variants sample the same tasks at the same step, and begin with the same weights. On a schedule
the held-out tasks and the training pool are played as they are when they are compared: by the same
weights, at the same temperature, with the same cap. The batch that a step trained on is reported
beside them, as the article compares that: sampled by the weights of the step before, hotter, and
with turns sampled again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from harness.experiments.a32_34.evaluation import PolicyEvaluation
from harness.experiments.a32_34.evaluation_report import (
    evaluate,
    judge_nothing,
    report_differences,
    report_served,
    report_serving,
)
from harness.experiments.a32_34.params import T2poParams
from harness.experiments.a32_34.resources import FileAgentResources, open_resources
from harness.experiments.a32_34.sft import SFT, imitate
from harness.experiments.a32_34.training import batch, learn
from harness.experiments.a32_34.variants import T2poVariant, T2poVariantName, variant
from harness.records import Scalar
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.api.passes import part
from harness.workloads.models.adapter import Weights
from harness.workloads.rl.loop import is_evaluated, num_evaluated
from harness.workloads.rl.runner import MAX_ERROR_FRACTION, require_equal_errors


class TaskSubset(StrEnum):
    """Which tasks a point of a curve stands for."""

    BATCH = "batch"  # what the next step trains on, as training samples it
    POOL = "pool"
    HELD_OUT = "held-out"


Point = Mapping[TaskSubset, PolicyEvaluation]


def run(context: Context) -> None:
    """Fine-tune a policy, train it in every way that is asked for, and compare the ways."""
    context.emit.started(device_name())
    params: T2poParams = context.params
    with open_resources(context) as resources:
        nothing = judge_nothing(resources)
        imitate(resources)
        start = _point(resources, SFT)
        tuned = start[TaskSubset.HELD_OUT]
        report_served(resources, tuned)
        weights = resources.served.policy.weights()
        ways = [variant(T2poVariantName(name), params, resources.seed) for name in params.variants]
        errors: dict[str, int] = {}
        trained = {way.name: _train(resources, way, weights, start, errors) for way in ways}
        require_equal_errors(errors)
        # every way is compared with the start and with plain GRPO
        pairs = [(tuned, nothing)]
        plain = trained.get(T2poVariantName.GRPO)
        for name, found in trained.items():
            pairs.append((found, tuned))
            if plain is not None and name != T2poVariantName.GRPO:
                pairs.append((found, plain))
        report_differences(resources, pairs)
        report_serving(resources)


def _train(
    resources: FileAgentResources,
    way: T2poVariant,
    weights: Weights,
    start: Point,
    errors: dict[str, int],
) -> PolicyEvaluation:
    """Train one way from the fine-tuned weights; return how its last weights play.

    Args:
        resources: of the run.
        way: how.
        weights: the fine-tuned ones.
        start: how they play.
        errors: takes how many rollouts of the training and its evaluations broke.
    """
    params, served = resources.params, resources.served
    assert isinstance(params, T2poParams)
    served.policy.put(weights)
    served.answer_with(SFT)
    points: dict[int, Point] = {0: start}
    batches: dict[int, PolicyEvaluation] = {}
    for step in learn(resources, way):
        batches[step.number - 1] = batch(way, step)  # played by the weights of the step before
        if is_evaluated(params, step.number) and not step.no_signal:
            with part("evaluations", num_evaluated(params), once=True):
                points[step.number] = _point(resources, f"{way.name}@{step.number}")
    played = [each for number, point in points.items() if number for each in point.values()]
    errors[way.name] = sum(each.num_errors for each in (*played, *batches.values()))
    for number in points.keys() & batches.keys():
        points[number] = {**points[number], TaskSubset.BATCH: batches[number]}
    _report_curve(resources, way, points)
    last = replace(points[max(points)][TaskSubset.HELD_OUT], policy=way.name)
    report_served(resources, last)
    return last


def _point(resources: FileAgentResources, name: str) -> Point:
    """Play held-out tasks and pool in one batch, which a server answers in less time than two."""
    held_out, pool = resources.held_out, resources.pool
    max_errors = int(MAX_ERROR_FRACTION * min(len(held_out), len(pool)))  # 1 % of either
    found = evaluate(resources, resources.policy(name), (*held_out, *pool), max_errors)
    return {
        TaskSubset.HELD_OUT: found.on(name, held_out),
        TaskSubset.POOL: found.on(f"{name}-pool", pool),
    }


# --- Curves ---------------------------------------------------------------------------------------


def _report_curve(
    resources: FileAgentResources, way: T2poVariant, points: Mapping[int, Point]
) -> None:
    """Report every point, how far apart its parts lie, and which checkpoint each would choose.

    Article 34's own lesson: the pass rate of the batch that a checkpoint is trained on chooses
    badly, as those tasks are easier and are sampled anew each step.
    """
    emit = resources.context.emit
    for step, point in points.items():
        where: dict[str, Scalar] = {"variant": way.name, "step": step}
        for subset, found in point.items():
            by, rates = {**where, "split": subset.value}, found.rates
            for name, value in (
                ("eval.pass_rate", 100 * rates.tasks_passed / rates.tasks),
                ("eval.assertion_pass_rate", 100 * rates.held),
                ("eval.mean_turns", found.mean_turns),
                ("eval.stop_rate", 100 * found.task_complete.rate),
            ):
                emit.measured(name, value, where=by, count=len(found.graded))
            if subset is not TaskSubset.HELD_OUT:
                gap = 100 * (rates.held - point[TaskSubset.HELD_OUT].rates.held)
                emit.measured("eval.gap", gap, where=by)

    def best(subset: TaskSubset, among: list[int]) -> int:
        """Return the step that a subset's assertions choose; of equals the earliest."""
        return max(among, key=lambda step: (points[step][subset].rates.held, -step))

    for subset in TaskSubset:
        by = {"variant": way.name, "split": subset.value}
        among = [step for step, point in points.items() if subset in point]
        chosen = best(subset, among)
        emit.measured("eval.best_step", chosen, where=by)
        if subset is not TaskSubset.HELD_OUT:
            agree = chosen == best(TaskSubset.HELD_OUT, among)
            emit.measured("eval.agree", agree, where=by, count=len(among))
