"""A figure that is said once is declared, computed and reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.workloads.api.declare import Better, Metric
from harness.workloads.api.emit import EVENTS_FILE, EventWriter, read_events
from harness.workloads.api.figures import Absent, Counted, Figure, Figures, Row, metrics_of


@dataclass(frozen=True)
class Cell:
    tokens: int
    seconds: float | None


Sweep = Mapping[str, Cell]
SWEEP = {"one": Cell(10, 2.0), "other": Cell(30, None)}
SHARED = Metric(name="tokens", unit="token", doc="of a cell", better=Better.HIGHER)

figure: Figures[Sweep] = Figures(SHARED, absent="nobody measured it")
figure("cells", "count", "how many")(len)
cell = figure.each(lambda sweep: (({"cell": name}, c) for name, c in sweep.items()), keys="cell")
cell("tokens")(lambda c: c.tokens)
cell("time", "s", "of a step", timing=True)(lambda c: c.seconds)


@cell("rate", "token/s", optional=True)
def _(c: Cell) -> Counted | None:
    return None if c.seconds is None else Counted(c.tokens / c.seconds, c.tokens)


@cell.rows("half", "token", "of its tokens", keys="which")
def _(c: Cell) -> Iterator[Row]:
    yield {"which": "first"}, c.tokens // 2
    yield {"which": "second"}, c.tokens - c.tokens // 2


@figure("spread", "x", "largest / smallest")
def _(_: Sweep) -> float:
    message = "a single measurement"
    raise Absent(message)


figure.of(lambda sweep: sweep["one"])("first.tokens", "token", "of the first")(lambda c: c.tokens)


def found(of: Figures[Sweep] = figure) -> dict[tuple[object, ...], Figure]:
    return {(each.metric, *each.where.values()): each for each in of.found(SWEEP)}


def test_a_figure_declares_its_metric() -> None:
    metrics = {each.name: each for each in figure.metrics}
    assert [*metrics] == ["cells", "tokens", "time", "rate", "half", "spread", "first.tokens"]
    assert metrics["tokens"] is SHARED
    assert metrics["time"] == Metric(
        name="time", unit="s", doc="of a step; where: cell", timing=True
    )
    assert metrics["rate"].doc == "where: cell"
    assert metrics["half"].doc == "of its tokens; where: cell, which"


def test_rows_are_reported_one_after_the_other_with_their_keys() -> None:
    of_one, of_other = (
        ["tokens", "time", "rate", "half", "half"],
        ["tokens", "time", "half", "half"],
    )
    order = ["cells", *of_one, *of_other, "spread", "first.tokens"]
    assert [each.metric for each in figure.found(SWEEP)] == order
    rows = found()
    assert rows["cells",].value == 2
    assert rows["half", "other", "second"].where == {"cell": "other", "which": "second"}
    assert (rows["rate", "one"].value, rows["rate", "one"].count) == (5.0, 10)


def test_what_is_absent_has_a_reason_and_what_is_optional_is_left_out() -> None:
    rows = found()
    assert (rows["time", "other"].value, rows["time", "other"].absent) == (
        None,
        "nobody measured it",
    )
    assert rows["spread",].absent == "a single measurement"
    assert ("rate", "other") not in rows


def test_the_events_are_the_figures(tmp_path: Path) -> None:
    path = tmp_path / EVENTS_FILE
    with EventWriter(path, figure.metrics) as emit:
        figure.report(emit, SWEEP, {"run": 1})
    payloads = [each.payload for each in read_events(path) if each.kind == "measured"]
    assert [each["metric"] for each in payloads] == [each.metric for each in figure.found(SWEEP)]
    assert payloads[1]["where"] == {"run": 1, "cell": "one"}
    assert payloads[1]["unit"] == "token"


def test_a_collector_is_taken_into_another() -> None:
    whole: Figures[tuple[Sweep, Sweep]] = Figures()
    whole.include(lambda pair: (({"run": n}, sweep) for n, sweep in enumerate(pair)), figure)
    both = [*whole.found((SWEEP, SWEEP))]
    assert len(both) == 2 * len(found())
    assert both[1].where == {"run": 0, "cell": "one"}
    assert whole.metrics == figure.metrics
    assert metrics_of(whole, figure) == figure.metrics


def test_a_figure_is_said_once() -> None:
    twice: Figures[int] = Figures()
    twice("a", "s", "a time")(float)
    with pytest.raises(ValueError, match="a is declared twice"):
        twice("a", "s", "a time")(float)
    with pytest.raises(ValueError, match="aa has no unit; nearest: a"):
        twice("aa")(float)
