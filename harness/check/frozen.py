"""Expectations that changed after the results that they judge.

Every run keeps the fingerprints of the ledger that it was made with, and its store the ledger's
text. An expectation that has another fingerprint today was changed by somebody who could know the
results: they are judged by the text that they were made with, until they are made again. One that
was written afterwards judges none of them; one that was removed still does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.check.verdicts import check
from harness.records import FinishedRun, Profile, RunSpec, Verdict, VerdictKind, record
from harness.scenario.expectations import (
    EvidenceClass,
    Expectation,
    Expectations,
    fingerprints,
)
from harness.workloads.api.declare import Metric


@record
class Checked:
    """A ledger as it judges some results, and what it says of them.

    Attributes:
        ledger: the present one, but for entries that were changed after the results, which are as
            they were, and for those removed, which are at its end.
        verdicts: one for each of its entries.
    """

    ledger: Expectations
    verdicts: tuple[Verdict, ...]


def check_as_fixed(
    ledger: Expectations,
    runs: Sequence[FinishedRun],
    profile: Profile,
    metrics: Mapping[str, Metric],
    earlier: Callable[[RunSpec], Expectations | None],
) -> Checked:
    """Compare every entry with the measurements, as it stood when these were made.

    Args:
        ledger: the present entries.
        runs: see `harness.check.verdicts.check`.
        profile: the profile of the runs.
        metrics: what the workloads declare, by name.
        earlier: the ledger that a run was made with; None where its text is lost.
    """
    present = {entry.id: entry for entry in ledger.expectations}
    entries: dict[str, Expectation] = {**present}
    said: dict[str, str] = {}
    for name, spec in _differing(ledger, [run for run in runs if run.spec.profile is profile]):
        kept = earlier(spec)
        text = {each.id: each for each in kept.expectations}.get(name) if kept else None
        if text is not None:
            entries[name] = text
            said[name] = "changed after results" if name in present else "removed after results"
        elif name in present:  # judged by no text that the results were made with
            is_new = name not in spec.ledger
            entries[name] = present[name].model_copy(
                update={"evidence_class": EvidenceClass.REPORTED}
            )
            lost = "changed after results, and the earlier text is lost"
            said[name] = "written after results" if is_new else lost
    effective = ledger.model_copy(update={"expectations": [*entries.values()]})
    verdicts = check(effective, runs, profile, metrics)
    if said:
        of_present = {each.expectation: each for each in check(ledger, runs, profile, metrics)}
        verdicts = tuple(
            _annotated(each, said[each.expectation], of_present.get(each.expectation))
            if each.expectation in said
            else each
            for each in verdicts
        )
    return Checked(ledger=effective, verdicts=verdicts)


def _differing(ledger: Expectations, runs: Sequence[FinishedRun]) -> list[tuple[str, RunSpec]]:
    """Return every expectation that changed, and the earliest run that it judges as it was.

    Runs that know no ledger, as harnesses before this one made them, tell nothing.
    """
    today = fingerprints(ledger)
    metric_of = {entry.id: entry.metric for entry in ledger.expectations}
    found: dict[str, RunSpec] = {}
    for run in sorted(runs, key=lambda run: run.outcome.started_at):
        if not run.spec.ledger:
            continue
        measured = {each.metric for each in run.measurements}
        for name in dict.fromkeys([*today, *run.spec.ledger]):
            judges = name not in metric_of or metric_of[name] in measured
            if judges and run.spec.ledger.get(name) != today.get(name):
                found.setdefault(name, run.spec)
    return [*found.items()]


def _annotated(verdict: Verdict, said: str, of_present: Verdict | None) -> Verdict:
    """Return a verdict that says what happened to its entry, and what the present text gives."""
    if of_present is None:
        note = said
    elif verdict.kind is VerdictKind.REPORTED:
        note = f"{said}: judges none of them until they are made again; gives {of_present.kind}"
    else:
        note = f"{said}: judged as it was; the present text gives {of_present.kind}"
    detail = "; ".join(part for part in (note, verdict.detail) if part)
    return replace(verdict, detail=detail, changed=True)
