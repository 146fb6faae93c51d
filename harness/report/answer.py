"""The answer to a scenario's question: what its claims came to, in words.

Everything is counted: the answer sorts the clauses that the scenario declares by the verdicts of
their claims, and says what this profile is too small to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from harness.records import Profile, Verdict, VerdictKind, record
from harness.report.article_errors import ArticleError, error_of
from harness.report.dossier import ScenarioReport
from harness.scenario.expectations import Entry
from harness.units import counted


class ClaimState(StrEnum):
    """What a run says of a claim, in plain words."""

    HOLDS = "hold here"
    FAILS = "fail"
    UNDECIDED = "are not decided"
    UNMEASURED = "were not measured"
    ARITHMETIC = "hold as arithmetic only"
    SPARK = "need a Spark"
    ELSEWHERE = "need another profile"
    REPORTED = "are shown, not judged"
    NOT_JUDGED = "are not judged: the experiment was changed"

    @property
    def of_one(self) -> str:
        """The same of a single claim: ``holds here``."""
        return _of_one(self.value)


# the clauses of an answer, in the order that a reader asks for them
_INTRODUCED = {
    ClaimState.FAILS: "Not so",
    ClaimState.HOLDS: "Shown",
    "published": "In the published data",
    ClaimState.ARITHMETIC: "By the article's own numbers",
    ClaimState.UNDECIDED: "Not decided, too few samples",
    ClaimState.UNMEASURED: "Not measured",
    ClaimState.REPORTED: "Only reported",
    ClaimState.SPARK: "Needs a Spark",
    ClaimState.ELSEWHERE: "Not asked here",
    ClaimState.NOT_JUDGED: "Not judged, as the experiment was changed",
}
_PUBLISHED = _INTRODUCED["published"]


@record
class ClaimSummary:
    """One claim of the ledger over all profiles that were run."""

    entry: Entry
    verdict: Verdict
    state: ClaimState
    profile: Profile


def claim_summaries(dossiers: Sequence[ScenarioReport]) -> list[ClaimSummary]:
    """Return each claim once, judged by the first of the dossiers that can judge it."""
    entries = {
        entry.id: entry for one in reversed(dossiers) for entry in one.ledger.expectations
    }  # each profile's runs are judged by the ledger that they were made with
    order = dict.fromkeys(entry.id for one in dossiers for entry in one.ledger.expectations)
    places = [({each.expectation: each for each in one.verdicts}, one) for one in dossiers]
    summaries = []
    for name in order:
        found = [(verdicts[name], one) for verdicts, one in places if name in verdicts]
        verdict, judge = next(
            (each for each in found if each[0].kind is not VerdictKind.OTHER_PROFILE), found[0]
        )
        entry = entries[name]
        state = _state(entry, verdict, changed=judge.plan.changed)
        summaries.append(
            ClaimSummary(entry=entry, verdict=verdict, state=state, profile=judge.profile)
        )
    return summaries


def _state(entry: Entry, verdict: Verdict, *, changed: bool) -> ClaimState:
    if verdict.kind is VerdictKind.REPORTED:
        return ClaimState.REPORTED
    wrong = (VerdictKind.OUTSIDE, VerdictKind.UNEXPECTED_MATCH)
    if verdict.kind in wrong or verdict.claim in wrong:
        return ClaimState.FAILS
    match verdict.kind:
        case VerdictKind.REPRODUCED | VerdictKind.ARTICLE_DIFFERS:
            return ClaimState.HOLDS
        case VerdictKind.ARITHMETIC:
            return ClaimState.ARITHMETIC
        case VerdictKind.INCONCLUSIVE:
            return ClaimState.UNDECIDED
        case VerdictKind.OTHER_PROFILE if changed:
            return ClaimState.NOT_JUDGED
        case VerdictKind.OTHER_PROFILE:
            on_spark = [*entry.binds.profile] == [Profile.SPARK] or entry.binds.device is not None
            return ClaimState.SPARK if on_spark else ClaimState.ELSEWHERE
        case _:
            return ClaimState.UNMEASURED


def counts_text(summaries: Sequence[ClaimSummary]) -> list[str]:
    """Return how many claims came to what, in words; the numbers add up to all of them."""
    counts = Counter(each.state for each in summaries)
    parts = [f"{counts[state]} {state}" for state in ClaimState if counts[state]]
    if counts[ClaimState.ELSEWHERE]:
        asked = {
            profile.value
            for each in summaries
            if each.state is ClaimState.ELSEWHERE
            for profile in each.entry.binds.profile
        }
        where = f"need another profile ({', '.join(sorted(asked))})"
        parts = [part.replace(ClaimState.ELSEWHERE, where) for part in parts]
    if not counts[ClaimState.FAILS] and counts[ClaimState.HOLDS]:
        parts.insert(1, f"0 {ClaimState.FAILS}")
    changed = sum(each.verdict.changed for each in summaries)
    late = [f"{changed} changed after the results"] if changed else []
    return [*map(_singular, parts), *late]


def _singular(part: str) -> str:
    """Return ``1 holds here`` for ``1 hold here``."""
    number, _, said = part.partition(" ")
    return f"{number} {_of_one(said)}" if number == "1" else part


def _of_one(said: str) -> str:
    verb, space, rest = said.partition(" ")
    one = {"are": "is", "were": "was"}.get(verb, f"{verb}s")
    return f"{one}{space}{rest}"


@record
class Clause:
    """A part of an answer: what is said, and how it stands.

    Attributes:
        introduced: such as ``Shown`` or ``Not measured``; empty where nothing need be.
        says: what, with the claim that it rests on; None where it rests on none.
    """

    introduced: str
    says: tuple[tuple[str, str | None], ...]

    def __str__(self) -> str:
        text = "; ".join(text for text, _ in self.says)
        return f"{self.introduced}: {text}." if self.introduced else f"{text}."


def answer_clauses(
    dossiers: Sequence[ScenarioReport], summaries: Sequence[ClaimSummary]
) -> tuple[list[Clause], Clause | None]:
    """Return the answer's clauses, whose claims hold, fail, or could not be asked; and its limit.

    Without a declared headline the answer counts claims.
    """
    first = dossiers[0]
    headline = first.scenario.headline
    if headline is None:
        return [_counted_answer(summaries)], None
    by_id = {each.entry.id: each for each in summaries}
    said: dict[str, list[tuple[str, str | None]]] = {each: [] for each in _INTRODUCED.values()}
    for part in headline.answer:
        if (found := by_id.get(part.claim)) is None:  # written after the runs were made
            continue
        published = found.state is ClaimState.HOLDS and found.profile is Profile.EVIDENCE
        introduced = _PUBLISHED if published else _INTRODUCED[found.state]
        said[introduced].append((part.says, part.claim))
    clauses = [Clause(introduced=each, says=tuple(says)) for each, says in said.items() if says]
    limit = headline.limits.get(first.profile)
    if not limit:
        return clauses, None
    return clauses, Clause(introduced="Cannot be said here", says=((limit.rstrip("."), None),))


def _counted_answer(summaries: Sequence[ClaimSummary]) -> Clause:
    """Return the answer of a scenario that declares none."""
    judged = [each for each in summaries if each.state in (ClaimState.HOLDS, ClaimState.FAILS)]
    if not judged:
        return Clause(introduced="None", says=(("no claim could be judged", None),))
    held = sum(each.state is ClaimState.HOLDS for each in judged)
    failing = [each.entry.id for each in judged if each.state is ClaimState.FAILS]
    text = f"{held} of {counted(len(judged), 'claim')} that could be judged hold"
    not_so = [(f"not: {', '.join(failing)}", None)] if failing else []
    return Clause(introduced="", says=((text, None), *not_so))


def misprints(summaries: Sequence[ClaimSummary]) -> Iterator[ArticleError]:
    """Yield the claims that the article's own data contradicts."""
    for each in summaries:
        is_wrong = each.verdict.claim is VerdictKind.ARTICLE_DIFFERS
        if is_wrong and (error := error_of(each.entry)):
            yield error
