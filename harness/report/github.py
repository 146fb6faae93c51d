"""Verdicts where GitHub shows them: the job summary, and annotations at the ledger's lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.records import Verdict
from harness.report import clean
from harness.report.dossier import ScenarioReport
from harness.report.ledger import judged, ledger_table
from harness.report.outcome import JunitOutcome, outcome, reason
from harness.report.render import render_markdown
from harness.scenario.positions import Document

# an answer that is not the expected one is an error; no answer asks for a look
_LEVELS = {JunitOutcome.FAILED: "error", JunitOutcome.ERROR: "warning"}


def render_summary(dossiers: Sequence[ScenarioReport]) -> str:
    """Return the job summary: the counts, what failed or has no answer, then every ledger."""
    lines = ["## Claims", ""]
    for dossier in dossiers:
        name = f"{dossier.scenario.title}, {dossier.profile} profile"
        lines += [f"**{clean.markdown(name)}**: {judged(dossier)}.", ""]
    for dossier in dossiers:
        lines += _ledger(dossier)
    return "\n".join(lines).rstrip("\n") + "\n"


def _ledger(dossier: ScenarioReport) -> Iterator[str]:
    table = ledger_table(dossier)
    to_see = {each.expectation for each in dossier.verdicts if outcome(each) in _LEVELS}
    if to_see:
        # the rows of some entries, whose ids are in the first column
        groups = [
            replace(group, rows=tuple(row for row in group.rows if row[0].raw in to_see))
            for group in table.groups
        ]
        yield render_markdown(
            replace(
                table,
                title=f"{table.title}: to look at",
                groups=tuple(group for group in groups if group.rows),
            )
        )
    yield f"<details><summary>All {len(table.rows)} entries</summary>\n"
    yield render_markdown(table)
    yield "</details>\n"


def annotate(
    verdicts: Sequence[Verdict], ledger: Document, root: Path, missing: str = ""
) -> Iterator[str]:
    """Yield a workflow command for each verdict that needs a look, at its line of the ledger.

    Args:
        verdicts: of the entries of one ledger.
        missing: what a dossier says of missing runs, for a command at the ledger's first line.
        ledger: the file of the entries.
        root: the folder of the repository; GitHub wants paths from there.
    """
    lines = {
        entry["id"]: ledger.places["sections", i, "entries", j][0]
        for i, section in enumerate(ledger.value["sections"])
        for j, entry in enumerate(section["entries"])
    }
    try:
        file = ledger.path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:  # a linked folder: the repository knows the link
        file = os.path.relpath(ledger.path.absolute(), root.absolute())
    if missing:
        yield f"::warning file={_property(file)},line=1,title=MISSING::{_message(missing)}"
    for verdict in verdicts:
        if level := _LEVELS.get(outcome(verdict)):
            place = f"file={_property(file)},line={lines[verdict.expectation]}"
            title = _property(f"{verdict.expectation}: {verdict.kind}")
            yield f"::{level} {place},title={title}::{_message(reason(verdict))}"


def _message(text: str) -> str:
    return clean.plain(text).replace("%", "%25")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
