"""Steps one and two of a regression: is tonight's figure unlike the nights before?

A night differs from the next without anybody's doing: clocks follow the temperature, one night in
twenty is slow, noise is autocorrelated and has heavy tails. So the level is a median of the nights
before, the noise their median absolute deviation, and the figure is compared as an autocorrelated
series: what counts of a night is what the one before did not foretell (an AR(1) whose coefficient
is estimated from those nights). A shift is looked for in the last one to five nights (the largest
of five matched filters). One night alone is enough only where it is further out than any before.

This raises no alarm. It decides what is worth a glance at a few pairs of runs, which is cheap, and
so it looks closely (`GLANCES`); its word alone counts only where it is sure (`FALSE_DISCOVERIES`).
See `harness.history.pairs`, and docs/design/026-three-steps-to-an-alarm.md for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median, median_high, median_low

from harness.records import record
from harness.statistics import t_quantile, t_tail

WINDOW = 45  # nights that make a baseline
FEWEST = 10  # less say nothing of their own noise
RECENT = 5  # nights a shift is looked for in
LEAST = 0.01  # a smaller change is not worth a second run
FALSE_DISCOVERIES = 0.01  # of all figures suspected in a night, expected share of false ones
RECORD = 2.0  # a night alone counts where it is twice as far out as any before
GLANCES = 0.4  # of all figures glanced at in a night, likewise
_WORTH = 0.8
_MAD_TO_SD = 1.4826
_CLIP = 3.0  # one night counts for no more than so many standard deviations
_MOST_MEMORY = 0.9
_POWER_Z = 0.84  # of power 0.8
_NEAR = 2.5
_NEAR_VARIANCE = 0.978  # of a standard normal variable, clipped at 2.5
_REMEMBERED = 365  # nights whose worst one is known
_TINY = 1e-9


@record
class NightLook:
    """What the nights before say of the last ones.

    Attributes:
        level: of the nights before, in the unit of the values.
        scale: their standard deviation, robust.
        shift: that more than half of the last `nights` have at least, in the unit of the values.
        nights: how many of the last nights the shift is seen in.
        p_value: two-sided, corrected for looking at one to five nights.
        sees: the smallest shift that would be glanced at within five nights with power 0.8.
        baseline: how many nights make it.
    """

    level: float
    scale: float
    shift: float
    nights: int
    p_value: float
    sees: float
    baseline: int


def look(
    values: Sequence[float], cleared: float | None = None, fresh: int = RECENT
) -> NightLook | None:
    """Compare the last nights with those before; None where there are too few.

    Args:
        values: one a night, in order, tonight's last; logarithms where the figure is positive.
        cleared: a lower level that is known to be the host's doing, and has held since: what is no
            lower than it is no shift.
        fresh: how many of the last nights may be evidence for a shift.
    """
    recent = min(RECENT, len(values) - FEWEST)
    if recent < 1:
        return None
    before = values[-WINDOW - recent : -recent]
    level, scale = _centre(before)
    unlike = [_clipped((each - level) / scale) for each in before]
    memory = _memory(unlike)
    innovation = math.sqrt(1 - memory * memory)
    ever = [(each - level) / scale for each in values[-_REMEMBERED - recent : -recent]]
    farthest = max(abs(now - memory * last) for last, now in pairwise(ever))
    reference = level
    if cleared is not None and (values[-1] - level) * (cleared - level) > 0:
        reference = cleared if abs(cleared - level) < abs(values[-1] - level) else values[-1]
    degrees = len(before) - 1
    # of the level, in variances of what a night adds: a mean of autocorrelated nights
    doubt = 1 / len(before) / (1 - memory) ** 2
    found = NightLook(
        level=level,
        scale=scale,
        shift=values[-1] - reference,
        nights=1,
        p_value=1.0,
        sees=_sees(scale, memory, degrees),
        baseline=len(before),
    )
    for nights in range(1, min(recent, fresh) + 1):
        last = [(each - reference) / scale for each in values[-nights - 1 :]]
        if nights == 1 and abs(last[1] - memory * last[0]) < RECORD * farthest:
            continue
        before_it, *those = last if nights == 1 else map(_clipped, last)
        z = those[0] - memory * before_it
        z += math.fsum((1 - memory) * (two - memory * one) for one, two in pairwise(those))
        energy = _energy(nights, memory)
        z /= innovation * math.sqrt(energy) * math.sqrt(1 + energy * doubt)
        p_value = min(1.0, 2 * RECENT * t_tail(abs(z), degrees))
        if p_value < found.p_value:
            # of an even number of nights the middle one nearer to the level: one slow night of two
            # is no shift
            nearer = median_high if z < 0 else median_low
            shift = nearer([each - reference for each in values[-nights:]])
            found = NightLook(
                level=level,
                scale=scale,
                shift=shift,
                nights=nights,
                p_value=p_value,
                sees=found.sees,
                baseline=len(before),
            )
    return found


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """Return which of several hypotheses to reject (Benjamini and Hochberg 1995)."""
    ranked = sorted(range(len(p_values)), key=lambda at: p_values[at])
    most = 0
    for rank, at in enumerate(ranked, 1):
        if p_values[at] <= rate * rank / len(p_values):
            most = rank
    chosen = set(ranked[:most])
    return [at in chosen for at in range(len(p_values))]


def normalised(values: Sequence[float], host: Sequence[float | None]) -> tuple[list[float], float]:
    """Return a figure less what the host's speed explains of it, and by which share it follows.

    How far a figure follows a probe is not known beforehand (a decode follows the memory, a prefill
    the clock), so it is fitted to the nights before (least squares through clipped deviations, a
    share from none to all) and taken only where it makes the noise smaller by a fifth.

    Args:
        values: as of `look`.
        host: of each night the logarithm of what a probe measured; None where there was none.
    """
    recent = max(1, min(RECENT, len(values) - FEWEST))
    pairs = [
        (value, speed)
        for value, speed in zip(values[:-recent], host, strict=False)
        if speed is not None
    ][-WINDOW:]
    if len(pairs) < FEWEST or any(each is None for each in host[-recent - 1 :]):
        return [*values], 0.0
    middle, still = median([speed for _, speed in pairs]), median([value for value, _ in pairs])
    total = math.fsum((speed - middle) ** 2 for _, speed in pairs)
    if not total:
        return [*values], 0.0
    share = math.fsum((value - still) * (speed - middle) for value, speed in pairs) / total
    share = max(0.0, min(1.0, share))
    raw = median([abs(value - still) for value, _ in pairs])
    left = [value - still - share * (speed - middle) for value, speed in pairs]
    if median([abs(each - median(left)) for each in left]) > _WORTH * raw:
        return [*values], 0.0
    return [
        value if speed is None else value - share * (speed - middle)
        for value, speed in zip(values, host, strict=True)
    ], share


def explained(shift: float, host: Sequence[float | None], nights: int) -> bool:
    """Return whether the host's own change over the same nights explains a shift of a figure.

    Asked where the nights before do not tell by which share the figure follows the host: any share
    from half to all is taken.

    Args:
        shift: of the figure, as a logarithm.
        host: as of `normalised`.
        nights: how many of the last nights the shift is seen in.
    """
    known = [each for each in host[-WINDOW - nights : -nights] if each is not None]
    now = [each for each in host[-nights:] if each is not None]
    if len(known) < FEWEST or not now:
        return False
    moved = median(now) - median(known)
    noise = _MAD_TO_SD * median([abs(each - median(known)) for each in known])
    return moved * shift > 0 and abs(moved) > 3 * noise and abs(shift) <= 2 * abs(moved)


def _centre(values: Sequence[float]) -> tuple[float, float]:
    """Return level and standard deviation, robust against outliers and nearly as good without.

    From median and median absolute deviation one step to the mean and deviation of what lies within
    2.5 of them (Huber's one-step estimates; the rest counts as 2.5).
    """
    level = median(values)
    scale = max(_MAD_TO_SD * median([abs(each - level) for each in values]), _TINY)
    near = [max(-_NEAR, min(_NEAR, (each - level) / scale)) for each in values]
    middle = math.fsum(near) / len(near)
    spread = math.fsum((each - middle) ** 2 for each in near) / (len(near) - 1)
    return level + scale * middle, max(_TINY, scale * math.sqrt(spread / _NEAR_VARIANCE))


def _clipped(value: float) -> float:
    return max(-_CLIP, min(_CLIP, value))


def _memory(unlike: Sequence[float]) -> float:
    """Return the autocorrelation from one night to the next, corrected for its small-sample bias.

    Kendall 1954: an estimate from n nights is too small by (1 + 3 rho) / n.
    """
    middle = math.fsum(unlike) / len(unlike)
    off = [each - middle for each in unlike]
    total = math.fsum(each * each for each in off)
    if not total:
        return 0.0
    count = len(unlike)
    rho = math.fsum(one * two for one, two in pairwise(off)) / total
    return max(0.0, min(_MOST_MEMORY, (count * rho + 1) / (count - 3)))


def _energy(nights: int, memory: float) -> float:
    return 1 + (nights - 1) * (1 - memory) ** 2


def _sees(scale: float, memory: float, degrees: int) -> float:
    """Return the shift in scale's unit that five nights would show."""
    critical = t_quantile(1 - GLANCES / (2 * RECENT), degrees)
    needed = (critical + _POWER_Z) * math.sqrt(1 - memory * memory)
    return scale * needed / math.sqrt(_energy(RECENT, memory))
