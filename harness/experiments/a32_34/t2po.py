"""Workload ``agent.t2po``: article 34, and its parts one by one, from one fine-tuned policy.

All arms draw the same tasks at the same step, and begin with the same weights. On a schedule the
held-out tasks and the training pool are played as they are when they are compared: by the same
weights, at the same temperature, with the same cap. The batch that a step trained on is reported
beside them, as the article compares that: drawn by the weights of the step before, hotter, and with
turns drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from harness.experiments.a32_34.arms import T2poVariant, T2poVariantName, arm
from harness.experiments.a32_34.judge import (
    judge,
    judge_nobody,
    play,
    report,
    report_differences,
    report_serving,
)
from harness.experiments.a32_34.learn import FileStep, is_judged, learn
from harness.experiments.a32_34.params import T2poParams
from harness.experiments.a32_34.stage import FileAgentResources, open_resources
from harness.experiments.a32_34.tune import SFT, imitate
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.envs.files.evaluate import PolicyEvaluation
from harness.workloads.models.adapter import Weights
from harness.workloads.rl.checkpoint_selection import Checkpoint, best


def run(context: Context) -> None:
    """Fine-tune a policy, train it in every way that is asked for, and compare the ways."""
    context.emit.started(device_name())
    params: T2poParams = context.params
    with open_resources(context) as stage:
        nobody = judge_nobody(stage)
        imitate(stage)
        tuned = judge(stage, SFT, stage.adapter(SFT))
        start = {Part.HELD_OUT: tuned, Part.POOL: play(stage, "sft-pool", stage.pool)}
        weights = stage.policy.weights()
        ways = [arm(T2poVariantName(name), params) for name in params.variants]
        trained = {way.name: _train(stage, way, weights, start) for way in ways}
        report_differences(stage, _pairs(trained, tuned, nobody))
        report_serving(stage)


class Part(StrEnum):
    """Which tasks a point of a curve stands for."""

    BATCH = "batch"  # what the next step trains on, as training draws it
    POOL = "pool"
    HELD_OUT = "held-out"


Point = Mapping[Part, PolicyEvaluation]


def _train(
    resources: FileAgentResources, way: T2poVariant, weights: Weights, start: Point
) -> PolicyEvaluation:
    """Train one way from the fine-tuned weights; return how its last weights play."""
    resources.policy.put(weights)
    resources.answer_with(resources.adapter(SFT))
    params = resources.params
    assert isinstance(params, T2poParams)
    points: dict[int, Point] = {0: start}

    def evaluate(step: FileStep) -> None:
        if is_judged(params, step):
            points[step.number] = {
                Part.HELD_OUT: play(resources, f"{way.name}@{step.number}", resources.held_out),
                Part.POOL: play(resources, f"{way.name}@{step.number}-pool", resources.pool),
            }

    steps = learn(resources, way, weights, evaluate)
    for step in steps:  # each batch was played by the weights of the step before
        if step.number - 1 in points:
            before = points[step.number - 1]
            points[step.number - 1] = {**before, Part.BATCH: step.batch}
    _report_curve(resources, way, points)
    last = replace(points[max(points)][Part.HELD_OUT], policy=way.name.value)
    report(resources, last)
    return last


def _pairs(
    trained: Mapping[T2poVariantName, PolicyEvaluation],
    tuned: PolicyEvaluation,
    nobody: PolicyEvaluation,
) -> Iterator[tuple[PolicyEvaluation, PolicyEvaluation]]:
    """Yield what is compared: every arm with the start and with plain GRPO."""
    yield tuned, nobody
    plain = trained.get(T2poVariantName.GRPO)
    for name, found in trained.items():
        yield found, tuned
        if plain is not None and name is not T2poVariantName.GRPO:
            yield found, plain


# --- Curves ---------------------------------------------------------------------------------------


def _report_curve(
    resources: FileAgentResources, way: T2poVariant, points: Mapping[int, Point]
) -> None:
    """Report every point, how far apart its parts lie, and which checkpoint each would choose."""
    emit = resources.context.emit
    for step, point in points.items():
        where = {"variant": way.name.value, "step": step}
        for part, found in point.items():
            for name, value in _figures(found).items():
                by = {**where, "split": part.value}
                emit.measured(name, value, where=by, count=len(found.graded))
        for part in (Part.BATCH, Part.POOL):
            if part in point:
                gap = 100 * (point[part].rates.held - point[Part.HELD_OUT].rates.held)
                emit.measured("eval.gap", gap, where={**where, "split": part.value})
    chosen = {part: _chosen(points, part) for part in Part}
    for part, step in chosen.items():
        by = {"variant": way.name.value, "split": part.value}
        emit.measured("eval.best_step", step, where=by)
        if part is not Part.HELD_OUT:
            among = [step for step, point in points.items() if part in point]
            held_out = _chosen({at: points[at] for at in among}, Part.HELD_OUT)
            emit.measured("eval.agree", step == held_out, where=by, count=len(among))


def _chosen(points: Mapping[int, Point], part: Part) -> int:
    """Return the step that a part's tasks would keep."""
    seen = [
        Checkpoint(step=step, held_out=point[part].rates.held)
        for step, point in points.items()
        if part in point
    ]
    return best(seen).step


def _figures(found: PolicyEvaluation) -> dict[str, float]:
    rates = found.rates
    return {
        "eval.pass_rate": 100 * rates.tasks_passed / rates.tasks,
        "eval.assertion_pass_rate": 100 * rates.held,
        "eval.mean_turns": found.mean_turns,
        "eval.stop_rate": 100 * found.stop_rate.rate,
    }
