"""A table in each of its forms. The same table gives the same bytes, on every machine.

Lines end in LF, the last one too. Text and Markdown are rounded for people; csv and json are in
full precision. Whatever came from a run is made harmless first (see `harness.report.clean`).
"""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from tabulate import tabulate

from harness.records import Scalar, record, to_json
from harness.report import clean
from harness.report.html import render_html
from harness.report.tables import Align, Row, RowGroup, Table, TableCell, visible

# where a line may end: at spaces, and inside dotted, underscored and hyphenated names
_BREAKS = re.compile(r"( +|(?<=[A-Za-z][-._=])(?=[A-Za-z]))")
_SPACES = re.compile(r"( +)")
_DOTS = re.compile(r"( +|(?<=\.)(?=\w))")
_UNBROKEN = "\u00a0"  # a space at which no line may break
_GAP = 2  # spaces between columns in text
_HEADER_PAD = "  "  # by which tabulate makes a column wider than its header
_WORD_LIMIT = 16  # a column is not narrowed below its longest word, up to this
_ALIGNMENTS = {Align.LEFT: "left", Align.RIGHT: "right"}


class TableFormat(StrEnum):
    """The forms a table has; the value is the name on the command line."""

    TEXT = "text"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def render(table: Table, form: TableFormat) -> str:
    """Return the table in a form; text is as wide as it needs."""
    return _RENDERERS[form](table)


# --- text -----------------------------------------------------------------------------------------


def render_text(table: Table, width: int | None = None) -> str:
    """Return the table for a terminal of `width` columns; None for one as wide as it needs.

    Fields wrap where that makes it fit; a table with too many columns becomes one block a row.
    """
    table = visible(table)
    head = [clean.plain(table.title), *(clean.plain(line) for line in table.caption)]
    lines = [each for line in head for each in _wrap(line, width)]
    folds = _folds(table, width)
    for group in table.groups:
        lines += ["", *_wrap(clean.plain(group.title), width)] if group.title else [""]
        lines += _blocks(table, group, width) if folds is None else _grid(table, group, folds)
    return _joined(lines).replace(_UNBROKEN, " ")


@record
class _Fold:
    """How wide a column may be, and where its fields may break."""

    size: int
    breaks: re.Pattern[str]


def _grid(table: Table, group: RowGroup, folds: Sequence[_Fold]) -> list[str]:
    rows = [
        [_fill(_text(box), fold.size, fold.breaks) for box, fold in zip(row, folds, strict=True)]
        for row in group.rows
    ]
    heads = [
        _fill(each.label, fold.size - len(_HEADER_PAD))
        for each, fold in zip(table.columns, folds, strict=True)
    ]
    text = tabulate(
        rows,
        headers=heads,
        tablefmt="simple",
        colalign=[_ALIGNMENTS[each.align] for each in table.columns] if rows else None,
        disable_numparse=True,
    )
    return [line.rstrip() for line in text.splitlines()]


def _blocks(table: Table, group: RowGroup, width: int | None) -> list[str]:
    """Return one block of ``header  value`` lines a row, empty fields left out."""
    label_width = max(len(each.label) for each in table.columns)
    indent = " " * (label_width + _GAP)
    lines = []
    for row in group.rows:
        for column, box in zip(table.columns, row, strict=True):
            if box.text:
                label = column.label.ljust(len(indent))
                breaks = _SPACES if column.whole else _BREAKS
                lines += _wrap(label + _text(box), width, indent, breaks)
        lines.append("")
    return lines[:-1]


def _folds(table: Table, width: int | None) -> list[_Fold] | None:
    """Return how each column folds, names last of all; None where not even narrow columns fit."""
    for of_names in (_SPACES, _DOTS):
        breaks = [of_names if each.whole else _BREAKS for each in table.columns]
        sizes = _column_widths(table, width, breaks)
        if sizes is not None:
            return [_Fold(size=n, breaks=at) for n, at in zip(sizes, breaks, strict=True)]
    return None


def _column_widths(
    table: Table, width: int | None, breaks: Sequence[re.Pattern[str]]
) -> list[int] | None:
    columns = [
        (each.label, [_text(row[index]) for row in table.rows])
        for index, each in enumerate(table.columns)
    ]
    natural = [max(map(len, [label + _HEADER_PAD, *texts])) for label, texts in columns]
    if width is None:
        return natural
    floors = [
        max(
            len(_HEADER_PAD) + _longest_word([label], _BREAKS),
            min(_longest_word(texts, at), max(natural) if column.whole else _WORD_LIMIT),
        )
        for column, at, (label, texts) in zip(table.columns, breaks, columns, strict=True)
    ]
    room = width - _GAP * (len(natural) - 1)
    for limit in range(max(natural, default=0), -1, -1):
        sizes = [min(n, max(f, limit)) for n, f in zip(natural, floors, strict=True)]
        if sum(sizes) <= room:
            return sizes
    return None


def _longest_word(texts: Sequence[str], breaks: re.Pattern[str]) -> int:
    return max((len(word) for text in texts for word in breaks.split(text)), default=0)


class _Wrapper(textwrap.TextWrapper):
    """Wraps where a pattern says, instead of at the standard library's hyphens."""

    def __init__(self, width: int, breaks: re.Pattern[str], indent: str = "") -> None:
        super().__init__(width=width, subsequent_indent=indent)
        self._breaks = breaks

    def _split(self, text: str) -> list[str]:
        return [chunk for chunk in self._breaks.split(text) if chunk]


