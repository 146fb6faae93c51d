"""How a run gets on, as text: one line that fits, and a block for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from harness.follow.machine import Readings
from harness.follow.remaining import Left
from harness.follow.told import Count, Progress
from harness.probes.channels import Channel
from harness.records import record
from harness.report.clean import plain, printable
from harness.units import duration

_SMALL, _LARGE = 0.01, 10_000.0
_LEAST_NAME = 12
LABEL_WIDTH = 8


@record
class RunView:
    """What is seen of a run at one moment.

    Attributes:
        name: the run, in words.
        state: how it is doing, in words; empty where it is at work.
        elapsed_s: since it began, seconds.
        left: how long it will take; None where nothing says so.
        phase: what is being done; None where the run has told nothing yet.
        detail: what is done within its step.
        values: figures of the step.
        pace_s: seconds a step.
        quiet_s: since the last sign of life, seconds.
        machine: the last readings.
    """

    name: str
    state: str = ""
    elapsed_s: float = 0.0
    left: Left | None = None
    phase: Count | None = None
    detail: Count | None = None
    values: Mapping[str, float]
    pace_s: float | None = None
    quiet_s: float = 0.0
    machine: Mapping[Channel, float]


def look(  # noqa: PLR0913 - each is a part of what is seen
    name: str,
    progress: Progress,
    machine: Readings,
    *,
    elapsed_s: float,
    left: Left | None,
    quiet_s: float = 0.0,
    state: str = "",
) -> RunView:
    """Return what is seen of a run now."""
    last = progress.last
    return RunView(
        name=name,
        state=state,
        elapsed_s=elapsed_s,
        left=left,
        phase=last.phase if last else None,
        detail=last.detail if last else None,
        values=progress.values(),
        pace_s=progress.pace_s(),
        quiet_s=quiet_s,
        machine=machine,
    )


def one_line(seen: RunView, width: int) -> str:
    """Return one line of at most `width` columns: what fits, the most important first.

    What is left out first: power, memory, further figures of the step, what is done within it.
    """
    lead = plain(f"{seen.name}: {seen.state}" if seen.state else seen.name)
    rest = f"left {rough(seen.left.seconds)}" if seen.left else rough(seen.elapsed_s)
    if seen.left and not seen.left.whole:
        rest = f"phase left {rough(seen.left.seconds)}"
    parts = [lead, *([plain(_short(seen.phase))] if seen.phase else ()), rest]
    figures = [f"{_words(name)} {_figure(value)}" for name, value in seen.values.items()]
    inner = [_short(seen.detail)] if seen.detail else []
    order = [*figures[:1], *inner, *figures[1:], *machine_words(seen.machine)]
    at = len(parts) - 1
    for part in map(plain, order):
        if len(_joined([*parts[:at], part, *parts[at:]])) <= width:
            parts.insert(at, part)
            at += 1
    line = _joined(parts)
    if len(line) <= width:
        return line
    spare = max(_LEAST_NAME, width - len(_joined(["", *parts[1:]])))
    return _cut(_joined([_cut(parts[0], spare), *parts[1:]]), width)


def block(
    seen: RunView,
    width: int,
    *,
    stored: Sequence[str] = (),
    beside: Sequence[str] = (),
    log: Sequence[str] = (),
) -> list[str]:
    """Return what is known of a run, in lines of at most `width` columns.

    Args:
        seen: the run.
        width: of a line.
        stored: of finished runs like it.
        beside: a line for each other run that is at work.
        log: the last lines that it printed.
    """
    running = f"running for {rough(seen.elapsed_s)}" if not seen.state else seen.state
    left = ""
    if seen.left:
        left = f", about {rough(seen.left.seconds)} left"
        left += "" if seen.left.whole else " of this phase"
    lines = [*_row("run", f"{seen.name}: {running}{left}", width)]
    if seen.phase is None:
        lines += _row("phase", "nothing told yet", width)
    else:
        pace = f", {duration(seen.pace_s)} a {seen.phase.unit}" if seen.pace_s else ""
        inner = f"; {seen.detail}" if seen.detail else ""
        lines += _row("phase", f"{seen.phase}{pace}{inner}", width)
    if seen.values:
        said = (f"{_words(name)} {_figure(value)}" for name, value in seen.values.items())
        lines += _row("figures", ", ".join(said), width)
    if words := [*machine_words(seen.machine)]:
        lines += _row("machine", ", ".join(words), width)
    if stored:
        lines += _row("stored", ", ".join(stored), width)
    for label, more in (("beside", beside), ("log", log)):
        for number, line in enumerate(more):
            shown = f"{'' if number else label:{LABEL_WIDTH}}{printable(line)}"
            lines.append(_cut(shown, width))
    return lines


def machine_words(readings: Mapping[Channel, float]) -> Iterator[str]:
    """Yield memory, power, temperature and use of the GPU, as far as the machine says them."""
    used = readings.get(Channel.MEMORY_USED_GIB)
    if used is not None:
        yield f"{used:.1f} GiB"
    power = readings.get(Channel.NODE_POWER_W, readings.get(Channel.GPU_POWER_W))
    if power is not None:
        yield f"{power:.0f} W"
    heat = readings.get(Channel.GPU_TEMPERATURE_C, readings.get(Channel.HOST_TEMPERATURE_C))
    if heat is not None:
        yield f"{heat:.0f} °C"
    if (use := readings.get(Channel.GPU_UTILISATION_PCT)) is not None:
        yield f"GPU {use:.0f} %"


def rough(seconds: float) -> str:
    """Return a time that is an estimate, or grows: without tenths."""
    return f"{seconds:.0f} s" if seconds < 60 else duration(seconds)  # noqa: PLR2004 - a minute


def _short(count: Count) -> str:
    if count.step is None:
        return count.what
    return f"{count.what} {count.step}" + (f"/{count.of}" if count.of is not None else "")


def _joined(parts: Sequence[str]) -> str:
    return " | ".join(parts)


def _words(name: str) -> str:
    return name.removesuffix("_pct").replace("_per_second", "/s").replace("_", " ")


def _figure(value: float) -> str:
    if value == int(value) and abs(value) < _LARGE:
        return f"{int(value)}"
    if abs(value) >= _LARGE or abs(value) < _SMALL:
        return f"{value:.3g}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - four digits


def _row(label: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        plain(text),
        max(width, 30),
        initial_indent=f"{label:{LABEL_WIDTH}}",
        subsequent_indent=" " * LABEL_WIDTH,
    )


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: max(0, size - 3)]}..."
