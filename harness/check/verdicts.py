"""From the ledger and the runs to verdicts, and from verdicts to the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from harness.check import wording
from harness.check.finding import Judgement, Unanswered
from harness.check.inference import decide
from harness.check.kinds import compare
from harness.check.measured import Measured
from harness.errors import ExitCode
from harness.records import FinishedRun, Profile, Verdict, VerdictKind
from harness.scenario.expectations import (
    Binds,
    EvidenceClass,
    Expectation,
    Expectations,
    claim_verdict,
)
from harness.workloads.api.declare import Metric


def check(
    ledger: Expectations,
    runs: Sequence[FinishedRun],
    profile: Profile,
    metrics: Mapping[str, Metric],
) -> tuple[Verdict, ...]:
    """Compare every entry with the measurements: one verdict each, in the ledger's order.

    Args:
        ledger: the entries.
        runs: at most one for each planned run, broken ones included; those of other profiles are
            not looked at.
        profile: the profile of the runs.
        metrics: what the workloads declare, by name.
    """
    here = [run for run in runs if run.spec.profile is profile]
    asked = {entry.metric for entry in ledger.expectations}
    devices = dict.fromkeys(run.outcome.device for run in here if run.outcome.device)

    @cache
    def measured_on(device: str | None) -> Measured:
        """Return the measurements of a device; a run that failed before naming one counts."""
        bound = [run for run in here if device is None or run.outcome.device in (device, "")]
        recomputed = profile is Profile.EVIDENCE
        return Measured.of(bound, metrics, asked, recomputed=recomputed)

    others = {
        entry.id: elsewhere(entry.binds, profile, list(devices)) for entry in ledger.expectations
    }
    findings = {
        entry.id: _finding(entry, measured_on(None if others[entry.id] else entry.binds.device))
        for entry in ledger.expectations
    }
    counted = {
        entry.id
        for entry in ledger.expectations
        if not others[entry.id] and entry.evidence_class is not EvidenceClass.REPORTED
    }
    findings = decide(findings, counted)
    verdicts = []
    for entry in ledger.expectations:
        finding = findings[entry.id]
        if other := others[entry.id]:
            finding = replace(finding, kind=VerdictKind.OTHER_PROFILE, detail=other, sees="")
        if entry.evidence_class is EvidenceClass.REPORTED:
            finding = replace(finding, kind=VerdictKind.REPORTED, sees="")
        verdicts.append(_verdict(entry, finding))
    return tuple(verdicts)


def exit_code(verdicts: Iterable[Verdict]) -> ExitCode:
    """Return the exit code; the most certain result wins.

    1. OUTSIDE: a compared figure is out of tolerance, or the ledger is wrong (it hides a
       disagreement, or declares one that is not there). True whatever else failed.
    2. INFRASTRUCTURE: a run failed, the machine was not itself, or figures contradict each other.
    3. INCONCLUSIVE: too few samples, a figure is missing, or nothing at all could be compared.
    4. OK: every compared figure is reproduced, and there was at least one.

    Entries of the class `reported`, and their printed claims, are not counted. The claim of an
    arithmetic entry counts, but the entry does not count as compared.
    """
    known = [each for each in verdicts if each.kind is not VerdictKind.REPORTED]
    kinds = {each.kind for each in known}
    claims = {each.claim for each in known}
    if (kinds | claims) & {VerdictKind.OUTSIDE, VerdictKind.UNEXPECTED_MATCH}:
        return ExitCode.OUTSIDE
    if kinds & {VerdictKind.RUN_FAILED, VerdictKind.HOST_DEGRADED}:
        return ExitCode.INFRASTRUCTURE
    if kinds & {VerdictKind.INCONCLUSIVE, VerdictKind.MISSING}:
        return ExitCode.INCONCLUSIVE
    compared = kinds & {VerdictKind.REPRODUCED, VerdictKind.ARTICLE_DIFFERS}
    return ExitCode.OK if compared else ExitCode.INCONCLUSIVE


def elsewhere(binds: Binds, profile: Profile, devices: list[str]) -> str:
    """Return why an entry does not apply here; empty if it does, or no run names its device."""
    if binds.profile and profile not in binds.profile:
        return f"checked in profile {', '.join(binds.profile)}; this is {profile}"
    if binds.device is not None and devices and binds.device not in devices:
        return f"checked on {binds.device}; this is {', '.join(devices)}"
    return ""


def judge(entry: Expectation, measured: Measured) -> Judgement:
    """Compare one entry by itself: its test is decided as if it were the only one."""
    return decide({entry.id: _finding(entry, measured)}, set())[entry.id]


def _finding(entry: Expectation, measured: Measured) -> Judgement:
    try:
        return compare(entry, measured)
    except Unanswered as unanswered:
        return unanswered.finding


def _verdict(entry: Expectation, finding: Judgement) -> Verdict:
    claim, claim_detail = claim_verdict(entry)
    return Verdict(
        expectation=entry.id,
        kind=finding.kind,
        metric=entry.metric,
        where=entry.where,
        expected=wording.expected(entry),
        measured=finding.measured,
        detail=finding.detail,
        sees=finding.sees,
        claim=claim,
        claim_detail=claim_detail,
    )