def _text(box: TableCell) -> str:
    """Return what a field shows, with a deviation that no line end parts from its mean."""
    text = clean.plain(box.text).replace(" ± ", f"{_UNBROKEN}±{_UNBROKEN}")
    text = text.replace(" %", f"{_UNBROKEN}%")
    return text if box.verdict is None else text.replace(" ", _UNBROKEN)


def _fill(text: str, size: int, breaks: re.Pattern[str] = _BREAKS) -> str:
    return text if len(text) <= size else "\n".join(_Wrapper(max(size, 1), breaks).wrap(text))


def _wrap(
    text: str, width: int | None, indent: str = "", breaks: re.Pattern[str] = _SPACES
) -> list[str]:
    if width is None:
        return [text]
    room = max(width, len(indent) + _WORD_LIMIT)
    return _Wrapper(room, breaks, indent).wrap(text)


# --- Markdown -------------------------------------------------------------------------------------


def render_markdown(table: Table, *, level: int | None = 3) -> str:
    """Return the table in GitHub's Markdown, its title a heading of `level`, or None: a bold line.

    Lines of the caption end in two spaces, which break them.
    """
    table = visible(table)
    title = clean.markdown(table.title)
    lines = [f"**{title}**" if level is None else f"{'#' * level} {title}", ""]
    for group in table.groups:
        if group.title:
            lines += [f"**{clean.markdown(group.title)}**", ""]
        text = tabulate(
            [[clean.markdown(box.text) for box in row] for row in group.rows],
            headers=[clean.markdown(each.label) for each in table.columns],
            tablefmt="pipe",
            colalign=[_ALIGNMENTS[each.align] for each in table.columns] if group.rows else None,
            disable_numparse=True,
        )
        lines += [*text.splitlines(), ""]
    lines += [clean.markdown_line(line) + "  " for line in table.caption[:-1]]
    lines += [clean.markdown_line(line) for line in table.caption[-1:]]
    return _joined(lines)


# --- csv ------------------------------------------------------------------------------------------


def render_csv(table: Table) -> str:
    """Return the rows with full precision and no caption.

    Beside a column with replicates come ``<key>.sd`` and ``<key>.n``; beside
    one that misses figures comes ``<key>.absent`` with the reasons. Groups become a first column.
    """
    grouped = any(group.title for group in table.groups)
    parts = [part for index, _ in enumerate(table.columns) for part in _parts(table, index)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*(["group"] if grouped else []), *(part.header for part in parts)])
    for group in table.groups:
        title = [clean.csv_text(group.title)] if grouped else []
        for row in group.rows:
            values = [part.of(row) for part in parts]
            # a number is the shortest text that reads back as the same
            fields = [
                clean.csv_text(value or "")
                if value is None or isinstance(value, str)
                else json.dumps(value)
                for value in values
            ]
            writer.writerow([*title, *fields])
    return stream.getvalue()


@record
class _Part:
    """A column of the csv file, and its value of a row."""

    header: str
    of: Callable[[Row], Scalar]


def _parts(table: Table, index: int) -> Iterator[_Part]:
    key = clean.csv_text(table.columns[index].key)
    boxes = [row[index] for row in table.rows]
    yield _Part(header=key, of=lambda row: row[index].raw)
    if any(box.std is not None for box in boxes):
        yield _Part(header=f"{key}.sd", of=lambda row: row[index].std)
    if any(box.count is not None for box in boxes):
        yield _Part(header=f"{key}.n", of=lambda row: row[index].count)
    if any(box.absent for box in boxes):
        yield _Part(header=f"{key}.absent", of=lambda row: row[index].absent)


# --- json -----------------------------------------------------------------------------------------


def render_json(table: Table) -> str:
    """Return `json_document` as text."""
    return json.dumps(to_json(json_document(table)), indent=1, ensure_ascii=False) + "\n"


@record
class ColumnDocument:
    """A column of a table, for a program."""

    key: str
    header: str
    unit: str


@record
class CellDocument:
    """A field of a table, for a program.

    Attributes:
        value: in full; None where there is none.
        text: as people read it.
        sd: sample standard deviation over replicates.
        n: how many replicates.
        absent: why there is no value.
    """

    value: Scalar
    text: str
    sd: float | None
    n: int | None
    absent: str


@record
class GroupDocument:
    """Rows under a heading, for a program."""

    title: str
    rows: tuple[tuple[CellDocument, ...], ...]


@record
class TableDocument:
    """Everything a table holds: text as people read it, and values in full."""

    title: str
    caption: tuple[str, ...]
    columns: tuple[ColumnDocument, ...]
    groups: tuple[GroupDocument, ...]


def json_document(table: Table) -> TableDocument:
    """Return a table for a program."""
    return TableDocument(
        title=clean.plain(table.title),
        caption=tuple(clean.plain(line) for line in table.caption),
        columns=tuple(
            ColumnDocument(
                key=clean.plain(each.key), header=clean.plain(each.header), unit=each.unit
            )
            for each in table.columns
        ),
        groups=tuple(
            GroupDocument(
                title=clean.plain(group.title),
                rows=tuple(tuple(_json_box(box) for box in row) for row in group.rows),
            )
            for group in table.groups
        ),
    )


def _json_box(box: TableCell) -> CellDocument:
    return CellDocument(
        value=clean.plain(box.raw) if isinstance(box.raw, str) else box.raw,
        text=clean.plain(box.text),
        sd=box.std,
        n=box.count,
        absent=clean.plain(box.absent),
    )


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


_RENDERERS: dict[TableFormat, Callable[[Table], str]] = {
    TableFormat.TEXT: render_text,
    TableFormat.MARKDOWN: render_markdown,
    TableFormat.CSV: render_csv,
    TableFormat.JSON: render_json,
    TableFormat.HTML: render_html,
}
