"""Workload ``agent.sft``: article 32, from its tasks to the comparison of a model with itself."""

from __future__ import annotations

from harness.experiments.a32_34.demonstrations import TEACHER
from harness.experiments.a32_34.evaluation_report import report_policy
from harness.experiments.a32_34.judge import judge, judge_nobody, report_differences, report_serving
from harness.experiments.a32_34.stage import FileAgentResources, open_resources
from harness.experiments.a32_34.tasks import report_baselines, report_findings, report_tasks
from harness.experiments.a32_34.tune import SFT, imitate
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.envs.files.evaluate import PolicyEvaluation
from harness.workloads.envs.files.personas import Split, split_of


def run(context: Context) -> None:
    """Write tasks, play the model, fine-tune it, and play it again."""
    context.emit.started(device_name())
    with open_resources(context) as stage:
        _report_tasks(stage)
        _report_demonstrator(stage)
        nobody = judge_nobody(stage)
        base = judge(stage, "base", None)
        imitate(stage)
        tuned = judge(stage, SFT, stage.adapter(SFT))
        report_differences(stage, [(tuned, base), (base, nobody)])
        context.emit.measured("agent.rollout_time_ratio", tuned.wall_s / base.wall_s)
        report_serving(stage)


def _report_tasks(resources: FileAgentResources) -> None:
    """Report what the tasks are, what is wrong with them, and what an oracle earns."""
    emit, tasks = resources.context.emit, tuple(resources.tasks.values())
    emit.measured("tasks.failed", 0)  # else there would be no stage
    emit.measured("synthesis.time", resources.writing_s)
    emit.measured("synthesis.task_time", resources.writing_s / len(tasks))
    report_tasks(emit, tasks)
    report_findings(emit, tasks)
    for split in Split:
        own = [task for task in tasks if split_of(task.task_id) is split]
        report_baselines(resources.context, own, split)


def _report_demonstrator(resources: FileAgentResources) -> None:
    """Report what the model earns whose rollouts are imitated, on all tasks."""
    if resources.sft_data.played:
        played = PolicyEvaluation(policy=TEACHER, rollouts=resources.sft_data.played)
        report_policy(resources.context.emit, played)
