"""Plots as SVG: the same figures give the same bytes, for one version of matplotlib.

Text stays text (`svg.fonttype: none`): an axis can be read by a screen reader, found by a search
and compared in a diff; it is laid out for DejaVu Sans, which matplotlib brings along. No user's
matplotlib settings take part, and no time or random id goes into the file. Every point says its
value when it is pointed at. A name has one colour in all plots of a report.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from harness.check.rows import is_number
from harness.errors import HostError
from harness.installed import to_install
from harness.records import Scalar, record
from harness.report import clean
from harness.report.cells import spoken
from harness.report.dossier import ScenarioReport
from harness.report.figures import figure, last_digit, setting
from harness.report.palette import GRID, INK, QUIET, SERIES, SURFACE
from harness.report.series import Curves, Point, Series, article_curves, curves
from harness.report.tables import Align, Column, RowGroup, Table, TableCell, absent, words
from harness.scenario.schema import IntervalKind, Plot, PlotKind
from harness.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN, _HEIGHT_IN, _PAD_IN = 5.4, 3.3, 0.06
_PANEL_IN = 1.75  # the height of a small panel
_PANEL_COLUMNS = 2
_LEGEND_ROW_IN = 0.19
# the width of a legend row, of a mark with its gaps, and of a character
_LEGEND_WIDTH_PT, _MARK_PT, _CHARACTER_PT = 375, 38, 5
_TITLE_CHARACTERS, _SUBTITLE_CHARACTERS = 56, 76
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# lines only: matplotlib draws each dot of a dotted one as a path of its own, 40 kB a pattern
_HATCHES = ("", "//", "--", "xx", "\\\\", "||", "++")
_DASHES = ("-", "--", "-.", ":")
_BAR_SHARE = 0.8  # of the distance between two groups of bars
_ROW_IN = 0.24  # of a horizontal bar
_MOST_VALUES = 24  # bars beyond which no values are written beside them
_LEAST_GAP = 0.09  # between labels, as a share of the axis
_LONG_LABELS = 44  # characters of all tick labels together, beyond which bars lie
_MOST_WORDS = 12  # at the x axis of points; of more only some are written
_LONG_WORD = 36  # characters of a tick label
_MANY_POINTS = 12  # of a line, beyond which its intervals are a band
_LOG_SPAN = 100.0
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
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
        values: every point as a row; None where none is drawn.
        summary: what it shows in a sentence, for who cannot see it.
    """

    plot: Plot
    svg: str
    note: str
    values: Table | None = None
    summary: str = ""

    def file_of(self, dossier: ScenarioReport) -> str:
        """Return the name of its file among those of a report."""
        return f"{dossier.profile}.{self.plot.file}.svg"


def draw_all(dossier: ScenarioReport) -> tuple[RenderedPlot, ...]:
    """Draw every plot that the scenario's report declares.

    Raises:
        HostError: matplotlib is not installed.
    """
    every = _every(dossier)
    looks = looks_of(every)
    return tuple(_drawn(shown, article, dossier, looks) for shown, article in every)


def draw(plot: Plot, dossier: ScenarioReport) -> RenderedPlot:
    """Draw one plot of the scenario's report.

    Raises:
        HostError: matplotlib is not installed.
    """
    every = _every(dossier)
    shown, article = next(each for each in every if each[0].plot == plot)
    return _drawn(shown, article, dossier, looks_of(every))


def _every(dossier: ScenarioReport) -> list[tuple[Curves, Curves | None]]:
    """Return what each plot shows, with the article's own curves where it has any."""
    every = [curves(plot, dossier) for plot in dossier.scenario.report.plots]
    return [(each, article_curves(each, dossier) if each.series else None) for each in every]


