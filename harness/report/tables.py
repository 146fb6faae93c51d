"""A table before rendering: cells with text for people and raw values."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from harness.records import Scalar, VerdictKind, record
from harness.report import clean


class Align(StrEnum):
    """Alignment of a column's text."""

    LEFT = "left"
    RIGHT = "right"


@record
class Column:
    """One column.

    Attributes:
        key: its name in csv and json.
        header: its name for people.
        unit: the unit of every figure in it; empty for pure numbers and words.
        names_row: it identifies the row, rather than holding a result.
        prose: sentences; a page shows them under the row instead of beside it.
        quiet: the same in every row, so that people read it in the caption; csv and json, which
            are cut and joined, have it in each row.
        whole: its words are names, which text breaks nowhere; where nothing else makes a table
            fit, after their dots.
    """

    key: str
    header: str
    unit: str = ""
    align: Align = Align.LEFT
    names_row: bool = False
    prose: bool = False
    quiet: bool = False
    whole: bool = False

    @property
    def label(self) -> str:
        """The header with its unit."""
        return f"{self.header} [{self.unit}]" if self.unit else self.header


@record
class TableCell:
    """One field of a row.

    Attributes:
        text: what a person reads: rounded, or the reason why there is no figure.
        raw: the figure in full; the mean where it stands for several replicates.
        std: sample standard deviation over replicates, in the column's unit.
        count: how many replicates it stands for, where that is more than one.
        absent: why `raw` is None.
        verdict: the verdict that `text` names, for a badge.
    """

    text: str
    raw: Scalar = None
    std: float | None = None
    count: int | None = None
    absent: str = ""
    verdict: VerdictKind | None = None


Row = tuple[TableCell, ...]


@record
class RowGroup:
    """Rows that belong together, under a heading of their own (empty: none)."""

    title: str = ""
    rows: tuple[Row, ...]


@record
class Table:
    """Rendered by `harness.report.render`.

    Attributes:
        caption: lines that say where the figures come from; a table is never shown without them.
    """

    title: str
    caption: tuple[str, ...]
    columns: tuple[Column, ...]
    groups: tuple[RowGroup, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row, whatever its group."""
        return tuple(row for group in self.groups for row in group.rows)


def words(text: str) -> TableCell:
    """Return the box of plain text."""
    return TableCell(text=text, raw=text)


def absent(reason: str) -> TableCell:
    """Return the box of a figure that is not there, and why."""
    return TableCell(text=reason, absent=reason)


def visible(table: Table) -> Table:
    """Return the table as people see it.

    Quiet columns are left out; a column that is absent in every row, and why, becomes a line of
    the caption. If no column is left, there are no rows either. A text that nobody would read to
    its end is cut short.
    """
    columns = range(len(table.columns))
    reasons = {index: why for index in columns if (why := _absent_throughout(table, index))}
    kept = [index for index in columns if not table.columns[index].quiet and index not in reasons]
    groups = tuple(
        replace(
            group,
            title=clean.field(group.title),
            rows=tuple(tuple(_readable(row[index]) for index in kept) for row in group.rows),
        )
        for group in table.groups
    )
    notes = tuple(f"No {table.columns[index].header}: {why}." for index, why in reasons.items())
    return replace(
        table,
        title=clean.field(table.title),
        caption=tuple(clean.field(line) for line in (*table.caption, *notes)),
        columns=tuple(table.columns[index] for index in kept),
        groups=groups if kept else (),
    )


def _readable(cell: TableCell) -> TableCell:
    return cell if len(cell.text) <= clean.MAX_CHARS else replace(cell, text=clean.field(cell.text))


def _absent_throughout(table: Table, index: int) -> str:
    """Return why a column has no figure in any row; empty where it has one, or reasons differ."""
    reasons = {row[index].absent for row in table.rows}
    return reasons.pop() if len(reasons) == 1 else ""
