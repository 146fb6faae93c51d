"""Loading: from files to a `Scenario` and its ledger, with every mistake reported at once."""

from __future__ import annotations

from pathlib import Path

from harness.errors import InputError, Problem, unknown
from harness.records import record
from harness.scenario.checks import ledger_problems, scenario_problems
from harness.scenario.expectations import Expectations
from harness.scenario.positions import Document, read
from harness.scenario.schema import Scenario
from harness.scenario.shape import readable_entries, validate

SCENARIO_FILE = "scenario.yaml"
EXPECTATIONS_FILE = "expectations.yaml"


@record
class Loaded:
    """A scenario with the file it came from, so that later problems can name their line."""

    scenario: Scenario
    document: Document

    @property
    def folder(self) -> Path:
        """The folder that holds scenario.yaml and expectations.yaml."""
        return self.document.path.parent


def folders(root: Path) -> list[Path]:
    """Return the scenario folders under `root`, sorted by name.

    Raises:
        InputError: there are none, or a folder has no scenario.yaml.
    """
    if not root.is_dir():
        raise InputError([Problem(message="no such folder of scenarios", path=root)])
    found = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] not in "._")
    empty = [path for path in found if not (path / SCENARIO_FILE).is_file()]
    if empty:
        raise InputError(Problem(message=f"has no {SCENARIO_FILE}", path=path) for path in empty)
    if not found:
        raise InputError([Problem(message="holds no scenario", path=root)])
    return found


def find(root: Path, word: str) -> Path:
    """Return the folder of the scenario named `word`: its id, or the part before the first dash.

    Raises:
        InputError: none, or more than one, is named so; says which is nearest.
    """
    names = [path.name for path in folders(root)]
    matches = [name for name in names if word in (name, name.partition("-")[0])]
    if len(matches) == 1:
        return root / matches[0]
    if matches:
        problem = Problem(
            message="more than one scenario", value=repr(word), allowed=", ".join(matches)
        )
        raise InputError([problem])
    short = [name.partition("-")[0] for name in names]
    raise InputError([unknown("scenario", word, [*names, *short])])


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
