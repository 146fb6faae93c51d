"""What a model, a run or an article may write does nothing in an article, a terminal or a sheet."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.records import Profile
from harness.report.clean import MAX_CHARS
from harness.report.excerpts import ArticleFormat, _rendered, _written_text
from harness.report.markers import Marker, Shown, markers
from harness.report.render import TableFormat, render, render_text
from harness.report.splice import Excerpt, splice, stale
from harness.report.tables import Column, RowGroup, Table, words

# what acts on a terminal, a page, Markdown (MyST's and Quarto's too), a sheet, or on our markers
SHARP = (
    "\ufeff", '" onload="',
    "\x1b[2J", "\x1b]0;t\x07", "\x9b31m", "\u202e", "\u2028", "\x00", "\r", "\n", "\ud800",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table>", "&lt;",
    "<!-- /harness -->", "<!-- harness:a1 cells cpu -->", "\n% /harness\n", "-->", "<!--", "]]>",
    "|", "`", "```", "~~~", "$x$", "**", "__", "[a](javascript:b)", "![a](b)", "<http://a.b>", "\\",
    "# ", "\n---\n", "1. ", "> ", ":::", "{{< include x >}}", "{python}", "@cite", "^sup^", "a_b_",
    "=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", "\t=1", "%", "{{ 7*7 }}",
)  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(SHARP), st.text(max_size=8)), max_size=6).map("".join)
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff\ufeff]")
BEFORE = "# An article\n\nA number: <!-- harness:a1 figure x -->0<!-- /harness -->, and\n\n"
BLOCK = "<!-- harness:a1 cells cpu -->\n<!-- /harness -->\n"
AFTER = "\nThe end.\n"


def table(fields: list[str], title: str = "t") -> Table:
    columns = tuple(Column(key=f"k{at}", header=f"k{at}") for at in range(len(fields)))
    row = tuple(map(words, fields))
    return Table(
        title=title, caption=(title, title), columns=columns, groups=(RowGroup(rows=(row,)),)
    )


def filled(path: Path, fields: list[str], form: ArticleFormat) -> str:
    """Return an article with a figure and a table of what others wrote."""
    path.write_text(BEFORE + BLOCK + AFTER, encoding="utf-8")

    def fill(marker: Marker) -> Excerpt:
        if marker.shown is Shown.FIGURE:
            return Excerpt(text=_written_text(fields[0], form))
        return Excerpt(text=_rendered([table(fields, fields[0])], form))

    splice(path, fill)
    text = path.read_bytes().decode()
    assert [(each.scenario, each.shown) for each in markers(path, text)] == [
        ("a1", "figure"), ("a1", "cells"),
    ]  # fmt: skip
    assert stale(path, fill) == ()
    assert not splice(path, fill)
    return text


fields_of_two = st.lists(texts, min_size=2, max_size=2)


@settings(max_examples=60)
@given(fields_of_two)
@example(["\n% /harness\n", "<!-- /harness -->"])
@example(["% /harness", "::: {.callout}"])
def test_markdown_shows_what_others_wrote_as_text(
    tmp_path_factory: pytest.TempPathFactory, fields: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.md"
    text = filled(path, fields, ArticleFormat.MARKDOWN)
    assert not FORBIDDEN.search(text)
    assert text.endswith(AFTER)
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows] == [3, 3, 3]
    inside = re.sub(r"<!--.*?-->", "", text.replace("An article", ""))
    assert "<" not in inside
    assert "{" not in inside
    unescaped = re.sub(r"\\[!-/:-@\[-`{-~]", "", inside.partition("**")[0])
    assert not re.search(r"[`*\[\]~|$^]|(?<!\w)@", unescaped)
    for line in lines[lines.index("# An article") + 1 :]:
        assert not re.match(r"[#:%+=>]|-(?!->)|```|~~~|\d+[.)]", line)


class Page(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@settings(max_examples=30)
@given(fields_of_two)
def test_a_page_shows_what_others_wrote_as_text(
    tmp_path_factory: pytest.TempPathFactory, fields: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.html"
    text = filled(path, fields, ArticleFormat.HTML)
    assert not FORBIDDEN.search(text)
    page = Page()
    page.feed(text)
    of_tables = {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert page.tags <= of_tables | {"div", "span", "strong", "br", "wbr"}
    assert page.attributes <= {"class", "scope", "colspan"}


@pytest.mark.parametrize("sharp", ["<b>", "|", "\x1b[2J", "=1+", "\n% /harness\n", "a"])
def test_a_megabyte_is_cut_in_what_people_read(sharp: str, tmp_path: Path) -> None:
    long = (sharp * (1_000_000 // len(sharp) + 1))[:1_000_000]
    one = table([long, "short"], title=long)
    for form in (TableFormat.TEXT, TableFormat.MARKDOWN, TableFormat.HTML):
        assert len(render(one, form)) < 30 * MAX_CHARS
    assert len(render_text(one, 80).splitlines()) < 40 * MAX_CHARS / 80
    field = next(csv.reader(io.StringIO(render(one, TableFormat.CSV).splitlines()[1])))[0]
    assert len(field) < 32_767
    assert not field.startswith(("=", "+", "-", "@", "\uff1d"))
    text = filled(tmp_path / "a.md", [long, long], ArticleFormat.MARKDOWN)
    assert len(text) < 60 * MAX_CHARS
    assert "1,000,000 characters" in text


@settings(max_examples=100)
@given(st.lists(st.one_of(st.sampled_from([*SHARP, BLOCK, "``", "\\`"]), texts), max_size=12))
def test_any_article_is_read_or_refused_with_lines(parts: list[str]) -> None:
    text = "".join(parts)
    for name in ("a.md", "a.html"):
        try:
            found = markers(Path(name), text)
        except InputError as error:
            refused = error
        else:
            assert all(each.profile is Profile.CPU for each in found)
            assert all(text[: each.start].count("\n") == each.line for each in found)
            continue
        assert all(each.line or "no marker" in each.message for each in refused.problems)
        assert len(str(refused)) < 1000 * len(refused.problems)


@pytest.mark.parametrize(
    "part",
    ["<!-- harness ", "`", "`a ``b ", "<!-- /harness -->", "% harness:", "<script>", "~~~\n"],
)
def test_a_long_hostile_article_is_refused_in_seconds(part: str) -> None:
    for name in ("a.md", "a.html"):
        with pytest.raises(InputError):
            markers(Path(name), part * (300_000 // len(part)))
