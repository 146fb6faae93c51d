from __future__ import annotations

import pytest

from harness.workloads.rl.checkpoint_selection import Checkpoint, best


def test_the_best_on_held_out_tasks_is_kept() -> None:
    # article 34: 12, 9 and 11 of 158 tasks
    judged = [Checkpoint(step=step, held_out=n / 158) for step, n in ((25, 12), (45, 9), (50, 11))]
    assert best(judged).step == 25


def test_of_equals_the_earliest_is_kept() -> None:
    judged = [Checkpoint(step=step, held_out=0.5) for step in (30, 10, 20)]
    assert best(judged).step == 10


def test_nothing_judged_is_no_best() -> None:
    with pytest.raises(ValueError, match="empty"):
        best([])
