"""Which checkpoint is kept. Loads no torch.

Article 34's own lesson: the pass rate of the batch that a checkpoint is trained on chooses badly,
as those tasks are easier and are drawn anew each step. What is kept is chosen on held-out tasks.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.records import record


@record
class Checkpoint:
    """A step's weights, judged.

    Attributes:
        step: after how many steps; 0 is what training began with.
        held_out: what is chosen by, such as the share of assertions that hold; higher is better.
    """

    step: int
    held_out: float


def best(checkpoints: Iterable[Checkpoint]) -> Checkpoint:
    """Return the best; of equals the earliest, which has drifted least.

    Raises:
        ValueError: there is none.
    """
    return max(checkpoints, key=lambda each: (each.held_out, -each.step))
