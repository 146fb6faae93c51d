"""The claim ledger as a table: claimed, recorded, derived, expected, measured, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from harness.check.samples import samples_by_entry
from harness.records import Profile, Scalar, Verdict, VerdictKind, record
from harness.report.cells import spoken
from harness.report.dossier import ScenarioReport
from harness.report.figures import printed, setting, shortened
from harness.report.tables import Align, Column, Row, RowGroup, Table, TableCell, words
from harness.scenario.expectations import Expectation, Expectations, Printed
from harness.units import counted

# a claim that the article's own data contradicts, and one wrongly declared to be
FINDINGS = frozenset(
    {VerdictKind.ARTICLE_DIFFERS, VerdictKind.OUTSIDE, VerdictKind.UNEXPECTED_MATCH}
)

_COLUMNS = (
    Column(key="id", header="id", names_row=True, whole=True),
    Column(key="metric", header="metric", prose=True),
    Column(key="unit", header="unit"),
    Column(key="claimed", header="claimed", align=Align.RIGHT),
    Column(key="recorded", header="recorded", align=Align.RIGHT),
    Column(key="derived", header="derived", align=Align.RIGHT),
    Column(key="expected", header="expected", align=Align.RIGHT),
    Column(key="measured", header="measured", align=Align.RIGHT),
    Column(key="verdict", header="verdict", whole=True),
    Column(key="claim", header="printed claim", whole=True),
    Column(key="detail", header="detail", prose=True),
    Column(key="source", header="source and note", prose=True),
    Column(key="profile", header="profile", quiet=True),
    Column(key="device", header="device", quiet=True),
    Column(key="runs", header="runs", quiet=True),
)

_BRIEF = (
    _COLUMNS[0],
    Column(key="claimed", header="claimed", align=Align.RIGHT),
    Column(key="ledger", header="derived or recorded", align=Align.RIGHT),
    Column(key="expected", header="expected", align=Align.RIGHT),
    Column(key="measured", header="measured", align=Align.RIGHT),
    Column(key="verdict", header="verdict", whole=True),
)


@record
class LedgerSummary:
    """How many entries came to what; the counts add up to `total`."""

    total: int
    kinds: Mapping[VerdictKind, int]
    findings: int
    changed: int = 0

    def __str__(self) -> str:
        counts = ", ".join(
            f"{count} {kind}" + " (shown, not counted)" * (kind is VerdictKind.REPORTED)
            for kind, count in self.kinds.items()
        )
        entries = f"{self.total} {'entry' if self.total == 1 else 'entries'}"
        text = f"{entries}: {counts}" if counts else entries
        if self.findings:
            differ = "claim differs" if self.findings == 1 else "claims differ"
            text = f"{text}; {self.findings} printed {differ}"
        return f"{text}; {self.changed} changed after results" if self.changed else text


def summary(verdicts: Iterable[Verdict]) -> LedgerSummary:
    """Count the verdicts by kind, in the enum's order, and the findings about printed claims."""
    every = tuple(verdicts)
    counts = Counter(verdict.kind for verdict in every)
    return LedgerSummary(
        total=len(every),
        kinds={kind: counts[kind] for kind in VerdictKind if counts[kind]},
        findings=sum(verdict.claim in FINDINGS for verdict in every),
        changed=sum(verdict.changed for verdict in every),
    )


def judged(dossier: ScenarioReport) -> str:
    """Return the counts of verdicts and missing runs in one line, or why nothing is judged."""
    if dossier.plan.changed:
        return "not judged: the command line changed the experiment"
    parts = (str(summary(dossier.verdicts)), dossier.missing, falsifiable(dossier))
    return "; ".join(filter(None, parts))


def falsifiable(dossier: ScenarioReport) -> str:
    """Return ``13 claims compared, each can fail``, or which cannot; empty if none is compared."""
    if not dossier.num_compared:
        return ""
    claims = f"{counted(dossier.num_compared, 'claim')} compared"
    if not dossier.blind:
        return f"{claims}, {'each' if dossier.num_compared > 1 else 'it'} can fail"
    return f"{claims}, {len(dossier.blind)} cannot fail: {', '.join(dossier.blind)}"


def ledger_table(dossier: ScenarioReport) -> Table:
    """Return one row for each entry of the ledger, in five groups.

    Article errors, where the printed number differs from the article's own data; compared entries;
    those of other profiles or devices; arithmetic on printed numbers; reported ones. Every entry is
    in exactly one group, an article error always in the first.

    Raises:
        ValueError: an entry without a verdict, or a verdict without an entry.
    """
    rows: dict[_Part, list[Row]] = {part: [] for part in _Part}
    here = (words(dossier.profile), words(" | ".join(dossier.devices)))
    samples = samples_by_entry(dossier.ledger, dossier.runs, dossier.profile, dossier.metrics)
    for entry, verdict in _paired(dossier.ledger, dossier.verdicts):
        read = dict.fromkeys(sample.run_id for sample in samples[entry.id])
        rows[_part(verdict)].append((*_row(entry, verdict), *here, words(" ".join(read))))
    return Table(
        title=f"{dossier.scenario.title}: claims, {dossier.profile} profile",
        caption=(f"{judged(dossier)}.", *dossier.caption),
        columns=_named(_COLUMNS, dossier),
        groups=tuple(RowGroup(title=part, rows=tuple(some)) for part, some in rows.items() if some),
    )


