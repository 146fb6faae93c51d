"""Plots as SVG: the same figures give the same bytes, for one version of matplotlib.

Text stays text (`svg.fonttype: none`): an axis can be read by a screen reader, found by a search
and compared in a diff; it is laid out for DejaVu Sans, which matplotlib brings along. No user's
matplotlib settings take part, and no time or random id goes into the file.
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HostError
from harness.installed import to_install
from harness.records import Scalar, record
from harness.report import clean
from harness.report.cells import spoken
from harness.report.dossier import ScenarioReport
from harness.report.figures import last_digit, setting
from harness.report.palette import GRID, INK, QUIET, SERIES, SURFACE
from harness.report.series import Curves, Point, Series, curves, is_number, x_values
from harness.scenario.schema import Plot, PlotKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN, _HEIGHT_IN, _PAD_IN = 7.5, 4.0, 0.1
_LEGEND_ROW_IN = 0.19
# the width of a legend row, of a mark with its gaps, and of a character
_LEGEND_WIDTH_PT, _MARK_PT, _CHARACTER_PT = 520, 38, 5
_TITLE_CHARACTERS = 72
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++")
_DASHES = ("-", "--", "-.", ":")
_BAR_SHARE = 0.8  # of the distance between two groups of bars
_LEAST_GAP = 0.07  # between labels, as a share of the axis
_LONG_LABELS = 60  # characters of all tick labels together, beyond which they are slanted
_LOG_SPAN = 100.0
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": SURFACE,
    "axes.facecolor": SURFACE,
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
}


@record
class RenderedPlot:
    """A plot, or why there is none.

    Attributes:
        svg: the whole file; empty where no figure could be drawn.
        note: what is missing from it, in one line; empty if nothing is.
    """

    plot: Plot
    svg: str
    note: str


def draw_all(dossier: ScenarioReport) -> tuple[RenderedPlot, ...]:
    """Draw every plot that the scenario's report declares.

    Raises:
        HostError: matplotlib is not installed.
    """
    return tuple(draw(plot, dossier) for plot in dossier.scenario.report.plots)


def draw(plot: Plot, dossier: ScenarioReport) -> RenderedPlot:
    """Draw one plot.

    Raises:
        HostError: matplotlib is not installed.
    """
    shown = curves(plot, dossier)
    missing = ", ".join(f"{count} {reason}" for reason, count in sorted(shown.missing.items()))
    if not shown.series:
        why = missing or f"no finished run measured {plot.y} by {plot.x}"
        return RenderedPlot(plot=plot, svg="", note=f"not drawn: {why}")
    device = ", ".join(dossier.devices)
    svg = _svg(shown, f"{dossier.profile} profile on {device}")
    return RenderedPlot(plot=plot, svg=svg, note=f"not shown: {missing}" if missing else "")


def _svg(shown: Curves, origin: str) -> str:
    try:
        import matplotlib.style  # noqa: PLC0415 - takes a second, and is an optional extra
        from matplotlib.figure import Figure  # noqa: PLC0415 - see above
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - see above
    except ImportError:
        message = "plots need matplotlib, which is not installed"
        raise HostError(message, to_install("plots")) from None

    style = {**_STYLE, "svg.hashsalt": shown.plot.file}
    with matplotlib.style.context(["default", style]):
        legend = _legend(shown)
        height_in = _HEIGHT_IN + legend.num_rows * _LEGEND_ROW_IN
        layout = ConstrainedLayoutEngine(w_pad=_PAD_IN, h_pad=_PAD_IN)
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout=layout)
        axes = figure.add_subplot()
        values = list(x_values(shown))
        as_numbers = shown.plot.kind is not PlotKind.BAR and all(
            is_number(value) for value in values
        )
        positions = _numbers(axes, values) if as_numbers else _categories(axes, values)
        for index, series in enumerate(shown.series):
            if shown.plot.kind is PlotKind.BAR:
                of = len(shown.series)
                width, look = _BAR_SHARE / of, look_of(index)
                shift = (index - (of - 1) / 2) * width
                axes.bar(
                    [positions[setting(point.x)] + shift for point in series.points],
                    [point.y for point in series.points],
                    width,
                    yerr=_errors(series.points),
                    label=series.label,
                    color=look.colour,
                    edgecolor=SURFACE,
                    hatch=look.hatch,
                    error_kw={"ecolor": INK, "capsize": 3, "elinewidth": 1},
                )
            else:
                _put_points(axes, series, index, positions, joined=shown.plot.kind is PlotKind.LINE)
        _put_words(axes, shown, origin)
        if legend.num_rows:
            figure.legend(loc="outside lower left", ncols=legend.num_columns, fontsize=9)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(_METADATA))
    return stream.getvalue()


# what matplotlib would write of itself and the time
_METADATA = ("Date", "Creator", "Format", "Type")


@record
class _Legend:
    """How the names of the series are laid out below a plot; no rows for a single one."""

    num_columns: int
    num_rows: int


def _legend(shown: Curves) -> _Legend:
    labels = [series.label for series in shown.series]
    if len(labels) == 1:
        return _Legend(num_columns=1, num_rows=0)
    label_pt = _MARK_PT + _CHARACTER_PT * max(map(len, labels))
    columns = max(1, min(_LEGEND_WIDTH_PT // label_pt, 3))
    return _Legend(num_columns=columns, num_rows=math.ceil(len(labels) / columns))


@record
class Look:
    """How a series is told from others, by colour and without."""

    colour: str
    marker: str
    hatch: str
    dash: str


def look_of(index: int) -> Look:
    """Return the look of the series number `index`; a colour comes back with another shape."""
    turn, colour = divmod(index, len(SERIES))
    shape = (colour + turn) % len(SERIES)
    return Look(
        colour=SERIES[colour],
        marker=_MARKERS[shape],
        hatch=_HATCHES[shape],
        dash=_DASHES[turn % len(_DASHES)],
    )


def _put_points(
    axes: Axes, series: Series, index: int, positions: dict[str, float], *, joined: bool
) -> None:
    look = look_of(index)
    axes.errorbar(
        [positions[setting(point.x)] for point in series.points],
        [point.y for point in series.points],
        yerr=_errors(series.points),
        label=series.label,
        color=look.colour,
        marker=look.marker,
        markersize=5,
        linestyle=look.dash if joined else "none",
        linewidth=1.6,
        capsize=3,
        elinewidth=1,
    )


def _errors(points: Sequence[Point]) -> list[float] | None:
    if all(point.spread is None for point in points):
        return None
    return [point.spread or 0.0 for point in points]


def _numbers(axes: Axes, values: Sequence[Scalar]) -> dict[str, float]:
    """Make x a numeric axis and return the position of each value."""
    positions = {setting(value): float(value or 0) for value in values}
    distinct = sorted(set(positions.values()))
    scale: Callable[[float], float] = float
    if _geometric(distinct):
        scale = math.log
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    # whether labels at these ascending positions fit side by side
    places = [scale(value) for value in distinct]
    least = (places[-1] - places[0]) * _LEAST_GAP
    if all(after - before >= least for before, after in itertools.pairwise(places)):
        by_place = {place: text for text, place in positions.items()}
        axes.set_xticks(distinct, [by_place[place] for place in distinct])
    return positions


def _categories(axes: Axes, values: Sequence[Scalar]) -> dict[str, float]:
    """Give each different value its own position, in order of appearance."""
    positions = {text: float(i) for i, text in enumerate(dict.fromkeys(map(setting, values)))}
    labels = [clean.plain(text) for text in positions]
    slanted = sum(len(label) for label in labels) > _LONG_LABELS
    axes.set_xticks(
        list(positions.values()),
        labels,
        rotation=30 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.grid(visible=False, axis="x")
    return positions


def _geometric(values: Sequence[float]) -> bool:
    """Return whether values belong on a logarithmic axis: they double, or span two decades."""
    if len(values) < 3 or values[0] <= 0:  # noqa: PLR2004 - two points have no shape
        return False
    ratios = [after / before for before, after in itertools.pairwise(values)]
    doubling = min(ratios) > 1.5 and max(ratios) < 1.01 * min(ratios)  # noqa: PLR2004 - by eye
    return doubling or values[-1] / values[0] >= _LOG_SPAN


def _put_words(axes: Axes, shown: Curves, origin: str) -> None:
    plot, metric = shown.plot, shown.metric
    title = textwrap.fill(clean.plain(plot.title), _TITLE_CHARACTERS)
    axes.figure.suptitle(title, x=0.01, ha="left", weight="bold", size=12)
    subtitle = "; ".join([clean.plain(origin), *_error_bars(shown), *_cut_axis(axes, plot.kind)])
    axes.set_title(textwrap.fill(subtitle, 100), loc="left", color=QUIET, size=9)
    axes.set_xlabel(_label(plot.x, spoken(shown.x_unit)))
    axes.set_ylabel(_label(metric.name, spoken(metric.unit)))
    axes.yaxis.set_major_formatter(lambda value, _: _tick(value, axes.get_yticks().tolist()))


def _cut_axis(axes: Axes, kind: PlotKind) -> list[str]:
    """Return a note if zero is not on the y axis; bars always start there."""
    low, high = axes.get_ylim()
    return ["y axis does not start at 0"] if kind is not PlotKind.BAR and low * high > 0 else []


def _tick(value: float, ticks: Sequence[float]) -> str:
    """Write a tick of a linear axis with the digits that its neighbours need too."""
    step = float(f"{ticks[1] - ticks[0]:.6g}")
    return f"{value:,.{max(0, -last_digit(step))}f}"


def _label(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name


def _error_bars(shown: Curves) -> list[str]:
    """Say what the error bars are, where there are any."""
    points = [point for series in shown.series for point in series.points]
    counts = sorted({point.count for point in points if point.spread is not None})
    if not counts:
        return []
    several = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return [f"mean ± 1 sd of {several} runs"]