def _drawn(
    shown: Curves, article: Curves | None, dossier: ScenarioReport, looks: Looks
) -> RenderedPlot:
    plot = shown.plot
    missing = ", ".join(f"{count} {reason}" for reason, count in sorted(shown.missing.items()))
    if not shown.series:
        why = missing or f"no finished run measured {plot.y} by {plot.x}"
        return RenderedPlot(plot=plot, svg="", note=f"not drawn: {why}")
    devices = [each.removeprefix("no device").lstrip(": ") for each in dossier.devices]
    origin = ", ".join([f"{dossier.profile} profile", *filter(None, devices)])
    return RenderedPlot(
        plot=plot,
        svg=_svg(shown, article, looks, origin),
        note=f"not shown: {missing}" if missing else "",
        values=values_table(shown, article, dossier.caption),
        summary=_summary(shown),
    )


# --- how series look ------------------------------------------------------------------------------


@record
class Look:
    """How a series is told from others, by colour and without."""

    colour: str
    marker: str
    hatch: str
    dash: str


Looks = Mapping[tuple[tuple[str, ...], str], Look]
"""The look of each series, by what names it and its name."""


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


def looks_of(every: Sequence[tuple[Curves, Curves | None]]) -> Looks:
    """Return one look for each name, the same in all plots whose series have such names.

    Args:
        every: the curves of each plot, and the article's own: names of those alone come last.
    """
    named: dict[tuple[str, ...], dict[tuple[tuple[str, ...], str], None]] = {}
    fields = [(ours, ours) for ours, _ in every]
    fields += [(ours, article) for ours, article in every if article is not None]
    for ours, field in fields:
        for series in field.series:
            together = named.setdefault(ours.series[0].keys, {})
            together[series.keys, series.label] = None
    return {
        name: look_of(index) for together in named.values() for index, name in enumerate(together)
    }


def _look(looks: Looks, series: Series) -> Look:
    return looks[series.keys, series.label]


# --- the file -------------------------------------------------------------------------------------


def _svg(shown: Curves, article: Curves | None, looks: Looks, origin: str) -> str:
    try:
        import matplotlib.style  # noqa: PLC0415 - takes a second, and is an optional extra
    except ImportError:
        message = "plots need matplotlib, which is not installed"
        raise HostError(message, to_install("plots")) from None

    style = {**_STYLE, "svg.hashsalt": shown.plot.file}
    with matplotlib.style.context(["default", style]):
        canvas = _Canvas(looks=looks)
        if shown.plot.kind is PlotKind.TORNADO:
            figure = _tornado(canvas, shown)
        elif shown.plot.panels and len(shown.series) > 1:
            figure = _panels(canvas, shown)
        else:
            figure = _together(canvas, shown, article)
        cut = _cut_axis(figure, shown.plot.kind)
        _put_title(figure, shown, "; ".join([origin, *_meaning_of_intervals(shown), *cut]))
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(_METADATA))
    return canvas.with_values(_shortened(stream.getvalue()))


# what matplotlib would write of itself and the time
_METADATA = ("Date", "Creator", "Format", "Type")
_PATH = re.compile(r'\b(?:d|x|y)="[^"]*"')
_LONG_NUMBER = re.compile(r"\d+\.\d{3,}")


def _shortened(svg: str) -> str:
    """Round coordinates to a hundredth of a point: nobody sees more, and a file is half as long."""

    def rounded(match: re.Match[str]) -> str:
        return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", match[0])

    return _PATH.sub(rounded, svg)


class _Canvas:
    """What is drawn, with the values that its marks say when they are pointed at."""

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self._texts: dict[str, list[str]] = {}

    def name(self, texts: Sequence[str]) -> str:
        """Return an id for a mark, or for a row of markers, that says these texts."""
        name = f"mark-{len(self._texts) + 1}"
        self._texts[name] = [str(escape(clean.plain(text))) for text in texts]
        return name

    def with_values(self, svg: str) -> str:
        """Return the file with the texts as titles, which browsers show and readers read."""
        parts, done = [], 0
        for name, texts in self._texts.items():
            at = svg.find(f'<g id="{name}">', done)
            if at < 0:  # outside of what is drawn
                continue
            for text in texts:
                use = re.compile(r"<(use|path)\b[^>]*/>")
                found = use.search(svg, _after_definitions(svg, at))
                if found is None:
                    break
                parts.append(svg[done : found.end() - 2])
                parts.append(f"><title>{text}</title></{found[1]}>")
                done = at = found.end()
        return "".join([*parts, svg[done:]])


