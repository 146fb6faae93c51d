"""What earlier findings leave for tonight: where the baseline begins, and what is known to be slow.

- An accepted change begins a new baseline. So does a confirmed regression, for telling whether the
  figure changes again: it stays an open alarm until somebody accepts it or the figure recovers.
- A suspicion that the pairs did not confirm was noise, or the host's doing. It was the host's where
  the old version was slow that night too. Its level then stays known for as long as the figure
  stays there, so that a Spark in its slow state is not suspected every night; two nights in a row
  nearer to the old level end that.
- Nights that a finding has looked at are no evidence for the next one.
- Confirming costs device time: a figure is confirmed at most `MOST_CONFIRMATIONS` times in
  `WITHIN_NIGHTS` nights. After that a suspicion that a glance shows is told without (SUSPECTED).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from harness.history.baseline import WINDOW
from harness.history.pairs import Outcome
from harness.records import record

MOST_CONFIRMATIONS = 2
WITHIN_NIGHTS = 60


@record
class Past:
    """A finding about one figure.

    Attributes:
        night: index of the night that it was made in.
        outcome: what the pairs said.
        nights: how many nights its shift was seen in.
        is_costly: whether it was confirmed, by more pairs than those of a glance.
        level: of the old version in the pairs; None where none were run.
    """

    night: int
    outcome: Outcome
    nights: int
    is_costly: bool = True
    level: float | None = None


@record
class Memory:
    """What tonight is judged with.

    Attributes:
        cleared: a level that is the host's doing and has held since it was cleared; None: none.
        may_confirm: whether a suspicion may be confirmed tonight.
        fresh: how many nights no finding has looked at, tonight included.
    """

    cleared: float | None
    may_confirm: bool
    fresh: int


def memory(values: Sequence[float], findings: Sequence[Past]) -> Memory:
    """Return what the findings before tonight leave for it.

    Args:
        values: one a night, tonight's last; positive is better.
        findings: about nights before tonight, in order.
    """
    tonight = len(values) - 1
    spent = [each for each in findings if each.is_costly and each.night > tonight - WITHIN_NIGHTS]
    cleared = None
    for each in findings:
        is_cleared = each.outcome in {Outcome.NOT_REGRESSED, Outcome.NOT_SEEN}
        if is_cleared and each.night > tonight - WINDOW:
            seen = median(values[each.night - each.nights + 1 : each.night + 1])
            before = median(values[max(0, each.night - each.nights - WINDOW) : each.night])
            level = seen if each.level is None else each.level
            is_host = level < (seen + before) / 2
            if is_host and _holds(values[each.night + 1 :], level, before):
                cleared = level if cleared is None else min(level, cleared)
    last = max((each.night for each in findings), default=-1)
    return Memory(
        cleared=cleared, may_confirm=len(spent) < MOST_CONFIRMATIONS, fresh=tonight - last
    )


def _holds(since: Sequence[float], level: float, before: float) -> bool:
    """Return whether the nights since have stayed at a cleared level; two in a row that left it."""
    left = [each > (level + before) / 2 for each in since]
    return not any(one and two for one, two in pairwise(left))
