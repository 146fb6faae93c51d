"""Every form of a report, byte for byte.

The files beside this one are what the dossier of conftest.py becomes. To write them anew, set
HARNESS_UPDATE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.report.cells import cells_table, rows_tables
from harness.report.compare import compare_table
from harness.report.dossier import ScenarioReport
from harness.report.github import render_summary
from harness.report.junit import render_junit
from harness.report.ledger import ledger_table
from harness.report.page import Page, render_page
from harness.report.plots import RenderedPlot, draw_all
from harness.report.render import TableFormat, render, render_text
from harness.report.tables import Table

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
