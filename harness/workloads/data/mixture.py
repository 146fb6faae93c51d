"""How much of each batch is replayed, exactly. Loads no torch."""

from __future__ import annotations

import math
from fractions import Fraction

from harness.records import record


@record
class ReplayMixture:
    """A share of replayed sequences among all sequences of the steps taken so far.

    After every step as many sequences are replayed as the share asks for, rounded down; so no batch
    is off by more than one sequence, and a run's total is exact.

    Attributes:
        share: between 0 and 1.
        batch_size: sequences a step.
    """

    share: float
    batch_size: int

    def replayed_before(self, step: int) -> int:
        """Return how many sequences are replayed in the steps before the 0-based `step`."""
        # the share as it is written: 0.05 is a twentieth, not the float next to it
        return math.floor(Fraction(str(self.share)) * self.batch_size * step)

    def new_before(self, step: int) -> int:
        """Return how many sequences of the new corpus are read in the steps before `step`."""
        return self.batch_size * step - self.replayed_before(step)
