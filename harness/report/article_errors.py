"""The article's errors: printed numbers that its own data, or its own formulas, contradict."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from harness.records import VerdictKind, record
from harness.report.cells import spoken
from harness.report.figures import figure, printed
from harness.report.tables import Align, Column, RowGroup, Table, words
from harness.scenario.expectations import Entry, Expectations, Printed, claim_verdict
from harness.scenario.schema import Scenario

_MISPRINT = 0.01  # a truth rounded as the claim is may be off by this share before it gets a digit
_MORE_DIGITS = 4


@record
class ArticleError:
    """A claim that its own evidence contradicts, as a ledger declares.

    Attributes:
        printed: the number as the article prints it.
        true: what its data or formulas give, to the digit that shows the difference.
    """

    entry: Entry
    printed: str
    true: str

    @property
    def unit(self) -> str:
        """The unit as it is written behind the two numbers; empty where none is."""
        return "" if self.entry.unit in ("text", "x") else spoken(self.entry.unit)


def article_errors(ledger: Expectations) -> Iterator[ArticleError]:
    """Yield the article's errors in the ledger's order; no run is needed to know them."""
    for entry in ledger.expectations:
        if claim_verdict(entry)[0] is VerdictKind.ARTICLE_DIFFERS and (error := error_of(entry)):
            yield error


def error_of(entry: Entry) -> ArticleError | None:
    """Return a claim and what contradicts it; None where the ledger lacks either."""
    claimed, truth = entry.claimed, entry.derived or entry.recorded
    if not claimed or not truth:
        return None
    return ArticleError(entry=entry, printed=printed(claimed), true=_true_figure(claimed, truth))


def _true_figure(claimed: Printed, truth: Printed) -> str:
    """Return the true figure with the claim's last digit, or the next where that would mislead."""
    value = truth.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return printed(truth)
    if isinstance(value, int) or isinstance(claimed.value, str | bool | None):
        return printed(truth)
    step = Decimal(repr(claimed.step))
    for _ in range(_MORE_DIGITS):
        rounded = Decimal(repr(float(value))).quantize(step.normalize()) if step < 1 else None
        shown = float(value) if rounded is None else float(rounded)
        if rounded is None:
            return figure(float(f"{float(value):.4g}"))
        off = abs(shown - float(value))
        if off <= _MISPRINT * abs(float(value)) and shown != claimed.value:
            return f"{rounded:,f}"
        step /= 10
    return printed(truth)


def errors_table(scenario: Scenario, ledger: Expectations) -> Table:
    """Return the article's errors, one row each; no rows where there is none."""
    columns = (
        Column(key="claim", header="claim", names_row=True, whole=True),
        Column(key="unit", header="unit"),
        Column(key="printed", header="printed", align=Align.RIGHT),
        Column(key="true", header="true", align=Align.RIGHT),
        Column(key="why", header="why"),
        Column(key="source", header="source"),
    )
    rows = tuple(
        (
            words(each.entry.id),
            words(spoken(each.entry.unit)),
            words(each.printed),
            words(each.true),
            words(each.entry.diverges or ""),
            words(each.entry.source),
        )
        for each in article_errors(ledger)
    )
    return Table(
        title=f"Errors in article {scenario.article.number}: {scenario.article.title}",
        caption=("Printed numbers that the article's own data or formulas contradict.",),
        columns=columns,
        groups=(RowGroup(rows=rows),),
    )
