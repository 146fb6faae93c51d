"""Loading: from files to a `Scenario` and its ledger, with every mistake reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.errors import InputError, Problem
from harness.records import record
from harness.scenario.checks import ledger_problems, metrics_of, scenario_problems
from harness.scenario.expectations import Expectation, Expectations, Ledger
from harness.scenario.folders import EXPECTATIONS_FILE, SCENARIO_FILE
from harness.scenario.headline import claim_problems
from harness.scenario.positions import Document, Key, read_as_far
from harness.scenario.schema import Scenario
from harness.scenario.sections import resolve
from harness.scenario.shape import readable_entries, validate

EntryCheck = Callable[[Expectation, Document, Key], Iterator[Problem]]


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
    document, refused = read_as_far(folder / SCENARIO_FILE)
    shape = validate(Scenario, document)
    hidden = scenario_problems(shape.model, document) if shape.model is not None else ()
    if problems := _together(refused, [*shape.problems, *hidden]):
        raise InputError(problems)
    assert shape.model is not None
    return Loaded(scenario=shape.model, document=document)


def load_expectations(loaded: Loaded, entry_problems: EntryCheck | None = None) -> Expectations:
    """Load ``expectations.yaml`` beside a scenario.

    Args:
        loaded: the scenario.
        entry_problems: yields the problems of an entry that a higher package sees, which
            knows e.g. the laws.

    Raises:
        InputError: every mistake in the file: shape, unknown metrics, units and cells.
    """
    written, refused = read_as_far(loaded.folder / EXPECTATIONS_FILE)
    sections = validate(Ledger, written)
    document = resolve(written, metrics_of(loaded.scenario))
    if not document.value["expectations"]:
        raise InputError(_together(refused, sections.problems))
    shape = validate(Expectations, document)
    entries = [*readable_entries(shape)]
    hidden = [*ledger_problems(loaded.scenario, entries, document)]
    if entry_problems is not None:
        for index, entry in entries:
            hidden += entry_problems(entry, document, ("expectations", index))
    ids = [str(each.get("id")) for each in document.value["expectations"]]
    hidden += claim_problems(loaded.scenario.headline, loaded.document, ids)
    problems = _together(refused, [*shape.problems, *hidden])
    if problems := _together(problems, sections.problems):  # a complete entry's say more
        raise InputError(problems)
    assert shape.model is not None
    return shape.model


def _together(first: Iterable[Problem], later: Iterable[Problem]) -> list[Problem]:
    """Return all mistakes of a file; the later ones not of keys that the first name already.

    A mistake in the defaults of a section is found in each of its entries, and returned once.
    """
    known = [*first]
    keys = {problem.key for problem in known}
    every = [*known, *(problem for problem in later if problem.key not in keys)]
    once: dict[tuple[str, int | None, str], Problem] = {}
    for problem in every:
        once.setdefault((problem.key, problem.line, problem.message), problem)
    return [*once.values()]
