"""Step three: the old version and the new one run in turn, until a sequential test decides.

A suspicion gets a glance first: pairs until three of them agree whether the new version lost about
half of what is suspected or more. Most flukes end there, after three to five pairs. What the glance
shows is confirmed by new pairs; those of the glance are not counted again, so it takes nothing from
the chance of a false alarm that the test proves.

The two runs of a pair are made one after the other, and a coin decides which comes first. That
coin is all that the test rests on. Whatever the machine does meanwhile (warms up, slows down, has a
neighbour, switches between two states) does not know on which side the coin fell, so if both
versions are equally fast, the difference of each pair is as likely to be positive as negative,
given all before it. Then ``exp(x d) / cosh(x d)`` is a bet on the sign of the difference d at fair
odds, for any x that depends on sizes alone, and so is a product of them: a test martingale (de la
Pena 1999; Ramdas and others 2023). By Ville's inequality it ever comes to 1 / alpha with a chance
of at most alpha, however often one looks. Several x are mixed, as the best is not known.

If the new version is faster by t, the same holds of d - t: the values of t that are not refuted
are an interval that is valid at any time.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import median

from harness.records import record
from harness.statistics import Interval

ALARM = 0.002  # the chance of a false alarm, each time that a suspicion is confirmed
CLEAR = 0.02  # the chance of clearing a change that is as large as what is ruled out
CONFIDENCE = 0.95
MOST_PAIRS = 30
GLANCE = 3  # pairs that have to agree
_BETS = (0.25, 0.5, 1.0, 2.0, 4.0)  # per median difference
_FAR = 4.0  # median differences: one normal difference in a hundred and fifty is larger
_POWER_Z = 0.84  # of power 0.8
_HALVINGS = 20


class Outcome(StrEnum):
    """What the pairs say; NOT_SEEN is that of a glance."""

    REGRESSED = "REGRESSED"
    NOT_REGRESSED = "NOT_REGRESSED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_SEEN = "NOT_SEEN"


@record
class PairTest:
    """The answer of the pairs so far.

    Attributes:
        outcome: INCONCLUSIVE as long as neither is shown.
        effect: of the new version; negative is worse; a logarithm where the figure is positive.
        interval: at 95 %, valid at any time; infinite where too few pairs bound it.
        sees: the effect that these pairs would have shown with power 0.8; infinite for too few.
        pairs: how many.
    """

    outcome: Outcome
    effect: float
    interval: Interval
    sees: float
    pairs: int


def glance(differences: Sequence[float], margin: float) -> bool | None:
    """Return whether `GLANCE` pairs show a loss; None as long as neither side has as many.

    Args:
        differences: new less old of each pair, oriented so that positive is better.
        margin: a pair with a smaller loss than this does not show it.
    """
    shown = sum(each < -margin for each in differences)
    if shown >= GLANCE:
        return True
    return False if len(differences) - shown >= GLANCE else None


def decide(differences: Sequence[float], margin: float, tests: int = 1) -> Outcome:
    """Return what the pairs so far show.

    Args:
        differences: new less old of each pair, oriented so that positive is better.
        margin: a loss below it need not be ruled out, above 0.
        tests: how many figures are confirmed together (Bonferroni).
    """
    losses = [-each for each in differences]
    if wealth(losses) >= tests / ALARM:
        return Outcome.REGRESSED
    if wealth([each + margin for each in differences]) >= 1 / CLEAR:
        return Outcome.NOT_REGRESSED
    return Outcome.INCONCLUSIVE


def answer(differences: Sequence[float], margin: float, tests: int = 1) -> PairTest:
    """Return what the pairs show, with effect and interval."""
    effect = _centre(differences)
    bound = 2 / (1 - CONFIDENCE)
    residuals = [each - effect for each in differences]
    reach = _reach(residuals, tests / ALARM)
    spread = 1.4826 * median([abs(each) for each in residuals]) / math.sqrt(len(residuals))
    return PairTest(
        outcome=decide(differences, margin, tests),
        effect=effect,
        interval=Interval(
            low=effect - _reach(residuals, bound),
            high=effect + _reach([-each for each in residuals], bound),
        ),
        sees=reach + _POWER_Z * spread,
        pairs=len(differences),
    )


def wealth(differences: Sequence[float]) -> float:
    """Return what bets that differences are positive have made of 1.

    The size of a bet follows from the median size of the differences up to it, its own included:
    sizes tell nothing of signs. So there is no bet on a difference that is much larger than the
    others, where one of the two runs met a machine that was busy: one such on the wrong side would
    cost what ten pairs have won.
    """
    logs, sizes = [0.0] * len(_BETS), list[float]()
    for each in differences:
        bisect.insort(sizes, abs(each))
        scale = sizes[len(sizes) // 2]
        if scale == 0:
            if each == 0:
                continue
            scale = abs(each)
        if abs(each) > _FAR * scale:
            continue
        for at, bet in enumerate(_BETS):
            # exp(x) / cosh(x) = 2 / (1 + exp(-2 x))
            logs[at] += _log_factor(bet * each / scale)
    top = max(logs)
    total = math.fsum(math.exp(each - top) for each in logs) / len(logs)
    return math.exp(min(700.0, top + math.log(total)))


def _log_factor(x: float) -> float:
    if x < -30:  # noqa: PLR2004 - the 1 of the sum is lost there
        return math.log(2) + 2 * x
    return math.log(2) - math.log1p(math.exp(-2 * x))


def _centre(values: Sequence[float]) -> float:
    """Return the Hodges-Lehmann estimate: the median of the means of all pairs of values."""
    means = [(one + two) / 2 for at, one in enumerate(values) for two in values[at:]]
    return median(means)


def _reach(residuals: Sequence[float], bound: float) -> float:
    """Return how far below their centre a true effect is refuted, infinite for too few pairs."""
    far = 8 * max(map(abs, residuals), default=0.0) + 1e-12
    if wealth([each + far for each in residuals]) < bound:
        return math.inf
    low, high = 0.0, far
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if wealth([each + middle for each in residuals]) >= bound:
            high = middle
        else:
            low = middle
    return high
