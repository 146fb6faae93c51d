"""How examples become optimizer steps, as a plain record. Loads no torch.

Defaults are article 32's, section "LoRA SFT".
"""

from __future__ import annotations

import math
from enum import StrEnum

from harness.records import record
from harness.workloads.models.lora_settings import Dropout
from harness.workloads.training.schedule import Decay, FirstStep, Schedule


class Weighting(StrEnum):
    """How the losses of a supervised step are averaged."""

    MICRO_BATCHES = "micro-batches"  # over each one's tokens, then over them (article 32)
    TOKENS = "tokens"


class LastStep(StrEnum):
    """What the mean over micro-batches of an epoch's last step is divided by, if it has fewer."""

    FULL = "full"  # as many as other steps have: it counts less, as in article 32
    OWN = "own"  # as many as it has


@record
class SupervisedSettings:
    """How examples become optimizer steps; defaults are article 32's.

    A step is of `per_device_train_batch_size` times `gradient_accumulation_steps` examples, and
    never of two epochs.

    Attributes:
        learning_rate: AdamW, at the end of the warm-up; betas and epsilon are torch's.
        weight_decay: AdamW.
        max_grad_norm: gradients are clipped to this norm.
        num_train_epochs: at most.
        per_device_train_batch_size: examples whose tokens are averaged together.
        gradient_accumulation_steps: micro-batches a step.
        weighting: how losses are averaged.
        last_step: where micro-batches are averaged.
        warmup_ratio: of all steps, rounded down, but one at least.
        decay: after the warm-up.
        first: where the warm-up starts.
        dropout: in the passes that train.
        seed: order and dropout are drawn from it.
    """

    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    num_train_epochs: int = 1
    per_device_train_batch_size: int = 1
    gradient_accumulation_steps: int = 4
    weighting: Weighting = Weighting.MICRO_BATCHES
    last_step: LastStep = LastStep.FULL
    warmup_ratio: float = 0.1
    decay: Decay = Decay.LINEAR
    first: FirstStep = FirstStep.ZERO
    dropout: Dropout = Dropout.ACTIVE
    seed: int = 42

    @property
    def examples_per_step(self) -> int:
        """Of every step but an epoch's last."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    def schedule(self, num_examples: int) -> Schedule:
        """Return the learning rates of all steps, as if every epoch were taken."""
        num_steps = self.num_train_epochs * math.ceil(num_examples / self.examples_per_step)
        return Schedule(
            peak=self.learning_rate,
            num_warmup=max(1, int(self.warmup_ratio * num_steps)),
            num_steps=num_steps,
            decay=self.decay,
            first=self.first,
        )
