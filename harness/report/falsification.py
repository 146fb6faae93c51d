"""What each entry of a ledger notices of a dead experiment, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from harness.check.audit import Audited
from harness.report.dossier import ScenarioReport
from harness.report.ledger import falsifiable
from harness.report.tables import Column, RowGroup, Table, TableCell, words

_COLUMNS = (
    Column(key="id", header="id", names_row=True, whole=True),
    Column(key="verdict", header="verdict", whole=True),
    Column(key="notices", header="notices", prose=True),
    Column(key="misses", header="does not notice", prose=True),
)


def audit_table(dossier: ScenarioReport, audited: Sequence[Audited]) -> Table:
    """Return a row for each compared entry, those that cannot fail first."""
    groups = (
        ("Cannot fail: no dead experiment turns the verdict", False),
        ("Can fail", True),
    )
    rows = {
        title: tuple(
            (
                words(each.entry),
                TableCell(text=each.kind, raw=each.kind, verdict=each.kind),
                words(", ".join(each.noticed)),
                words(", ".join(each.missed)),
            )
            for each in audited
            if each.can_fail is able
        )
        for title, able in groups
    }
    return Table(
        title=f"{dossier.scenario.title}: what the claims notice, {dossier.profile} profile",
        caption=(f"{falsifiable(dossier) or 'nothing is compared'}.", *dossier.caption),
        columns=_COLUMNS,
        groups=tuple(RowGroup(title=title, rows=some) for title, some in rows.items() if some),
    )
