"""Workload ``agent.sft``: article 32, from its tasks to the comparison of a model with itself."""

from __future__ import annotations

from harness.workloads.agent.judge import judge, judge_nobody, report_differences, report_serving
from harness.workloads.agent.stage import Stage, open_stage
from harness.workloads.agent.tune import SFT, imitate
from harness.workloads.clawgym.personas import Split, split_of
from harness.workloads.clawgym.tasks import report_baselines, report_findings, report_tasks
from harness.workloads.common.device import device_name
from harness.workloads.context import Context


def run(context: Context) -> None:
    """Write tasks, play the model, fine-tune it, and play it again."""
    context.emit.started(device_name())
    with open_stage(context) as stage:
        _report_tasks(stage)
        nobody = judge_nobody(stage)
        base = judge(stage, "base", None)
        imitate(stage)
        tuned = judge(stage, SFT, stage.adapter(SFT))
        report_differences(stage, [(tuned, base), (base, nobody)])
        report_serving(stage)


def _report_tasks(stage: Stage) -> None:
    """Report what the tasks are, what is wrong with them, and what an oracle earns."""
    tasks = tuple(stage.tasks.values())
    report_tasks(stage.context.emit, tasks)
    report_findings(stage.context.emit, tasks)
    for split in Split:
        own = [task for task in tasks if split_of(task.task_id) is split]
        report_baselines(stage.context, own, split)
