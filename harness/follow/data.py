"""What the web page shows of a run, as one small JSON document, however long the run is.

Curves are thinned out to what a screen can show: of each stretch of time the lowest and the highest
point stay, so that no spike is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from harness.follow import machine
from harness.follow.find import Followed, stored
from harness.follow.text import RunView, rough
from harness.follow.told import Progress
from harness.follow.watching import Watched
from harness.report.clean import printable
from harness.results.store import RunStore

MOST_POINTS = 600
_LOG_LINES = 40
_MOST_CURVES = 24

Point = tuple[float, float]


def document(watched: Watched, seen: RunView, store: RunStore, others: Sequence[Followed]) -> Any:
    """Return everything that the page shows."""
    spec = watched.spec
    of_machine = machine.series(watched.run.folder, MOST_POINTS)
    return {
        "name": seen.name,
        "state": seen.state or watched.run.state.value,
        "cause": watched.run.cause,
        "run": spec.run_id,
        "scenario": spec.scenario,
        "profile": spec.profile.value,
        "elapsed": rough(seen.elapsed_s),
        "left": rough(seen.left.seconds) if seen.left else None,
        "left_whole": seen.left.whole if seen.left else None,
        "quiet_s": round(seen.quiet_s),
        "stall_s": spec.limits.stall_s,
        "phase": _count(seen, "phase"),
        "detail": _count(seen, "detail"),
        "pace_s": seen.pace_s,
        "values": dict(seen.values),
        "phases": phases(watched.progress),
        "curves": [
            {
                "name": name,
                "parts": [
                    {"phase": phase, "points": [[round(x, 1), y] for x, y in points]}
                    for phase, points in parts
                ],
            }
            for name, parts in curves(watched.progress).items()
        ],
        "machine": [
            {
                "name": machine.NAMES[channel][0],
                "unit": machine.NAMES[channel][1],
                "range": machine.NAMES[channel][2],
                "last": next((y for y in reversed(values) if y is not None), None),
                "points": [
                    [x, y] for x, y in zip(of_machine.at_s, values, strict=True) if y is not None
                ],
            }
            for channel, values in of_machine.readings.items()
        ],
        "log": [printable(line)[:500] for line in watched.log(_LOG_LINES)],
        "stored": [*stored(store, spec.scenario, spec.profile)],
        "others": [
            {"name": other.name, "state": other.state.value, "run": other.spec.run_id}
            for other in others
        ],
    }


def curves(progress: Progress) -> dict[str, list[tuple[str, list[Point]]]]:
    """Return each figure that the run told, a part for each phase that told it, thinned out."""
    found: dict[str, list[tuple[str, list[Point]]]] = {}
    for told in progress.lines:
        for name, value in told.values.items():
            if name not in found and len(found) == _MOST_CURVES:
                continue
            parts = found.setdefault(name, [])
            known = next((points for phase, points in parts if phase == told.phase.what), None)
            if known is None:
                parts.append((told.phase.what, known := []))
            known.append((told.at_s, value))
    return {
        name: [(phase, thinned(points, MOST_POINTS // len(parts))) for phase, points in parts]
        for name, parts in found.items()
    }


def phases(progress: Progress) -> list[dict[str, Any]]:
    """Return the phases in their order: how long each took, and how far it came."""
    found: dict[str, dict[str, Any]] = {}
    lines = progress.lines
    for told, following in zip_longest(lines, lines[1:]):
        entry = found.setdefault(told.phase.what, {"name": told.phase.what, "took_s": 0.0})
        entry |= {"step": told.phase.step, "of": told.phase.of}
        entry["took_s"] += following.at_s - told.at_s if following else 0.0
    return [*found.values()]


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most about `most` points: of each stretch the first, lowest, highest and last."""
    if len(points) <= most:
        return list(points)
    stretch = max(1, len(points) * 4 // most)
    kept: list[Point] = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        chosen = {0, len(part) - 1, *(_extremes(y for _, y in part))}
        kept += (part[index] for index in sorted(chosen))
    return kept


def _extremes(values: Iterable[float]) -> tuple[int, int]:
    numbered = [*enumerate(values)]
    low = min(numbered, key=lambda each: each[1])[0]
    return low, max(numbered, key=lambda each: each[1])[0]


def _count(seen: RunView, name: str) -> dict[str, Any] | None:
    count = getattr(seen, name)
    if count is None:
        return None
    return {"what": count.what, "step": count.step, "of": count.of, "unit": count.unit}