def _after_definitions(svg: str, at: int) -> int:
    """Return where the marks of a group begin: behind the shapes that it defines for them."""
    group = re.compile(r'(?:<g id="[^"]*">)?\s*<defs>.*?</defs>', re.DOTALL).match(svg, at)
    return group.end() if group else at


# --- lines, points and bars -----------------------------------------------------------------------


def _new_figure(height_in: float, legend: _Legend, **grid: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure with its axes; the legend stands below it."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a second
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - see above

    layout = ConstrainedLayoutEngine(w_pad=_PAD_IN, h_pad=_PAD_IN)
    height_in += legend.num_rows * _LEGEND_ROW_IN
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout=layout)
    axes = figure.subplots(squeeze=False, **grid)
    return figure, [each for row in axes for each in row]


def _together(canvas: _Canvas, shown: Curves, article: Curves | None) -> Figure:
    """Draw all series in one field, and the article's own in a second one below."""
    fields = [shown] if article is None else [shown, article]
    legend = _legend({series.label: None for each in fields for series in each.series})
    lying = shown.plot.kind is PlotKind.BAR and any(map(_lies, fields))
    heights = [_lying_height(each) if lying else _HEIGHT_IN for each in fields]
    if article is not None and not lying:
        heights = [_HEIGHT_IN * 0.75] * 2
    figure, axes = _new_figure(
        sum(heights), legend, nrows=len(fields), height_ratios=heights if len(fields) > 1 else None
    )
    for field, place in zip(fields, axes, strict=True):
        if field.plot.kind is PlotKind.BAR:
            _put_bars(canvas, place, field, lying=lying)
        else:
            _put_field(canvas, place, field)
        if article is not None:
            heading = "here" if field is shown else "the article's own figures"
            place.set_title(heading, loc="left", size=9, color=QUIET)
    if legend.num_rows:
        handles: dict[str, Any] = {}
        for place in axes:
            drawn, labels = place.get_legend_handles_labels()
            handles |= {
                label: each
                for label, each in zip(labels, drawn, strict=True)
                if label not in handles
            }
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower left",
            ncols=legend.num_columns,
            fontsize=8,
        )
    return figure


def _put_field(canvas: _Canvas, axes: Axes, shown: Curves) -> None:
    positions = _x_axis(axes, [point.x for point in shown.points])
    for series in shown.series:
        _put_points(canvas, axes, shown, series, positions)
    axes.set_xlabel(_with_unit(shown.x_label, shown.x_unit))
    _put_y(axes, shown)


def _put_points(
    canvas: _Canvas, axes: Axes, shown: Curves, series: Series, positions: Mapping[str, float]
) -> None:
    look, joined = _look(canvas.looks, series), shown.plot.kind is PlotKind.LINE
    x = [positions[setting(point.x)] for point in series.points]
    y = [point.y for point in series.points]
    known = [(at, p.interval) for at, p in zip(x, series.points, strict=True) if p.interval]
    many = len(series.points) > _MANY_POINTS
    if joined and many and len(known) == len(x):
        ends = [interval for _, interval in known]
        low, high = [each.low for each in ends], [each.high for each in ends]
        axes.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)
    else:
        for at, interval in known:
            axes.vlines(at, interval.low, interval.high, color=look.colour, linewidth=1)
    for at, point in zip(x, series.points, strict=True):
        if point.interval is None and point.count > 1:  # too few for an interval: each by itself
            dots = [at] * point.count
            axes.plot(dots, point.values, ".", color=look.colour, markersize=3, alpha=0.7)
    axes.plot(
        x,
        y,
        label=clean.plain(series.label) or "_",
        color=look.colour,
        marker=look.marker,
        markersize=2.5 if many and joined else 4.5,
        alpha=1.0 if joined else 0.75,
        linestyle=look.dash if joined else "none",
        linewidth=1.5,
        gid=canvas.name([_point_text(shown, series, point) for point in series.points]),
    )


