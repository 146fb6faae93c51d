"""The result of comparing an entry, before it becomes a verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from harness.records import VerdictKind, record


@record
class SignificanceTest:
    """A test behind a finding; it is decided once all tests of a ledger are known.

    Attributes:
        name: of the test.
        alpha: the level of its two questions together with those of the other entries.
        shown: p-value of the claim's contrary, small where the claim is shown; None where such a
            test can show none.
        refuted: p-value of the claim, small where it is refuted.
        otherwise: the verdict where neither is small.
        refutation: what it means that the claim is refuted.
        sight: from a level to the smallest effect that the sample sees with power 0.8.
    """

    name: str
    alpha: float
    refuted: float
    sight: Callable[[float], str]
    shown: float | None = None
    otherwise: VerdictKind = VerdictKind.INCONCLUSIVE
    refutation: str = ""


@record
class Judgement:
    """The answer of one kind of comparison.

    Attributes:
        kind: the verdict's kind.
        measured: what was found, formatted with its unit.
        detail: why, in one line.
        sees: the smallest effect that the comparison would have seen, formatted.
        test: what decides the kind, if chance does.
    """

    kind: VerdictKind
    measured: str = ""
    detail: str = ""
    sees: str = ""
    test: SignificanceTest | None = None


class Unanswered(Exception):  # noqa: N818 - not an error: a verdict
    """The entry could not be compared, or the sample is too small.

    Args:
        kind: MISSING if a figure is absent, RUN FAILED if it cannot be used, HOST DEGRADED if the
            machine was not itself, INCONCLUSIVE where there is too little of it.
        detail: why, in one line.
    """

    def __init__(self, kind: VerdictKind, detail: str) -> None:
        self.finding = Judgement(kind=kind, detail=detail)
        super().__init__(detail)


def call_missing(detail: str) -> NoReturn:
    """Give up: a figure is absent."""
    raise Unanswered(VerdictKind.MISSING, detail) from None


def call_degraded(detail: str) -> NoReturn:
    """Give up: a figure of timing is of a machine that was not itself."""
    raise Unanswered(VerdictKind.HOST_DEGRADED, detail) from None


def call_invalid(detail: str) -> NoReturn:
    """Give up: a run broke, or figures contradict each other or the entry."""
    raise Unanswered(VerdictKind.RUN_FAILED, detail) from None


def call_inconclusive(detail: str) -> NoReturn:
    """Give up: there are too few samples to say anything of."""
    raise Unanswered(VerdictKind.INCONCLUSIVE, detail) from None


def judged(holds: bool, measured: str, detail: str, sees: str) -> Judgement:  # noqa: FBT001 - the judgement
    """Return whether what was measured is what was expected; what is outside has been seen."""
    kind = VerdictKind.REPRODUCED if holds else VerdictKind.OUTSIDE
    return Judgement(kind=kind, measured=measured, detail=detail, sees=sees if holds else "")


def decided_by(measured: str, test: SignificanceTest, detail: str = "") -> Judgement:
    """Return a finding that `test` decides."""
    return Judgement(kind=test.otherwise, measured=measured, detail=detail, test=test)
