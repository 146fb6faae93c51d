"""The result of comparing an entry, before it becomes a verdict."""

from __future__ import annotations

from typing import NoReturn

from harness.records import VerdictKind, record


@record
class Judgement:
    """The answer of one kind of comparison.

    Attributes:
        kind: the verdict's kind.
        measured: what was found, formatted with its unit.
        detail: why, in one line.
    """

    kind: VerdictKind
    measured: str = ""
    detail: str = ""


class Unanswered(Exception):  # noqa: N818 - not an error: a verdict
    """The entry could not be compared, or the sample is too small.

    Args:
        kind: MISSING if a figure is absent, RUN FAILED if it cannot be used,
            INCONCLUSIVE where there is too little of it.
        detail: why, in one line.
    """

    def __init__(self, kind: VerdictKind, detail: str) -> None:
        self.finding = Judgement(kind=kind, detail=detail)
        super().__init__(detail)


def call_missing(detail: str) -> NoReturn:
    """Give up: a figure is absent."""
    raise Unanswered(VerdictKind.MISSING, detail) from None


def call_invalid(detail: str) -> NoReturn:
    """Give up: a run broke, or figures contradict each other or the entry."""
    raise Unanswered(VerdictKind.RUN_FAILED, detail) from None


def call_inconclusive(detail: str) -> NoReturn:
    """Give up: there are too few samples to say anything of."""
    raise Unanswered(VerdictKind.INCONCLUSIVE, detail) from None


def reproduced(measured: str, detail: str) -> Judgement:
    """Return the finding that what was measured is what was expected."""
    return Judgement(kind=VerdictKind.REPRODUCED, measured=measured, detail=detail)


def outside(measured: str, detail: str) -> Judgement:
    """Return the finding that it is not."""
    return Judgement(kind=VerdictKind.OUTSIDE, measured=measured, detail=detail)


def inconclusive(measured: str, detail: str) -> Judgement:
    """Return the finding that the sample cannot tell."""
    return Judgement(kind=VerdictKind.INCONCLUSIVE, measured=measured, detail=detail)