def _put_bars(canvas: _Canvas, axes: Axes, shown: Curves, *, lying: bool) -> None:
    labels = list(dict.fromkeys(setting(point.x) for point in shown.points))
    positions = {text: float(place) for place, text in enumerate(labels)}
    _put_categories(axes, labels, lying=lying)
    size, of = _BAR_SHARE / len(shown.series), len(shown.series)
    written = len(shown.points) <= _MOST_VALUES
    for index, series in enumerate(shown.series):
        look = _look(canvas.looks, series)
        shift = (index - (of - 1) / 2) * size
        draw_bar = axes.barh if lying else axes.bar
        for number, point in enumerate(series.points):
            at = positions[setting(point.x)] + shift
            draw_bar(
                at,
                point.y,
                size,
                label=clean.plain(series.label) if series.label and not number else "_",
                color=look.colour,
                edgecolor=SURFACE,
                hatch=look.hatch,
                gid=canvas.name([_point_text(shown, series, point)]),
            )
            end = point.y
            if point.interval is not None:
                draw_line = axes.hlines if lying else axes.vlines
                draw_line(at, point.interval.low, point.interval.high, color=INK, linewidth=1)
                end = max(end, point.interval.high)
            if written:
                axes.annotate(
                    figure(float(f"{point.y:.4g}"), shown.metric),
                    (end, at) if lying else (at, end),
                    xytext=(3, 0) if lying else (0, 2),
                    textcoords="offset points",
                    ha="left" if lying else "center",
                    va="center" if lying else "bottom",
                    fontsize=7.5,
                )
    if lying:
        axes.set_xlabel(_with_unit(shown.y_label, spoken(shown.metric.unit)))
        axes.margins(x=0.12 if written else 0.05)
        return
    axes.margins(y=0.12 if written else 0.05)
    axes.set_xlabel(_with_unit(shown.x_label, shown.x_unit))
    _put_y(axes, shown)


def _put_categories(axes: Axes, labels: Sequence[str], *, lying: bool) -> None:
    shown = [*map(_cut_word, labels)]
    if lying:
        axes.set_yticks(range(len(labels)), shown)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
    else:
        axes.set_xticks(range(len(labels)), shown)
        axes.grid(visible=False, axis="x")


def _cut_word(label: str) -> str:
    text = clean.plain(label)
    return text if len(text) <= _LONG_WORD else f"{text[: _LONG_WORD - 3]}..."


def _lies(shown: Curves) -> bool:
    """Return whether bars lie: their names would not stand side by side."""
    labels = dict.fromkeys(setting(point.x) for point in shown.points)
    return sum(map(len, labels)) > _LONG_LABELS


def _lying_height(shown: Curves) -> float:
    labels = dict.fromkeys(setting(point.x) for point in shown.points)
    row_in = max(_ROW_IN, 0.16 * len(shown.series))
    return max(1.6, 1.1 + len(labels) * row_in)


# --- small multiples, and a tornado ---------------------------------------------------------------


