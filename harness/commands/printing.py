"""What `run`, `check` and `report` print, and the exit code that it comes to."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence

from harness.check.verdicts import exit_code
from harness.errors import ExitCode
from harness.records import Status
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import Dossier
from harness.report.ledger import brief_table, judged, ledger_table
from harness.report.render import render_json, render_text
from harness.report.tables import Table

# the most certain wins, as in harness.check: a figure outside is true whatever else broke
_BY_GRAVITY = (ExitCode.OK, ExitCode.INCONCLUSIVE, ExitCode.INFRASTRUCTURE, ExitCode.OUTSIDE)

_LOG_COLUMNS = 150


def tables_of(dossier: Dossier) -> tuple[Table, ...]:
    """Return the tables of a dossier in the order they are read: cells, rows, ledger."""
    return (cells_table(dossier), *rows_tables(dossier), ledger_table(dossier))


def print_dossiers(dossiers: Sequence[Dossier], options: argparse.Namespace) -> None:
    """Print cells, claims and counts; every table as JSON where the options say so."""
    if options.json:
        tables = [table for each in dossiers for table in tables_of(each)]
        print_json(tables, exit_code=judgement(dossiers))
        return
    width = terminal_width()
    for dossier in dossiers:
        for table in (cells_table(dossier), brief_table(dossier)):
            print(render_text(table, width))
    for dossier in dossiers:
        print(f"{dossier.scenario.scenario} {dossier.profile}: {counts(dossier)}")
        print(f"{dossier.scenario.scenario} {dossier.profile}: {judged(dossier)}")
    names = sorted({each.scenario.scenario.partition("-")[0] for each in dossiers})
    print(f"everything, with sources, notes and plots: harness report {names[0]} --out FOLDER")


def print_json(tables: Iterable[Table], **facts: object) -> None:
    """Print one JSON document: the tables, and what else is known beside them."""
    documents = [json.loads(render_json(table)) for table in tables]
    print(json.dumps({"tables": documents, **facts}, indent=1))


def terminal_width() -> int:
    """Return the columns there are to print in; what is no terminal is mostly a log to be read."""
    return shutil.get_terminal_size((_LOG_COLUMNS, 0)).columns


def counts(dossier: Dossier) -> str:
    """Return how many runs are planned and how they ended; the numbers add up."""
    assert dossier.plan is not None
    ended = [run.outcome.status for run in dossier.runs]
    num_planned, num_skipped = len(dossier.plan.runs), len(dossier.plan.skipped)
    finished = sum(status is Status.FINISHED for status in ended)
    parts = {
        "finished": finished,
        "failed": len(ended) - finished,
        "not run": num_planned - len(ended),
        "skipped": num_skipped,
    }
    shown = [f"{number} {word}" for word, number in parts.items() if number or word == "finished"]
    return f"{dossier.plan.num_declared} declared = {' + '.join(shown)}"


def judgement(dossiers: Iterable[Dossier]) -> ExitCode:
    """Return the gravest exit code that the verdicts and the runs come to."""
    codes = [code for each in dossiers for code in _codes(each)]
    return max(codes, key=_BY_GRAVITY.index)


def _codes(dossier: Dossier) -> Iterator[ExitCode]:
    failed = any(run.outcome.status is not Status.FINISHED for run in dossier.runs)
    yield ExitCode.INFRASTRUCTURE if failed else ExitCode.OK
    yield exit_code(dossier.verdicts)
