"""Workload ``agent.grpo``: article 33, with every policy played by one parser."""

from __future__ import annotations

from dataclasses import replace

from harness.experiments.a32_34.arms import T2poVariantName, plain
from harness.experiments.a32_34.evaluation_report import report_parser_split, report_replay
from harness.experiments.a32_34.judge import (
    judge,
    judge_nobody,
    play,
    report,
    report_differences,
    report_serving,
)
from harness.experiments.a32_34.learn import FileStep, is_judged, learn
from harness.experiments.a32_34.params import GrpoParams
from harness.experiments.a32_34.stage import FileAgentResources, open_resources
from harness.experiments.a32_34.tune import SFT, imitate
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.envs.files.evaluate import PolicyEvaluation, parser_split, replayed
from harness.workloads.envs.files.protocol import ParserVersion
from harness.workloads.rl.checkpoint_selection import Checkpoint, best


def run(context: Context) -> None:
    """Fine-tune a policy, train it by rewards, and play all policies on the held-out tasks."""
    context.emit.started(device_name())
    with open_resources(context) as stage:
        nobody = judge_nobody(stage)
        base = judge(stage, "base", None)
        imitate(stage)
        tuned = judge(stage, SFT, stage.adapter(SFT))
        trained = _learn(stage, tuned)
        pairs = [(tuned, base), (trained, tuned), (trained, base), (base, nobody)]
        report_differences(stage, pairs)
        _report_parsers(stage, tuned, trained)
        report_serving(stage)


def _learn(resources: FileAgentResources, tuned: PolicyEvaluation) -> PolicyEvaluation:
    """Train, and return how the weights play that the held-out tasks choose."""
    params = resources.params
    assert isinstance(params, GrpoParams)
    played = {0: tuned}

    def evaluate(step: FileStep) -> None:
        if is_judged(params, step):
            played[step.number] = play(resources, f"grpo@{step.number}", resources.held_out)

    learn(resources, plain(params), resources.policy.weights(), evaluate)
    chosen = best(Checkpoint(step=at, held_out=each.rates.held) for at, each in played.items()).step
    resources.context.emit.measured(
        "learn.best_step", chosen, where={"variant": T2poVariantName.GRPO.value}
    )
    resources.answer_with(resources.adapter(f"{T2poVariantName.GRPO}-{chosen}" if chosen else SFT))
    found = replace(played[chosen], policy="grpo")
    report(resources, found)
    return found


def _report_parsers(
    resources: FileAgentResources, tuned: PolicyEvaluation, trained: PolicyEvaluation
) -> None:
    """Report what the older parser makes of the fine-tuned policy's rollouts, as article 33 did."""
    emit = resources.context.emit
    old = replayed(tuned.graded, ParserVersion.PHASE5)
    report_replay(emit, tuned, ParserVersion.PHASE5, old)
    by_old = old.stopped / old.rollouts
    split = parser_split(by_old, tuned.stop_rate.rate, trained.stop_rate.rate)
    report_parser_split(emit, "replay", split)
