"""``harness validate``: read every file a person wrote, and report all mistakes at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ExitCode, InputError, Problem, nearest
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import record
from harness.scenario.expectations import Ledger
from harness.scenario.folders import find_all, survey
from harness.scenario.images import read_lock
from harness.scenario.load import load
from harness.scenario.schema import Scenario, Strict
from harness.session.options import ValidateOptions
from harness.session.output import print_answer
from harness.session.project import Project, open_project
from harness.session.selection import open_ledger
from harness.session.strangers import tell_of_strangers
from harness.units import counted


@record
class ValidateAnswer:
    """The answer of ``harness validate --json``: the scenarios without a mistake."""

    valid: tuple[str, ...]


def main(options: ValidateOptions) -> ExitCode:
    """Print how many files are right, or every mistake.

    Raises:
        InputError: every mistake in every file.
    """
    if options.schema:
        print(schema_text(options.schema), end="")
        return ExitCode.OK
    project = open_project(options)
    problems: list[Problem] = []
    chosen = _chosen(project, options.scenarios, problems)
    images: Collection[str] | None = None
    with _noting(problems):
        images = read_lock(project.containers)
    for folder in chosen:
        options.console.explain(f"reading {folder}")
        problems += scenario_problems(folder, images)
    if problems:
        raise InputError(problems)
    tell_of_strangers(project, options.console)
    if options.json:
        print_answer(options, ValidateAnswer(valid=tuple(folder.name for folder in chosen)))
    else:
        print(f"{counted(len(chosen), 'scenario')} valid")
    return ExitCode.OK


def schema_text(name: str) -> str:
    """Return the JSON Schema of ``scenario.yaml``, ``expectations.yaml``, or of all ``--json``."""
    if name == "output":
        from harness.commands.output_schema import output_schema  # noqa: PLC0415 - of all commands

        return json.dumps(output_schema(), indent=1, sort_keys=True) + "\n"
    models: dict[str, type[Strict]] = {"scenario": Scenario, "expectations": Ledger}
    return json.dumps(models[name].model_json_schema(), indent=1, sort_keys=True) + "\n"


def scenario_problems(folder: Path, images: Collection[str] | None) -> list[Problem]:
    """Return every mistake in the files of one scenario, also those only planning can see.

    Args:
        folder: the scenario's.
        images: the names in the lock; None where the lock itself is wrong.
    """
    problems: list[Problem] = []
    with _noting(problems):
        loaded = load(folder)
        for profile in loaded.scenario.profiles:
            with _noting(problems):
                expand(loaded, profile, Overrides())
        if images is not None:
            for name, model in loaded.scenario.profiles.items():
                if model.image is not None and model.image not in images:
                    problems.append(
                        loaded.document.problem(
                            ("profiles", name.value, "image"),
                            "unknown image",
                            value=repr(model.image),
                            allowed=", ".join(images),
                            nearest=nearest(model.image, images),
                        )
                    )
        open_ledger(loaded)
    return problems


def _chosen(project: Project, words: Sequence[str], problems: list[Problem]) -> list[Path]:
    """Return the folders of the scenarios named, of all where none is; add what names none."""
    if not words:
        found, mistaken = survey(project.scenarios)
        problems += mistaken
        return found
    try:
        return find_all(project.scenarios, words)
    except InputError as error:
        problems += error.problems
        return []


@contextmanager
def _noting(problems: list[Problem]) -> Iterator[None]:
    """Add problems raised inside to `problems`, and continue."""
    try:
        yield
    except InputError as error:
        problems += error.problems
