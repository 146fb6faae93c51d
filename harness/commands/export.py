"""``harness export``: stored results in a form that another tool opens."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from harness.errors import ExitCode, InputError, Problem
from harness.export.source import Exported
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import record
from harness.report.dossier import assemble
from harness.results.store import RunStore
from harness.scenario.folders import find
from harness.scenario.load import load
from harness.session.options import ExportOptions
from harness.session.output import print_answer
from harness.session.project import open_project
from harness.session.selection import open_ledger, stored_profile


@record
class ExportAnswer:
    """The answer of ``harness export --json``: the form, the folder, and what was written."""

    to: str
    path: str
    written: tuple[str, ...]


def main(options: ExportOptions) -> ExitCode:
    """Write one profile of one scenario into a new folder.

    Raises:
        InputError: something else is at the place, or the tool's package is not installed.
        HostError: there are no results, or none that this form can hold.
    """
    project = open_project(options)
    loaded, store = load(find(project.scenarios, options.scenario)), RunStore(project.store)
    profile = stored_profile(options.profile, loaded.scenario, store)
    _check_place(options.path)
    plan = expand(loaded, profile, Overrides())
    report = assemble(loaded, open_ledger(loaded), plan, store, judged=False)
    module = import_module(f"harness.export.{options.to.replace('-', '_')}")
    written: list[str] = module.export(Exported(report=report, store=store), options.path)
    if options.json:
        answer = ExportAnswer(to=options.to, path=str(options.path), written=tuple(written))
        print_answer(options, answer)
    else:
        print("\n".join(written))
    return ExitCode.OK


def _check_place(path: Path) -> None:
    """Refuse to replace what is there: only an empty folder may be."""
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        message = "is there already, and is never replaced by an export"
        raise InputError([Problem(message=message, path=path, allowed="a new or an empty folder")])
