"""Every form of a report, byte for byte.

The files beside this one are what the dossier of conftest.py becomes. To write them anew, set
HARNESS_UPDATE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.report.cells import cells_table, rows_tables
from harness.report.compare import compare_table
from harness.report.dossier import ScenarioReport
from harness.report.github import render_summary
from harness.report.junit import render_junit
from harness.report.last_screen import MAX_LINES, last_screen, next_steps
from harness.report.ledger import ledger_table
from harness.report.page import Page, render_page
from harness.report.plots import RenderedPlot, draw_all
from harness.report.render import TableFormat, render, render_text
from harness.report.tables import Table
from harness.results.store import RunStore
from harness.scenario.schema import Headline

HERE = Path(__file__).parent
SUFFIXES = {
    TableFormat.TEXT: "txt",
    TableFormat.MARKDOWN: "md",
    TableFormat.CSV: "csv",
    TableFormat.JSON: "json",
    TableFormat.HTML: "html",
}
TABLES: dict[str, Callable[[ScenarioReport], Table]] = {
    "cells": cells_table,
    "rows": lambda dossier: rows_tables(dossier)[0],
    "ledger": ledger_table,
    "compare": lambda dossier: compare_table(dossier, dossier),
}
HEADLINE = Headline.model_validate(
    {
        "answer": [
            {"claim": "fp8.faster", "says": "fp8 is faster than bf16 in every cell"},
            {"claim": "parameters", "says": "the model has the printed size"},
            {"claim": "loss.first", "says": "it starts at the printed loss"},
            {"claim": "throughput.peak", "says": "the peak is 14,266 tokens a second"},
        ],
        "limits": {"cpu": "how fast a GB10 is"},
        "table": {
            "title": "Throughput and memory by batch",
            "rows": ["precision", "batch_size"],
            "names": {"batch_size": "batch"},
            "columns": [
                {"metric": "throughput", "header": "throughput"},
                {"metric": "memory.peak", "header": "peak memory"},
                {"metric": "fits", "header": "fits"},
            ],
        },
    }
)
# plots are the same bytes for one version of matplotlib
MATPLOTLIB = "3.11"


def assert_golden(name: str, text: str) -> None:
    path = HERE / name
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text.encode() == path.read_bytes()
    assert text.endswith("\n")
    assert "\r" not in text


@pytest.mark.parametrize("form", TableFormat)
@pytest.mark.parametrize("name", TABLES)
def test_tables(dossier: ScenarioReport, name: str, form: TableFormat) -> None:
    assert_golden(f"{name}.{SUFFIXES[form]}", render(TABLES[name](dossier), form))


@pytest.mark.parametrize("width", [72, 120])
def test_text_for_a_terminal(dossier: ScenarioReport, width: int) -> None:
    text = "\n".join(render_text(make(dossier), width) for make in TABLES.values())
    assert_golden(f"terminal-{width}.txt", text)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("width", "whole"), [(80, False), (120, False), (80, True)])
def test_last_screen(dossier: ScenarioReport, width: int, *, whole: bool) -> None:
    scenario = dossier.scenario.model_copy(update={"headline": HEADLINE})
    answered = replace(dossier, scenario=scenario)
    given = {"experiment": ["--set=seq_len=1024"], "place": [], "runtime": []}
    text = last_screen(
        [answered],
        RunStore(HERE / "nowhere"),
        next_steps([answered], given),
        width=width,
        took_s=754.0,
        place="results/local/a19-envelope/cpu",
        whole=whole,
    )
    assert_golden(f"last-screen-{width}{'-whole' if whole else ''}.txt", text)
    assert max(map(len, text.splitlines())) <= width
    assert whole or len(text.splitlines()) <= MAX_LINES


def test_page(dossier: ScenarioReport) -> None:
    plots = [
        RenderedPlot(plot=plot, svg='<?xml?>\n<svg width="9"><g id="a"/></svg>\n', note="")
        for plot in dossier.scenario.report.plots[:1]
    ]
    missing = RenderedPlot(
        plot=dossier.scenario.report.plots[3], svg="", note="not drawn: 18 no number"
    )
    sheet = Page(dossier=dossier, plots=(*plots, missing))
    assert_golden("page.html", render_page([sheet]))


def test_junit(dossier: ScenarioReport) -> None:
    assert_golden("junit.xml", render_junit([dossier]))


def test_job_summary(dossier: ScenarioReport) -> None:
    assert_golden("summary.md", render_summary([dossier]))


def test_plots(dossier: ScenarioReport) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="plots need the extra `plots`")
    if not matplotlib.__version__.startswith(f"{MATPLOTLIB}."):
        pytest.skip(f"the recorded plots are of matplotlib {MATPLOTLIB}")
    for drawn in draw_all(dossier):
        if drawn.svg:
            assert_golden(f"{drawn.plot.file}.svg", drawn.svg)
