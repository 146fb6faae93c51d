"""What decides a policy and its training, as plain records. Loads no torch.

Defaults are articles 32 and 33, sections "LoRA SFT" and "Loss / update".
"""

from __future__ import annotations

import math
from enum import StrEnum

from harness.records import record
from harness.workloads.rl.algorithms.a2tgpo import Aggregation
from harness.workloads.training.schedule import Decay, FirstStep, Schedule

SEVEN_PROJECTIONS = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)


class Dtype(StrEnum):
    """What the base is stored in; the adapter is float32 always."""

    FP32 = "float32"
    BF16 = "bfloat16"


class Dropout(StrEnum):
    """Whether the adapter's dropout acts in a pass."""

    ACTIVE = "active"  # article 33: policy and reference passes, so its KL never falls to zero
    OFF = "off"


class Product(StrEnum):
    """How a pass without dropout multiplies by ``W + s B A``; the same up to rounding."""

    BRANCH = "branch"  # W x + s B (A x): little memory, for models wide beside a batch
    FOLDED = "folded"  # (W + s B A) x: fewer passes over memory, for small models


@record
class LoraSettings:
    """A low-rank adapter.

    Attributes:
        rank: r.
        alpha: the adapter is added times ``alpha / rank``.
        dropout: of the adapter's input, where it is active.
        targets: last parts of the adapted matrices' names.
        seed: A is drawn from it; B is zero.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = SEVEN_PROJECTIONS
    seed: int = 42


@record
class Compute:
    """How passes are computed.

    Attributes:
        device: ``cuda`` or ``cpu``; None for CUDA where there is some.
        dtype: of the base.
        autocast: matrix products in bfloat16 also where the base is float32.
        gradient_checkpointing: activations are computed again in the backward pass.
        product: of passes without dropout.
        tokens_per_batch: of one pass, padding included; a longer sequence is its own pass.
            2048 is the quickest for a model of a million parameters on one thread.
    """

    device: str | None = None
    dtype: Dtype = Dtype.FP32
    autocast: bool = False
    gradient_checkpointing: bool = False
    product: Product = Product.BRANCH
    tokens_per_batch: int = 2048


class Optimizer(StrEnum):
    """How long AdamW's moments live."""

    FRESH = "fresh"  # a step: each weight then moves by the rate or less (articles 33 and 34)
    PERSISTENT = "persistent"  # the run


class Old(StrEnum):
    """Which log-probabilities a ratio is taken to."""

    DRAWN = "drawn"  # what the engine said when it drew the token
    COMPUTED = "computed"  # the trainer's own, of the weights that the step begins with


@record
class TrainerSettings:
    """How one batch of groups becomes a change of the adapter.

    Attributes:
        learning_rate: AdamW; betas and epsilon are torch's.
        weight_decay: AdamW; torch's default.
        clip_norm: gradients are clipped to this norm.
        optimizer: whether its moments outlive a step.
        dropout: of the passes that train, and of the reference's.
        max_tokens: a rollout of this length or more is not trained on.
        epochs: how often each rollout is used in a step.
        mini_batches: into how many parts, one update each, an epoch is divided at random.
        old: what a ratio is taken to; a loss without ratio has no use for it.
        aggregation: how the losses of an update's rollouts are averaged.
        seed: dropout and the division are drawn from it and the step's number.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    optimizer: Optimizer = Optimizer.FRESH
    dropout: Dropout = Dropout.ACTIVE
    max_tokens: int = 8192
    epochs: int = 1
    mini_batches: int = 1
    old: Old = Old.DRAWN
    aggregation: Aggregation = Aggregation.SEQUENCE
    seed: int = 42


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

    A step is of `micro_batch` times `accumulated` examples, and never of two epochs.

    Attributes:
        learning_rate: AdamW, at the end of the warm-up; betas and epsilon are torch's.
        weight_decay: AdamW.
        clip_norm: gradients are clipped to this norm.
        epochs: at most.
        micro_batch: examples whose tokens are averaged together.
        accumulated: micro-batches a step.
        weighting: how losses are averaged.
        last_step: where micro-batches are averaged.
        warmup_share: of all steps, rounded down, but one at least.
        decay: after the warm-up.
        first: where the warm-up starts.
        dropout: in the passes that train.
        seed: order and dropout are drawn from it.
    """

    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    epochs: int = 1
    micro_batch: int = 1
    accumulated: int = 4
    weighting: Weighting = Weighting.MICRO_BATCHES
    last_step: LastStep = LastStep.FULL
    warmup_share: float = 0.1
    decay: Decay = Decay.LINEAR
    first: FirstStep = FirstStep.ZERO
    dropout: Dropout = Dropout.ACTIVE
    seed: int = 42

    @property
    def examples_per_step(self) -> int:
        """Of every step but an epoch's last."""
        return self.micro_batch * self.accumulated

    def schedule(self, num_examples: int) -> Schedule:
        """Return the learning rates of all steps, as if every epoch were taken."""
        num_steps = self.epochs * math.ceil(num_examples / self.examples_per_step)
        return Schedule(
            peak=self.learning_rate,
            num_warmup=max(1, int(self.warmup_share * num_steps)),
            num_steps=num_steps,
            decay=self.decay,
            first=self.first,
        )
