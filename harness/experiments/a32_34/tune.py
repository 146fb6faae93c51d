"""Imitation: the policy is trained on what demonstrations say; article 32, section "LoRA SFT"."""

from __future__ import annotations

import math

from harness.experiments.a32_34.params import AgentParams
from harness.experiments.a32_34.stage import Stage
from harness.workloads.envs.files.corpus import examples
from harness.workloads.envs.files.stopping import stop_probability
from harness.workloads.training.schedule import FirstStep
from harness.workloads.training.settings import SupervisedSettings
from harness.workloads.training.sft import SupervisedStep, fit, supervise

SFT = "sft"


def imitate(stage: Stage) -> None:
    """Train the policy on the demonstrations, serve it as ``sft``, and report the training."""
    params = stage.params
    shown = examples(stage.demonstrations.rollouts, stage.tasks, stage.dialogue)
    fitted = fit(shown, params.sft_max_tokens)

    def has_forgotten_to_stop(epoch: int) -> bool:
        """Whether training has done what article 32's did; looked at where a bound is given."""
        if not params.sft_stop_below:
            return False
        stage.serve(f"{SFT}-{epoch}")
        found = stop_probability(stage.engine, stage.dialogue, stage.chances)
        return found.late is not None and found.late < params.sft_stop_below

    settings = settings_of(params, stage.context.spec.seed)
    steps = list(supervise(stage.policy, fitted, settings, has_forgotten_to_stop))
    stage.serve(SFT)
    _report(stage, steps)
    stage.context.emit.measured("sft.demonstrations", len(shown))
    stage.context.emit.measured("sft.cut", fitted.truncated)


def settings_of(params: AgentParams, seed: int) -> SupervisedSettings:
    """Return how the policy imitates."""
    return SupervisedSettings(
        learning_rate=params.sft_rate,
        epochs=params.sft_epochs,
        accumulated=params.sft_accumulate,
        first=FirstStep.ZERO if params.sft_idle_start else FirstStep.ONE,
        seed=seed,
    )


def _report(stage: Stage, steps: list[SupervisedStep]) -> None:
    emit = stage.context.emit
    emit.measured("sft.wall", math.fsum(step.step_s for step in steps), count=len(steps))
    emit.measured("sft.parameters", stage.policy.num_trainable)
    emit.measured("sft.steps", len(steps))
    emit.measured("sft.idle_steps", sum(step.learning_rate == 0 for step in steps))
    emit.measured("sft.loss_ratio", steps[-1].loss / steps[0].loss)
    for step in steps:
        where = {"step": step.step}
        emit.measured("sft.learning_rate", step.learning_rate, where=where)
        emit.measured("sft.loss", step.loss, where=where, count=step.tokens)
