"""``harness validate``: read every file a person wrote, and report all mistakes at once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from harness.check.laws import law_problems
from harness.commands.project import Project, open_project
from harness.errors import ExitCode, InputError, Problem
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.scenario.expectations import Expectations
from harness.scenario.folders import EXPECTATIONS_FILE, find, folders
from harness.scenario.images import read_lock
from harness.scenario.load import load, load_expectations
from harness.scenario.positions import read
from harness.scenario.schema import Scenario, Strict


def main(options: argparse.Namespace) -> ExitCode:
    """Print how many files are right, or every mistake.

    Raises:
        InputError: every mistake in every file.
    """
    if options.schema:
        print(schema_text(options.schema), end="")
        return ExitCode.OK
    project = open_project(options)
    chosen = [find(project.scenarios, word) for word in options.scenario]
    chosen = chosen or folders(project.scenarios)
    problems = [problem for folder in chosen for problem in scenario_problems(folder, project)]
    if problems:
        raise InputError(problems)
    if options.json:
        print(json.dumps({"valid": [folder.name for folder in chosen]}))
    else:
        print(f"{len(chosen)} scenarios valid")
    return ExitCode.OK


def schema_text(name: str) -> str:
    """Return the JSON Schema of ``scenario.yaml`` or ``expectations.yaml``, for editors."""
    models: dict[str, type[Strict]] = {"scenario": Scenario, "expectations": Expectations}
    return json.dumps(models[name].model_json_schema(), indent=1, sort_keys=True) + "\n"


def scenario_problems(folder: Path, project: Project) -> Iterator[Problem]:
    """Yield every mistake in the files of one scenario, also those only planning can see."""
    try:
        loaded = load(folder)
    except InputError as error:
        yield from error.problems
        return
    for profile in loaded.scenario.profiles:
        try:
            expand(loaded, profile, Overrides())
        except InputError as error:
            yield from error.problems
    yield from _image_problems(loaded.document.path, loaded.scenario, project)
    try:
        ledger = load_expectations(loaded)
    except InputError as error:
        yield from error.problems
        return
    document = read(folder / EXPECTATIONS_FILE)
    for index, entry in enumerate(ledger.expectations):
        yield from law_problems(entry, document, ("expectations", index))


def _image_problems(path: Path, scenario: Scenario, project: Project) -> Iterator[Problem]:
    known = read_lock(project.containers)
    document = read(path)
    for profile, model in scenario.profiles.items():
        if model.image is not None and model.image not in known:
            yield document.problem(
                ("profiles", profile.value, "image"),
                "unknown image",
                value=repr(model.image),
                allowed=", ".join(known),
            )
