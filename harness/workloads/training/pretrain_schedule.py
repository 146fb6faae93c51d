"""The learning rate of articles 18 to 22: linear warm-up, then a cosine to zero."""

from __future__ import annotations

import math

from harness.records import record


@record
class WarmupCosine:
    """``peak (s + 1) / w`` in the first w of n steps, a cosine towards zero in the others.

    The cosine is ``peak (1 + cos(pi (s - w) / (n - w))) / 2``; zero itself would be step n.

    Attributes:
        peak: the rate at the end of the warm-up.
        num_warmup: w, below `num_steps`.
        num_steps: n.
    """

    peak: float
    num_warmup: int
    num_steps: int

    def __post_init__(self) -> None:
        if self.num_warmup >= self.num_steps:
            message = f"{self.num_warmup} warm-up steps leave none of {self.num_steps}"
            raise ValueError(message)

    def __call__(self, step: int) -> float:
        """Return the learning rate of the 0-based `step`."""
        if step < self.num_warmup:
            return self.peak * (step + 1) / self.num_warmup
        share = (step - self.num_warmup) / (self.num_steps - self.num_warmup)
        return self.peak * 0.5 * (1 + math.cos(math.pi * share))
