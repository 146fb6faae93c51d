"""What a run may say of itself must not act on a terminal, a page, an article or a sheet."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from harness.records import Measurement, Status, VerdictKind
from harness.report.cells import cells_table
from harness.report.dossier import ScenarioReport
from harness.report.github import render_summary
from harness.report.junit import render_junit
from harness.report.ledger import ledger_table
from harness.report.page import Page, render_page
from harness.report.render import TableFormat, render

from .conftest import MakeDossier, MakeRun, entry, verdict

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>| x |\n| y |\u202e =1+1 `c` <!-- /harness -->"
    '" onload="x ]]> {{ 7*7 }} \ud800\x00 &amp; https://example.org'
)
ENCODED = HOSTILE.replace("\ud800", "")  # what a scenario file could hold
FORBIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.fixture
def hostile(make_run: MakeRun, make_dossier: MakeDossier) -> ScenarioReport:
    figures = [
        Measurement(metric="loss", value=None, unit="nat", absent=HOSTILE),
        Measurement(metric="grade", value=HOSTILE, unit="text"),
        Measurement(metric="step_time", value=1.0, unit="s", where={"key": HOSTILE}),
    ]
    broken = make_run(
        {"name": f"={ENCODED}"}, status=Status.FAILED, cause=HOSTILE, log=("ok", HOSTILE)
    )
    environment = {"host": {"cpu_model": HOSTILE, "absent": {}}}
    return make_dossier(
        [make_run({"name": "a"}, figures, device=HOSTILE, environment=environment), broken],
        title="Harmless",
        entries=[entry("first", note=ENCODED)],
        verdicts=[
            verdict(
                "first", VerdictKind.OUTSIDE, measured=HOSTILE, detail=HOSTILE, where={"k": "v"}
            )
        ],
    )


@pytest.mark.parametrize("form", TableFormat)
def test_no_form_carries_controls(hostile: ScenarioReport, form: TableFormat) -> None:
    for table in (cells_table(hostile), ledger_table(hostile)):
        text = render(table, form)
        assert not FORBIDDEN.search(text)
        text.encode()  # no half surrogate pair


def test_markdown_keeps_its_rows_and_its_markers(hostile: ScenarioReport) -> None:
    text = render(cells_table(hostile), TableFormat.MARKDOWN)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4  # head, rule, two runs
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<!--" not in text
    assert "<script" not in text
    assert "{{" not in text


def test_csv_has_no_formula_and_its_shape(hostile: ScenarioReport) -> None:
    rows = [*csv.reader(io.StringIO(render(cells_table(hostile), TableFormat.CSV)))]
    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1
    assert not [field for row in rows for field in row if field.startswith(("=", "+", "@"))]


def test_json_reads_back(hostile: ScenarioReport) -> None:
    document = json.loads(render(ledger_table(hostile), TableFormat.JSON))
    first = document["groups"][0]["rows"][0][0]
    assert (first["value"], first["text"]) == ("first", "first")


def test_junit_is_well_formed(hostile: ScenarioReport) -> None:
    text = render_junit([hostile])
    assert not FORBIDDEN.search(text)
    assert ET.fromstring(text).find(".//failure") is not None  # noqa: S314 - our own text


def test_the_job_summary_has_no_markup_from_runs(hostile: ScenarioReport) -> None:
    text = render_summary([hostile])
    assert "<script" not in text
    assert "<!--" not in text


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that they are nested properly."""

    VOID = frozenset({"meta", "br", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    return tags


def test_the_page_shows_hostile_text_as_text(hostile: ScenarioReport) -> None:
    page = render_page([Page(dossier=hostile, plots=())])
    assert not FORBIDDEN.search(page)
    tags = parsed(page)
    assert "script" not in {tag for tag, _ in tags.seen}
    assert not [attrs for _, attrs in tags.seen if "onload" in attrs]
    assert "<script>alert(1)</script>" in tags.text
    assert "{{ 7*7 }}" in tags.text
