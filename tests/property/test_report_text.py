"""What holds for any text or number that a run may bring."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import clean
from harness.report.figures import figure, with_spread
from harness.report.render import TableFormat, render, render_text
from harness.report.tables import Column, RowGroup, Table, words

any_text = st.text(st.characters(), max_size=40)  # half surrogate pairs too
numbers = st.floats(allow_nan=False, allow_infinity=False)


def table(rows: list[list[str]]) -> Table:
    columns = (Column(key="one", header="one"), Column(key="two", header="two"))
    body = tuple(tuple(words(text) for text in row) for row in rows)
    return Table(title="t", caption=("from a run",), columns=columns, groups=(RowGroup(rows=body),))


tables = st.lists(st.lists(any_text, min_size=2, max_size=2), max_size=4).map(table)


@given(any_text)
def test_plain_text_is_one_line_of_printable_characters(text: str) -> None:
    shown = clean.plain(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert clean.plain(shown) == shown
    shown.encode()


@given(any_text)
def test_csv_text_is_never_a_formula(text: str) -> None:
    assert not clean.csv_text(text).startswith(("=", "+", "-", "@"))


@given(tables, st.sampled_from(TableFormat))
def test_every_form_ends_its_lines_alike(one: Table, form: TableFormat) -> None:
    text = render(one, form)
    assert text.endswith("\n")
    assert "\r" not in text
    assert render(one, form) == text


@given(tables)
def test_markdown_and_csv_keep_the_shape(one: Table) -> None:
    rows = [row for row in render(one, TableFormat.MARKDOWN).splitlines() if row.startswith("|")]
    assert len(rows) == 2 + len(one.rows)
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3 for row in rows)
    read = [*csv.reader(io.StringIO(render(one, TableFormat.CSV)))]
    assert [len(row) for row in read] == [2] * (1 + len(one.rows))


@given(tables)
def test_json_has_every_field(one: Table) -> None:
    document = json.loads(render(one, TableFormat.JSON))
    shown = [[box["text"] for box in row] for row in document["groups"][0]["rows"]]
    assert shown == [[clean.plain(box.text) for box in row] for row in one.rows]


@given(tables, st.integers(min_value=30, max_value=200))
def test_text_keeps_to_the_width(one: Table, width: int) -> None:
    assert max(len(line) for line in render_text(one, width).splitlines()) <= width


@given(numbers)
def test_a_figure_is_close_to_its_number(value: float) -> None:
    assert float(figure(value).replace(",", "")) == pytest.approx(value, rel=1e-5)


@given(numbers, st.floats(min_value=1e-12, max_value=1e12))
def test_a_deviation_is_close_and_ends_where_its_mean_does(mean: float, spread: float) -> None:
    one, other = with_spread(mean, spread).replace(",", "").split(" ± ")
    assert float(other) == pytest.approx(spread, rel=0.06)
    if "e" not in one:
        assert len(one.partition(".")[2]) == len(other.partition(".")[2])
        assert float(one) == pytest.approx(mean, rel=1e-3, abs=0.06 * spread)
