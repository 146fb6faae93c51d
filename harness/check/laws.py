"""Laws: named relations from a closed set, asked of measurements.

A ledger names a law and gives its parameters; it never holds a formula. Those that hold for figures
of any kind are here; a formula that only a workload knows is one of that workload's `laws`. An
unknown law or parameter is found by `law_problems`, before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from harness.check import paired, relations, wording
from harness.check.finding import Judgement, decided_by, judged
from harness.check.measured import Measured
from harness.check.relations import LawOutcome, Subject
from harness.errors import Problem, nearest
from harness.records import record
from harness.scenario import expectations as ledger
from harness.scenario.positions import Document, Key
from harness.workloads.api import registry
from harness.workloads.api.declare import build, problems_of


@record
class Relation:
    """A law: its parameters, and its test.

    Attributes:
        params: the frozen dataclass of its parameters.
        test: from such a record and a subject to an outcome.
        tolerant: whether the entry's `abs` and `rel` mean something to it.
    """

    params: type
    test: Callable[[Any, Subject], LawOutcome]
    tolerant: bool = True


LAWS = {
    "all_cells": Relation(params=relations.AllCells, test=relations.all_cells, tolerant=False),
    "best_cell": Relation(params=relations.BestCell, test=relations.best_cell),
    "falls": Relation(params=relations.Falls, test=relations.falls, tolerant=False),
    "linear_fit": Relation(params=relations.LinearFit, test=relations.linear_fit),
    "monotone": Relation(params=relations.Monotone, test=relations.monotone),
    "paired_mean": Relation(params=paired.PairedMean, test=paired.paired_mean, tolerant=False),
    "plateau": Relation(params=relations.Plateau, test=relations.plateau),
}


def relation_of(name: str) -> Relation | None:
    """Return the law of that name; None if there is none."""
    if name in LAWS:
        return LAWS[name]
    declared = registry.law(name)
    if declared is None:
        return None
    return Relation(params=declared.params, test=partial(relations.formula, declared))


def law(entry: ledger.LawEntry, measured: Measured) -> Judgement:
    """Test the law that an entry names; `law_problems` has found nothing wrong with the entry.

    Raises:
        Unanswered: a row is missing or invalid.
    """
    relation = relation_of(entry.expect.law)
    assert relation is not None
    subject = Subject(entry=entry, rows=measured.rows.select(entry), measured=measured)
    outcome = relation.test(build(relation.params, entry.expect.params), subject)
    margin = wording.figure(outcome.margin, entry.unit)
    detail = f"{outcome.text}; margin {margin}"
    if outcome.test is not None:
        return decided_by(outcome.measured, outcome.test, detail)
    return judged(outcome.holds, outcome.measured, detail, f"a change of {margin}")


def law_problems(entry: ledger.Expectation, document: Document, key: Key) -> Iterator[Problem]:
    """Yield every mistake in what an entry asks of a law; an entry of another kind has none.

    Args:
        entry: one entry of the ledger.
        document: the file of the entry.
        key: its place there, e.g. ``("expectations", 3)``.
    """
    if not isinstance(entry, ledger.LawEntry):
        return
    target, at = entry.expect, (*key, "expect")
    relation = relation_of(target.law)
    if relation is None:
        known = sorted([*LAWS, *registry.law_names()])
        yield document.problem(
            (*at, "law"),
            "unknown law",
            value=repr(target.law),
            allowed=", ".join(known),
            nearest=nearest(target.law, known),
        )
        return
    for problem in _params_problems(relation, target.params):
        facts = {"value": problem.value, "allowed": problem.allowed, "nearest": problem.nearest}
        where = (problem.key,) if problem.key else ()
        yield document.problem((*at, "params", *where), problem.message, **facts)
    for name, given in (("abs", target.abs), ("rel", target.rel)):
        if given is not None and not relation.tolerant:
            yield document.problem((*at, name), f"the law {target.law} takes no tolerance")


def _params_problems(relation: Relation, params: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of each parameter, or else of all of them together."""
    single = list(problems_of(relation.params, params))
    yield from single
    if not single:
        try:
            build(relation.params, params)
        except ValueError as error:
            yield Problem(message=str(error))