def _panels(canvas: _Canvas, shown: Curves) -> Figure:
    """Draw a panel for each series, on the same axes, with the others behind it in grey."""
    num_rows = math.ceil(len(shown.series) / _PANEL_COLUMNS)
    figure, axes = _new_figure(
        num_rows * _PANEL_IN + 0.5,
        _legend({}),
        nrows=num_rows,
        ncols=_PANEL_COLUMNS,
        sharex=True,
        sharey=True,
    )
    for place, series in itertools.zip_longest(axes, shown.series):
        if series is None:
            place.set_visible(False)
            continue
        positions = _x_axis(place, [point.x for point in shown.points])
        for other in shown.series:
            if other is not series:
                x = [positions[setting(point.x)] for point in other.points]
                place.plot(x, [p.y for p in other.points], color=GRID, linewidth=1.2, zorder=1)
        _put_points(canvas, place, shown, series, positions)
        place.set_title(
            clean.plain(series.label), loc="left", size=9, color=_look(canvas.looks, series).colour
        )
    _put_y(axes[0], shown)
    axes[0].set_ylabel("")
    label = _with_unit(shown.y_label, spoken(shown.metric.unit))
    figure.supylabel(_directed(shown, label), size=9)
    figure.supxlabel(_with_unit(shown.x_label, shown.x_unit), size=9)
    return figure


def _tornado(canvas: _Canvas, shown: Curves) -> Figure:
    """Draw of each series how far y reaches, the widest first, around the value most share."""
    spans = sorted(
        shown.series,
        key=lambda series: max(p.y for p in series.points) - min(p.y for p in series.points),
        reverse=True,
    )
    figure, (axes,) = _new_figure(0.9 + _ROW_IN * len(spans), _legend({}))
    common = Counter(f"{point.y:.6g}" for point in shown.points).most_common(1)[0]
    base = float(common[0]) if common[1] > 1 else None
    for row, series in enumerate(spans):
        ends = sorted(series.points, key=lambda point: point.y)
        low, high = ends[0], ends[-1]
        texts = [_point_text(shown, series, point) for point in series.points]
        axes.barh(
            row,
            high.y - low.y,
            0.62,
            left=low.y,
            color=SERIES[0],
            gid=canvas.name(["; ".join(texts)]),
        )
        for point, shift, side in ((low, -3, "right"), (high, 3, "left")):
            if base is None or abs(point.y - base) > abs(base) * 1e-6:
                axes.annotate(
                    setting(point.x),
                    (point.y, row),
                    xytext=(shift, 0),
                    textcoords="offset points",
                    ha=side,
                    va="center",
                    fontsize=7,
                )
    if base is not None:
        axes.axvline(base, color=INK, linewidth=1)
    axes.set_yticks(range(len(spans)), [clean.plain(series.label) for series in spans])
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.use_sticky_edges = False  # the words at an end need room at 0 too
    axes.margins(x=0.14)
    axes.xaxis.set_major_locator(_few_ticks())
    axes.xaxis.set_major_formatter(_formatter(axes, "x"))
    axes.set_xlabel(_with_unit(shown.y_label, spoken(shown.metric.unit)))
    return figure


# --- axes and words -------------------------------------------------------------------------------


@record
class _Legend:
    """How the names of the series are laid out below a plot; no rows for a single one."""

    num_columns: int
    num_rows: int


