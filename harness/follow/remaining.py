"""How long a run will still take, learned from itself and from earlier ones like it.

An earlier run of the same scenario and profile says how its time was spread over the phases. The
present run's place in that, and how much faster or slower it came there, give the rest. Without an
earlier run the present phase's pace gives the rest of that phase, and nothing is said of what
follows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.follow.told import Count, Progress, ProgressLine
from harness.records import record

_TRUSTED = 0.02  # of an earlier run: before that, how fast this one is says little


@record
class Left:
    """How long something will still take, seconds.

    Attributes:
        seconds: from now.
        whole: whether that is all of the run, or the present phase alone.
    """

    seconds: float
    whole: bool


@record
class Timeline:
    """When an earlier run was where.

    Attributes:
        total_s: its wall clock.
        places: phase -> (how much of it was done, when), in order.
    """

    total_s: float
    places: dict[str, tuple[tuple[float, float], ...]]


def timeline(lines: Iterable[ProgressLine], total_s: float) -> Timeline:
    """Return the timeline of a run that has finished."""
    places: dict[str, list[tuple[float, float]]] = {}
    for told in lines:
        places.setdefault(told.phase.what, []).append((_share(told.phase), told.at_s))
    return Timeline(
        total_s=total_s, places={name: tuple(sorted(known)) for name, known in places.items()}
    )


def timeline_of(folder: Path, total_s: float, began: float | None = None) -> Timeline:
    """Return the timeline of a finished run's folder; only its length where it told nothing."""
    progress = Progress(folder, began)
    progress.update()
    return timeline(progress.lines, total_s)


def left(progress: Progress, elapsed_s: float, earlier: Sequence[Timeline]) -> Left | None:
    """Return how long a run will still take; None where nothing says so.

    Args:
        progress: of the run.
        elapsed_s: since it began.
        earlier: timelines of runs like it; the median of what they say counts.
    """
    said = sorted(each for one in earlier if (each := _by(one, progress, elapsed_s)) is not None)
    if said:
        return Left(seconds=said[len(said) // 2], whole=True)
    last, pace_s = progress.last, progress.pace_s()
    if last is None or pace_s is None or last.phase.step is None or last.phase.of is None:
        return None
    rest_s = pace_s * (last.phase.of - last.phase.step) - (elapsed_s - progress.reached_s())
    return Left(seconds=max(0.0, rest_s), whole=False)


def _by(earlier: Timeline, progress: Progress, elapsed_s: float) -> float | None:
    last = progress.last
    known = earlier.places.get(last.phase.what) if last is not None else None
    if last is None or not known:
        rest_s = earlier.total_s - elapsed_s
        return rest_s if rest_s > 0 else None
    shares = [share for share, _ in known]
    at = bisect_left(shares, _share(last.phase))
    if at == len(shares) or shares[at] != _share(last.phase):
        at = max(0, at - 1)
    reached_s, here_s = known[at][1], progress.reached_s()  # when it was as far, and this run
    if reached_s < _TRUSTED * earlier.total_s:
        return max(0.0, earlier.total_s - elapsed_s)
    rest_s = (earlier.total_s - reached_s) * here_s / reached_s
    return max(0.0, rest_s - max(0.0, elapsed_s - here_s))


def _share(phase: Count) -> float:
    """Return how much of a phase is done."""
    if phase.step is None or not phase.of:
        return 0.0
    return phase.step / phase.of