def brief_table(dossier: ScenarioReport) -> Table:
    """Return the ledger for a terminal: what was compared and found, in columns that fit.

    The caption counts the entries that are checked only in other profiles, and arithmetic on
    printed numbers. Article errors are always shown. `ledger_table` has everything. The table of a
    changed experiment is empty.
    """
    if dossier.plan.changed:
        return _brief(dossier, (), {})
    groups: dict[_Part, list[Row]] = {_Part.COMPARED: [], _Part.FINDINGS: [], _Part.REPORTED: []}
    elsewhere: Counter[str] = Counter()
    num_arithmetic = 0
    for entry, verdict in _paired(dossier.ledger, dossier.verdicts):
        if (part := _part(verdict)) in groups:
            claim = f"claim: {verdict.claim}" if verdict.claim in FINDINGS else ""
            changed = "changed after results" if verdict.changed else ""
            groups[part].append(
                (
                    words(entry.id),
                    _printed_box(entry.claimed),
                    _printed_box(entry.derived or entry.recorded),
                    _sentence_box(verdict.expected),
                    _sentence_box(verdict.measured),
                    words(_sentences(verdict.kind, claim, changed)),
                )
            )
        elif part is _Part.ARITHMETIC:
            num_arithmetic += 1
        else:
            # the profiles, other than this one, that check an entry; else the device
            profiles = [each for each in entry.binds.profile if each is not dossier.profile]
            elsewhere[(" or ".join(profiles) or f"on {entry.binds.device}")] += 1
    caption = []
    if elsewhere:
        counted = ", ".join(f"{count} {place}" for place, count in elsewhere.most_common())
        total = elsewhere.total()
        are = "claim is" if total == 1 else "claims are"
        caption.append(
            f"{total} {are} checked only in other profiles ({counted}); harness check shows them."
        )
    if num_arithmetic:
        caption.append(f"Arithmetic on the article's own numbers, not shown: {num_arithmetic}.")
    return _brief(dossier, tuple(caption), groups)


def _brief(
    dossier: ScenarioReport, caption: tuple[str, ...], groups: Mapping[_Part, Sequence[Row]]
) -> Table:
    return Table(
        title=f"{dossier.scenario.title}: claims, {dossier.profile} profile",
        caption=caption,
        columns=_named(_BRIEF, dossier),
        groups=tuple(
            RowGroup(title=part, rows=tuple(some)) for part, some in groups.items() if some
        ),
    )


def _named(columns: Sequence[Column], dossier: ScenarioReport) -> tuple[Column, ...]:
    """Return the columns under the profile's names: published data is recomputed, not measured."""
    if dossier.profile is not Profile.EVIDENCE:
        return tuple(columns)
    return tuple(
        replace(each, header="recomputed") if each.key == "measured" else each for each in columns
    )


def place_text(metric: str, where: Mapping[str, Scalar]) -> str:
    """Return a metric and where it was measured, in one line."""
    return f"{metric} ({keys_text(where)})" if where else metric


def keys_text(where: Mapping[str, Any]) -> str:
    """Return params or row keys in one line."""
    return ", ".join(f"{key}={setting(value)}" for key, value in where.items())


class _Part(StrEnum):
    """The groups in their order; the value is the heading."""

    FINDINGS = "Article errors: printed number differs from the article's own data"
    COMPARED = "Compared"
    ELSEWHERE = "Checked only in other profiles or on other devices"
    ARITHMETIC = "Arithmetic on the article's own numbers: needs no run"
    REPORTED = "Reported: shown, not counted"


def _part(verdict: Verdict) -> _Part:
    if verdict.claim in FINDINGS:
        return _Part.FINDINGS
    if verdict.kind is VerdictKind.REPORTED:
        return _Part.REPORTED
    if verdict.kind is VerdictKind.ARITHMETIC:
        return _Part.ARITHMETIC
    elsewhere = verdict.kind is VerdictKind.OTHER_PROFILE
    return _Part.ELSEWHERE if elsewhere else _Part.COMPARED


def _paired(
    ledger: Expectations, verdicts: Sequence[Verdict]
) -> Iterator[tuple[Expectation, Verdict]]:
    by_entry = {verdict.expectation: verdict for verdict in verdicts}
    entries = {entry.id for entry in ledger.expectations}
    if entries != set(by_entry) or len(by_entry) != len(verdicts):
        message = f"the ledger of {ledger.scenario} and its verdicts are not one to one"
        raise ValueError(message)
    for entry in ledger.expectations:
        yield entry, by_entry[entry.id]


def _row(entry: Expectation, verdict: Verdict) -> Row:
    return (
        words(entry.id),
        words(place_text(entry.metric, entry.where)),
        words(spoken(entry.unit)),
        _printed_box(entry.claimed),
        _printed_box(entry.recorded),
        _printed_box(entry.derived),
        _sentence_box(verdict.expected),
        _sentence_box(verdict.measured),
        _badge(verdict.kind),
        _badge(verdict.claim),
        words(_sentences(verdict.claim_detail, verdict.detail, _sight(verdict))),
        words(_sentences(entry.source, entry.note)),
    )


def _sight(verdict: Verdict) -> str:
    """Say what the comparison would have seen; a test that saw too little has said so already."""
    is_said = not verdict.sees or verdict.sees in verdict.detail
    return "" if is_said else f"would have seen {verdict.sees}"


def _printed_box(given: Printed | None) -> TableCell:
    if given is None:
        return TableCell(text="")
    return TableCell(text=printed(given), raw=given.value)


def _sentence_box(text: str) -> TableCell:
    return TableCell(text=shortened(text), raw=text)


def _badge(kind: VerdictKind | None) -> TableCell:
    return TableCell(text="") if kind is None else TableCell(text=kind, raw=kind, verdict=kind)


def _sentences(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)
