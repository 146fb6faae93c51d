"""The first bad commit between a good one and a bad one, by the pair test at each step.

A machine that drifts would mislead a bisection by thresholds. Here each commit that is looked at
is run in turn with the good one, that day, until the pairs say that it is as slow as the bad one,
or is not. A commit that does not run, or of which the pairs do not decide, is passed over, as
``git bisect skip`` does; then several commits may remain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.history.pairs import Outcome
from harness.records import record


@record
class Bisection:
    """What remains.

    Attributes:
        first_bad: the commits of which the first bad one is one; usually a single one.
        asked: commit -> what its pairs said; None where it does not run.
    """

    first_bad: tuple[str, ...]
    asked: dict[str, Outcome | None]


def bisect(commits: Sequence[str], ask: Callable[[str], Outcome | None]) -> Bisection:
    """Walk the commits after the good one up to the bad one, oldest first.

    Args:
        commits: at least the bad one, which is last.
        ask: what the pairs of a commit and the good one say; None where the commit does not run.
    """
    low, high = 0, len(commits) - 1  # the first bad one is among commits[low:high + 1]
    asked: dict[str, Outcome | None] = {}
    while low < high:
        middle = (low + high - 1) // 2
        # the nearest to the middle that can tell
        for at in sorted(range(low, high), key=lambda each: abs(each - middle)):
            said = asked.get(commits[at]) if commits[at] in asked else ask(commits[at])
            asked[commits[at]] = said
            if said is Outcome.REGRESSED:
                high = at
                break
            if said is Outcome.NOT_REGRESSED:
                low = at + 1
                break
        else:
            break  # none of those that remain can tell
    return Bisection(first_bad=tuple(commits[low : high + 1]), asked=asked)
