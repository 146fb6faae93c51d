"""Workload ``agent.sft``: article 32, from its tasks to the comparison of a model with itself."""

from __future__ import annotations

import math

from harness.experiments.a32_34.evaluation import PolicyEvaluation, stop_probability
from harness.experiments.a32_34.evaluation_report import (
    judge,
    judge_nothing,
    report_differences,
    report_policy,
    report_serving,
)
from harness.experiments.a32_34.resources import FileAgentResources, open_resources
from harness.experiments.a32_34.sft_data import TEACHER, examples
from harness.experiments.a32_34.tasks import report_baselines, report_findings, report_tasks
from harness.records import to_json
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.envs.files.personas import Split, split_of
from harness.workloads.envs.files.protocol import PromptStyle
from harness.workloads.rl.trainer import ADAPTER
from harness.workloads.training.policy import compute, lora_settings
from harness.workloads.training.schedule import FirstStep
from harness.workloads.training.sft import fit, supervise
from harness.workloads.training.sft_settings import SupervisedSettings

SFT = "sft"
_BASELINES = ("harness.experiments.a32_34.tasks",)
_SFT = (
    "harness.experiments.a32_34.sft_data",
    "harness.workloads.models.lora",
    "harness.workloads.training.sft",
)


def run(context: Context) -> None:
    """Write tasks, play the model, fine-tune it, and play it again."""
    emit = context.emit
    emit.started(device_name())
    with open_resources(context) as resources:
        tasks = tuple(resources.tasks.values())
        emit.measured("tasks.failed", 0)  # else nothing would be open
        emit.measured("synthesis.time", resources.writing.wall_s)
        emit.measured("synthesis.task_time", resources.writing.wall_s / len(tasks))
        report_tasks(emit, tasks)
        report_findings(emit, tasks)
        with context.steps.step(
            "baselines", decides={}, reads={"tasks": resources.writing.digest()}, code=_BASELINES
        ) as step:
            for split in Split if step.is_new else ():
                own = [task for task in tasks if split_of(task.task_id) is split]
                report_baselines(emit, step.folder, own, split)
        if taught := resources.sft_data.played:
            report_policy(emit, PolicyEvaluation(policy=TEACHER, rollouts=taught))

        nothing = judge_nothing(resources)
        base = judge(resources, "base", None)
        imitate(resources)
        tuned = judge(resources, SFT, SFT)
        report_differences(resources, [(tuned, base), (base, nothing)])
        emit.measured("agent.rollout_time_ratio", tuned.total_s / base.total_s)
        report_serving(resources)


def imitate(resources: FileAgentResources) -> None:
    """Train the policy on the demonstrations, serve it as ``sft``, and report the training.

    Article 32, section "LoRA SFT". A demonstration that is too long loses its end, and with it the
    stop, as the article's did.
    """
    params, served = resources.params, resources.served
    settings = SupervisedSettings(
        learning_rate=params.sft_learning_rate,
        num_train_epochs=params.sft_num_train_epochs,
        gradient_accumulation_steps=params.sft_gradient_accumulation_steps,
        first=FirstStep.ZERO if params.sft_first_step_lr_zero else FirstStep.ONE,
        seed=resources.seed,
    )
    decides = {
        "model": resources.model,
        "prompt_style": params.prompt_style,
        "max_length": params.sft_max_length,
        "settings": to_json(settings),
        "lora": to_json(lora_settings(params, resources.seed)),
        "compute": to_json(compute(params)),
        "num_threads": params.num_threads,
        "stop_when_p_stop_below": params.sft_stop_when_p_stop_below,
    }
    if params.sft_stop_when_p_stop_below:  # then the engine has a say
        decides["engine"] = served.engine.identity
    with resources.context.steps.step(
        SFT, decides=decides, reads=resources.reads, code=_SFT
    ) as step:
        if step.is_new:
            _imitate(resources, settings)
            served.policy.save(step.folder / ADAPTER)
        else:
            served.policy.load(step.folder / ADAPTER)
    served.keep(SFT, step.folder / ADAPTER, step.digest(ADAPTER))
    served.answer_with(SFT)


def _imitate(resources: FileAgentResources, settings: SupervisedSettings) -> None:
    params, served, emit = resources.params, resources.served, resources.context.emit
    shown = examples(
        resources.sft_data.rollouts,
        resources.tasks,
        served.chat_template,
        PromptStyle(params.prompt_style),
    )
    resources.trained_on.update(each.task_id for each in resources.sft_data.rollouts)
    fitted = fit(shown, params.sft_max_length)

    def has_forgotten_to_stop(epoch: int) -> bool:
        """Whether training has done what article 32's did; looked at where a bound is given."""
        if not params.sft_stop_when_p_stop_below:
            return False
        served.sync_weights(f"{SFT}-{epoch}")
        found = stop_probability(served.engine, served.chat_template, resources.stop_chances)
        return found.late is not None and found.late < params.sft_stop_when_p_stop_below

    steps = list(supervise(served.policy, fitted, settings, has_forgotten_to_stop))
    emit.measured("sft.time", math.fsum(step.step_s for step in steps), count=len(steps))
    emit.measured("sft.parameters", served.policy.num_trainable)
    emit.measured("sft.steps", len(steps))
    emit.measured("sft.zero_lr_steps", sum(step.learning_rate == 0 for step in steps))
    emit.measured("sft.loss_ratio", steps[-1].loss / steps[0].loss)
    for step in steps:
        where = {"step": step.step}
        emit.measured("sft.learning_rate", step.learning_rate, where=where)
        emit.measured("sft.loss", step.loss, where=where, count=step.tokens)
    emit.measured("sft.demonstrations", len(shown))
    emit.measured("sft.num_truncated", fitted.truncated)
