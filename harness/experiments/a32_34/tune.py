"""Imitation: the policy is trained on what demonstrations say; article 32, section "LoRA SFT"."""

from __future__ import annotations

import math

from harness.experiments.a32_34.params import AgentParams
from harness.experiments.a32_34.stage import FileAgentResources
from harness.workloads.envs.files.corpus import examples
from harness.workloads.envs.files.stopping import stop_probability
from harness.workloads.training.schedule import FirstStep
from harness.workloads.training.settings import SupervisedSettings
from harness.workloads.training.sft import SupervisedStep, fit, supervise

SFT = "sft"


def imitate(resources: FileAgentResources) -> None:
    """Train the policy on the demonstrations, serve it as ``sft``, and report the training."""
    params = resources.params
    shown = examples(resources.sft_data.rollouts, resources.tasks, resources.chat_template)
    fitted = fit(shown, params.sft_max_length)

    def has_forgotten_to_stop(epoch: int) -> bool:
        """Whether training has done what article 32's did; looked at where a bound is given."""
        if not params.sft_stop_when_p_stop_below:
            return False
        resources.serve(f"{SFT}-{epoch}")
        found = stop_probability(resources.engine, resources.chat_template, resources.chances)
        return found.late is not None and found.late < params.sft_stop_when_p_stop_below

    settings = settings_of(params, resources.context.spec.seed)
    steps = list(supervise(resources.policy, fitted, settings, has_forgotten_to_stop))
    resources.serve(SFT)
    _report(resources, steps)
    resources.context.emit.measured("sft.demonstrations", len(shown))
    resources.context.emit.measured("sft.num_truncated", fitted.truncated)


def settings_of(params: AgentParams, seed: int) -> SupervisedSettings:
    """Return how the policy imitates."""
    return SupervisedSettings(
        learning_rate=params.sft_learning_rate,
        num_train_epochs=params.sft_num_train_epochs,
        gradient_accumulation_steps=params.sft_gradient_accumulation_steps,
        first=FirstStep.ZERO if params.sft_first_step_lr_zero else FirstStep.ONE,
        seed=seed,
    )


def _report(resources: FileAgentResources, steps: list[SupervisedStep]) -> None:
    emit = resources.context.emit
    emit.measured("sft.time", math.fsum(step.step_s for step in steps), count=len(steps))
    emit.measured("sft.parameters", resources.policy.num_trainable)
    emit.measured("sft.steps", len(steps))
    emit.measured("sft.zero_lr_steps", sum(step.learning_rate == 0 for step in steps))
    emit.measured("sft.loss_ratio", steps[-1].loss / steps[0].loss)
    for step in steps:
        where = {"step": step.step}
        emit.measured("sft.learning_rate", step.learning_rate, where=where)
        emit.measured("sft.loss", step.loss, where=where, count=step.tokens)
