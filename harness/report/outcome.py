"""What a verdict means to a test runner; agrees with `harness.check.verdicts.exit_code`."""

from __future__ import annotations

from enum import StrEnum

from harness.records import Verdict, VerdictKind


class JunitOutcome(StrEnum):
    """How test runners sort results; the value is JUnit's element."""

    PASSED = "passed"
    FAILED = "failure"  # there is an answer, and it is not the expected one
    ERROR = "error"  # there is no answer: a run failed, a figure is missing, samples are too few
    SKIPPED = "skipped"  # not checked here: it applies elsewhere, or is only reported


_OUTCOMES = {
    VerdictKind.REPRODUCED: JunitOutcome.PASSED,
    VerdictKind.ARITHMETIC: JunitOutcome.PASSED,
    VerdictKind.ARTICLE_DIFFERS: JunitOutcome.PASSED,
    VerdictKind.OUTSIDE: JunitOutcome.FAILED,
    VerdictKind.UNEXPECTED_MATCH: JunitOutcome.FAILED,
    VerdictKind.RUN_FAILED: JunitOutcome.ERROR,
    VerdictKind.HOST_DEGRADED: JunitOutcome.ERROR,
    VerdictKind.MISSING: JunitOutcome.ERROR,
    VerdictKind.INCONCLUSIVE: JunitOutcome.ERROR,
    VerdictKind.OTHER_PROFILE: JunitOutcome.SKIPPED,
    VerdictKind.REPORTED: JunitOutcome.SKIPPED,
}


def outcome(verdict: Verdict) -> JunitOutcome:
    """Return how a test runner should count a verdict.

    A ledger that is wrong about its own claim fails, whatever was measured; a reported entry never
    does.
    """
    if verdict.kind is VerdictKind.REPORTED:
        return JunitOutcome.SKIPPED
    if verdict.claim in (VerdictKind.OUTSIDE, VerdictKind.UNEXPECTED_MATCH):
        return JunitOutcome.FAILED
    return _OUTCOMES[verdict.kind]


def reason(verdict: Verdict) -> str:
    """Return in one line what a reader of a failed test needs: kind, detail, both figures."""
    kinds = [verdict.kind]
    if verdict.claim in (VerdictKind.OUTSIDE, VerdictKind.UNEXPECTED_MATCH):
        kinds.append(verdict.claim)
    parts = ["shown, not counted"] if verdict.kind is VerdictKind.REPORTED else []
    parts += [verdict.claim_detail, verdict.detail]
    parts += [f"expected {verdict.expected}" if verdict.expected else ""]
    parts += [f"measured {verdict.measured}" if verdict.measured else ""]
    why = "; ".join(part for part in parts if part)
    kind = " and ".join(dict.fromkeys(kinds))
    return f"{kind}: {why}" if why else kind
