"""What one step of the trainer came to. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from harness.records import record
from harness.workloads.rl.group import MaskReason


class StepPhase(StrEnum):
    """A part of a step, timed."""

    CREDIT = "credit"
    REFERENCE = "reference"  # log-probabilities under the weights that the policy is kept near
    START = "start"  # log-probabilities under the weights that the step begins with
    FORWARD = "forward"  # and losses
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"  # and what the weights moved by


@record
class Agreement:
    """How far the engine's log-probabilities are from the trainer's, on the same tokens.

    Both are of the weights that drew the tokens, without dropout; nats a token.
    """

    mean: float
    max: float


@record
class Update:
    """What happened to the weights, and by what.

    Attributes:
        updates: of the optimizer.
        tokens: trained, each counted once.
        loss: of the updates, mean; statistics, entropy and gradient norm likewise.
        statistics: what the loss says (`harness.workloads.rl.losses.SequenceLoss`), means over
            tokens: ``kl`` is K3 to the reference, nats a token, ``kl_term`` that times its
            coefficient, which article 33 prints as KL.
        entropy: of the distributions that tokens are drawn from, mean, nats.
        grad_norm: before it was clipped.
        update_norm: Euclidean norm of what the weights moved by.
        update_norm_ratio: that over ``rate sqrt(N)`` of N weights: the most that one update of a
            fresh AdamW can come to without weight decay, as every weight then moves by the rate at
            most. Articles 33 and 34 print 0.0622 of 0.0635.
        agreement: of engine and trainer.
    """

    updates: int
    tokens: int
    loss: float
    statistics: Mapping[str, float]
    entropy: float
    grad_norm: float
    update_norm: float
    update_norm_ratio: float
    agreement: Agreement


@record
class StepReport:
    """One step.

    Attributes:
        step: 1 for the first.
        groups: how many there were.
        zero_variance_groups: those of which no rollout was used.
        rollouts: of all groups.
        used: rollouts that were trained on.
        masked: why others were not, and how many.
        seconds: of each phase.
        update: None where no rollout was of use: the weights are as they were, and the pool of
            tasks has nothing left to tell rollouts apart by. An end, not a failure.
    """

    step: int
    groups: int
    zero_variance_groups: int
    rollouts: int
    used: int
    masked: Mapping[MaskReason, int]
    seconds: Mapping[StepPhase, float]
    update: Update | None

    @property
    def no_signal(self) -> bool:
        """Whether no rollout was of use."""
        return self.update is None
