"""Learning rates: a warm-up, then a line or a cosine to zero. Loads no torch.

The supervised runs have the schedules of Hugging Face's transformers, whose first step has rate 0
if there is a warm-up: it changes nothing. Article 32's eleven steps are ten updates for that
reason; the rate that its log prints beside a step is the next step's.
"""

from __future__ import annotations

import math
from enum import StrEnum

from harness.records import record


class Decay(StrEnum):
    """How the rate falls after the warm-up."""

    LINEAR = "linear"  # article 32
    COSINE = "cosine"  # articles 18 to 22, 25
    NONE = "none"


class FirstStep(StrEnum):
    """Where the warm-up starts."""

    ZERO = "zero"  # 0, 1/w, ... (w - 1)/w of the peak: as the articles ran it
    ONE = "one"  # 1/w, ... w/w of the peak: no step is lost


@record
class Schedule:
    """The learning rate of every step.

    Attributes:
        peak: the rate after the warm-up.
        num_warmup: w.
        num_steps: n; step n, which is never taken, has rate 0 unless there is no decay.
    """

    peak: float
    num_warmup: int
    num_steps: int
    decay: Decay = Decay.LINEAR
    first: FirstStep = FirstStep.ZERO

    def __post_init__(self) -> None:
        if not 0 <= self.num_warmup <= self.num_steps:
            message = f"{self.num_warmup} warm-up steps of {self.num_steps}"
            raise ValueError(message)

    def lr_at(self, step: int) -> float:
        """Return the rate that the 0-based `step` is taken with."""
        if step < self.num_warmup:
            done = step + (self.first is FirstStep.ONE)
            return self.peak * done / self.num_warmup
        share = (step - self.num_warmup) / max(1, self.num_steps - self.num_warmup)
        match self.decay:
            case Decay.LINEAR:
                return self.peak * (1.0 - share)
            case Decay.COSINE:
                return self.peak * (0.5 * (1.0 + math.cos(math.pi * share)))
            case Decay.NONE:
                return self.peak


def warmup_cosine(peak: float, num_warmup: int, num_steps: int) -> Schedule:
    """Return the schedule of articles 18 to 22: ``peak (s + 1) / w`` in the first w steps.

    The others follow a cosine towards zero, which would be step n.

    Raises:
        ValueError: the warm-up leaves no step.
    """
    if num_warmup >= num_steps:
        message = f"{num_warmup} warm-up steps leave none of {num_steps}"
        raise ValueError(message)
    return Schedule(
        peak=peak,
        num_warmup=num_warmup,
        num_steps=num_steps,
        decay=Decay.COSINE,
        first=FirstStep.ONE,
    )
