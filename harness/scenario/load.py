"""Loading: from files to a `Scenario` and its ledger, with every mistake reported at once."""

from __future__ import annotations

from pathlib import Path

from harness.errors import InputError
from harness.records import record
from harness.scenario.checks import ledger_problems, scenario_problems
from harness.scenario.expectations import Expectations
from harness.scenario.folders import EXPECTATIONS_FILE, SCENARIO_FILE
from harness.scenario.positions import Document, read
from harness.scenario.schema import Scenario
from harness.scenario.shape import readable_entries, validate


@record
class Loaded:
    """A scenario with the file it came from, so that later problems can name their line."""

    scenario: Scenario
    document: Document

    @property
    def folder(self) -> Path:
        """The folder that holds scenario.yaml and expectations.yaml."""
        return self.document.path.parent


def load(folder: Path) -> Loaded:
    """Load ``scenario.yaml`` of one scenario folder.

    Raises:
        InputError: every mistake in the file.
    """
    document = read(folder / SCENARIO_FILE)
    scenario, problems = validate(Scenario, document)
    if scenario is not None:
        problems += scenario_problems(scenario, document)
        if not problems:
            return Loaded(scenario=scenario, document=document)
    raise InputError(problems)


def load_expectations(loaded: Loaded) -> Expectations:
    """Load ``expectations.yaml`` beside a scenario.

    Raises:
        InputError: every mistake in the file: shape, unknown metrics, units, cells and laws.
    """
    document = read(loaded.folder / EXPECTATIONS_FILE)
    ledger, problems = validate(Expectations, document)
    entries = readable_entries(document) if ledger is None else enumerate(ledger.expectations)
    problems += ledger_problems(loaded.scenario, entries, document)
    if ledger is None or problems:
        raise InputError(problems)
    return ledger
