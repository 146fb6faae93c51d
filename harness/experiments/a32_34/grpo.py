"""Workload ``agent.grpo``: article 33, with every policy read by one parser."""

from __future__ import annotations

from dataclasses import replace

from harness.experiments.a32_34.evaluation import parser_split, reparsed
from harness.experiments.a32_34.evaluation_report import (
    evaluate,
    judge,
    judge_nothing,
    report_differences,
    report_parser_split,
    report_reparsed,
    report_served,
    report_serving,
)
from harness.experiments.a32_34.params import GrpoParams
from harness.experiments.a32_34.resources import open_resources
from harness.experiments.a32_34.sft import SFT, imitate
from harness.experiments.a32_34.training import learn
from harness.experiments.a32_34.variants import plain
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.api.passes import part
from harness.workloads.envs.files.protocol import ParserVersion
from harness.workloads.rl.loop import is_evaluated, num_evaluated


def run(context: Context) -> None:
    """Fine-tune a policy, train it by rewards, and play all policies on the held-out tasks."""
    context.emit.started(device_name())
    with open_resources(context) as resources:
        nothing = judge_nothing(resources)
        base = judge(resources, "base", None)
        imitate(resources)
        tuned = judge(resources, SFT, SFT)
        # the held-out tasks choose the weights; of equals the earliest, which have drifted least
        params = resources.params
        assert isinstance(params, GrpoParams)
        way, evaluated = plain(params, resources.seed), {0: tuned}
        for step in learn(resources, way):
            if is_evaluated(params, step.number) and not step.no_signal:
                policy = resources.policy(f"{way.name}@{step.number}")
                with part("evaluations", num_evaluated(params), once=True):
                    evaluated[step.number] = evaluate(resources, policy, resources.held_out)
        chosen = max(evaluated, key=lambda step: (evaluated[step].rates.held, -step))
        resources.context.emit.measured("learn.best_step", chosen, where={"variant": way.name})
        resources.served.answer_with(f"{way.name}-{chosen}" if chosen else SFT)
        trained = replace(evaluated[chosen], policy=way.name)
        report_served(resources, trained)
        pairs = [(tuned, base), (trained, tuned), (trained, base), (base, nothing)]
        report_differences(resources, pairs)
        # what the older parser makes of the fine-tuned policy's rollouts, as article 33 did
        emit = context.emit
        old = reparsed(tuned.graded, ParserVersion.PHASE5)
        report_reparsed(emit, tuned, ParserVersion.PHASE5, old)
        by_old = old.complete / old.rollouts
        split = parser_split(by_old, tuned.task_complete.rate, trained.task_complete.rate)
        report_parser_split(emit, "replay", split)
        report_serving(resources)