def _legend(labels: Mapping[str, None]) -> _Legend:
    if len(labels) <= 1:
        return _Legend(num_columns=1, num_rows=0)
    label_pt = _MARK_PT + _CHARACTER_PT * max(map(len, labels))
    columns = max(1, min(_LEGEND_WIDTH_PT // label_pt, 4))
    return _Legend(num_columns=columns, num_rows=math.ceil(len(labels) / columns))


def _x_axis(axes: Axes, values: Sequence[Scalar]) -> dict[str, float]:
    """Make x an axis of numbers, or of words in their order; return the position of each value."""
    if not all(is_number(value) for value in values):
        positions = {text: float(i) for i, text in enumerate(dict.fromkeys(map(setting, values)))}
        each = math.ceil(len(positions) / _MOST_WORDS)
        labels = [_cut_word(text) for text in [*positions][::each]]
        slanted = sum(map(len, labels)) > _LONG_LABELS
        axes.set_xticks(
            [*positions.values()][::each],
            labels,
            rotation=30 if slanted else 0,
            ha="right" if slanted else "center",
        )
        axes.grid(visible=False, axis="x")
        return positions
    positions = {setting(value): float(value or 0) for value in values}
    distinct = sorted(set(positions.values()))
    scale: Callable[[float], float] = float
    if _geometric(distinct):
        scale = math.log
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    elif all(value == int(value) for value in distinct):
        axes.xaxis.set_major_locator(_few_ticks(integer=True))
    # whether labels at these ascending positions fit side by side
    places = [scale(value) for value in distinct]
    least = (places[-1] - places[0]) * _LEAST_GAP
    if all(after - before >= least for before, after in itertools.pairwise(places)):
        by_place = {place: text for text, place in positions.items()}
        axes.set_xticks(distinct, [by_place[place] for place in distinct])
    return positions


def _few_ticks(*, integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - takes a second

    return MaxNLocator(nbins=6, integer=integer)


def _geometric(values: Sequence[float]) -> bool:
    """Return whether values belong on a logarithmic axis: they double, or span two decades."""
    if len(values) < 3 or values[0] <= 0:  # noqa: PLR2004 - two points have no shape
        return False
    ratios = [after / before for before, after in itertools.pairwise(values)]
    doubling = min(ratios) > 1.5 and max(ratios) < 1.01 * min(ratios)  # noqa: PLR2004 - by eye
    return doubling or values[-1] / values[0] >= _LOG_SPAN


def _put_y(axes: Axes, shown: Curves) -> None:
    label = _with_unit(shown.y_label, spoken(shown.metric.unit))
    axes.set_ylabel(textwrap.fill(_directed(shown, label), 34))
    if all(float(point.y).is_integer() for point in shown.points):
        axes.yaxis.set_major_locator(_few_ticks(integer=True))
    axes.yaxis.set_major_formatter(_formatter(axes, "y"))


def _directed(shown: Curves, label: str) -> str:
    better = shown.metric.better
    return f"{label}, {better} is better" if better else label


def _with_unit(label: str, unit: str) -> str:
    return f"{label} [{unit}]" if unit else label


def _formatter(axes: Axes, side: str) -> Callable[[float, Any], str]:
    """Return what writes a tick of a linear axis with the digits that its neighbours need too."""

    def written(value: float, _: Any) -> str:
        ticks = (axes.get_yticks() if side == "y" else axes.get_xticks()).tolist()
        step = float(f"{ticks[1] - ticks[0]:.6g}") if len(ticks) > 1 else 1.0
        return f"{value:,.{max(0, -last_digit(step))}f}"

    return written


def _put_title(figure: Figure, shown: Curves, subtitle: str) -> None:
    title = textwrap.fill(clean.plain(shown.plot.title), _TITLE_CHARACTERS)
    small = textwrap.fill(clean.plain(subtitle), _SUBTITLE_CHARACTERS)
    lines = title.count("\n") + 1
    figure.suptitle(
        title + "\n" * (small.count("\n") + 1), x=0.01, ha="left", weight="bold", size=11
    )
    height_in = figure.get_figheight()
    at = 1 - (_PAD_IN + 0.03 + lines * 0.19) / height_in
    figure.text(0.01, at, small, ha="left", va="top", color=QUIET, size=8)


def _cut_axis(figure: Figure, kind: PlotKind) -> list[str]:
    """Return a note if zero is not on the axis of the figures; bars always start there."""
    axes = figure.axes[0]
    low, high = axes.get_xlim() if kind is PlotKind.TORNADO else axes.get_ylim()
    return ["axis does not start at 0"] if kind is not PlotKind.BAR and low * high > 0 else []


def _meaning_of_intervals(shown: Curves) -> Iterator[str]:
    """Say what the marks around the points are, where there are any."""
    known = [point for point in shown.points if point.interval is not None]
    if not known:
        counts = {point.count for point in shown.points if point.count > 1}
        if counts:
            yield f"mean of {_several(counts)} runs, each a dot"
        return
    counts = {point.count for point in known}
    runs = f" of {_several(counts)} runs" if max(counts) > 1 else ""
    match shown.plot.interval:
        case IntervalKind.WILSON:
            yield f"95 % interval (Wilson), all trials{runs}"
        case IntervalKind.RUNS | IntervalKind.SHARE:
            yield f"mean and 95 % interval{runs}"
        case _:
            yield f"95 % interval{runs}"


def _several(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _point_text(shown: Curves, series: Series, point: Point) -> str:
    """Return what a mark says when it is pointed at."""
    name = f"{series.label}, " if series.label else ""
    value = _with_interval(shown, point)
    return f"{name}{shown.x_label} {setting(point.x)}: {value}"


def _with_interval(shown: Curves, point: Point) -> str:
    unit = spoken(shown.metric.unit)
    text = _rounded(point.y, shown)
    if point.interval is not None:
        text += f" [{_rounded(point.interval.low, shown)}, {_rounded(point.interval.high, shown)}]"
    return f"{text} {unit}" if unit else text


def _rounded(value: float, shown: Curves) -> str:
    return figure(float(f"{value:.5g}"), shown.metric)


def _summary(shown: Curves) -> str:
    """Return in a sentence from where to where each series goes."""
    parts = []
    for series in shown.series[:8]:
        first, last = series.points[0], series.points[-1]
        name = f"{series.label}: " if series.label else ""
        ends = f"{_rounded(first.y, shown)} at {setting(first.x)}"
        if last is not first:
            ends += f", {_rounded(last.y, shown)} at {setting(last.x)}"
        parts.append(name + ends)
    more = len(shown.series) - len(parts)
    rest = f"; and {more} more series" if more else ""
    label = _with_unit(shown.y_label, spoken(shown.metric.unit))
    return f"{label} by {shown.x_label}. {'; '.join(parts)}{rest}."


def values_table(shown: Curves, article: Curves | None, caption: Sequence[str]) -> Table:
    """Return every point of a plot as a row, with its interval; the article's own after ours."""
    unit = spoken(shown.metric.unit)
    fields = {"here": shown} if article is None else {"here": shown, "article": article}
    several = len(shown.series) > 1 or article is not None
    columns = [
        *([Column(key="of", header="of", names_row=True)] if article is not None else []),
        *([Column(key="series", header="series", names_row=True)] if several else []),
        Column(key=shown.plot.x, header=shown.x_label, unit=shown.x_unit, names_row=True),
        Column(key=shown.plot.y, header=shown.y_label, unit=unit, align=Align.RIGHT),
        Column(key="low", header="95 % from", align=Align.RIGHT),
        Column(key="high", header="to", align=Align.RIGHT),
        Column(key="n", header="runs", align=Align.RIGHT),
    ]
    rows = [
        (
            *([words(of)] if article is not None else []),
            *([words(series.label)] if several else []),
            TableCell(text=setting(point.x), raw=point.x),
            TableCell(text=_rounded(point.y, shown), raw=point.y),
            *_ends(shown, point.interval),
            absent("") if not point.count else TableCell(text=str(point.count), raw=point.count),
        )
        for of, field in fields.items()
        for series in field.series
        for point in series.points
    ]
    if all(point.interval is None for field in fields.values() for point in field.points):
        kept = [index for index, each in enumerate(columns) if each.key not in ("low", "high")]
        columns = [columns[index] for index in kept]
        rows = [tuple(row[index] for index in kept) for row in rows]
    return Table(
        title=f"{shown.plot.title}: values",
        caption=tuple(caption),
        columns=tuple(columns),
        groups=(RowGroup(rows=tuple(rows)),),
    )


def _ends(shown: Curves, interval: Interval | None) -> tuple[TableCell, TableCell]:
    if interval is None:
        return absent(""), absent("")
    low, high = (
        TableCell(text=_rounded(end, shown), raw=end) for end in (interval.low, interval.high)
    )
    return low, high
