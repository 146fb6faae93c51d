"""What a run ends with: the answer first, in one screen of a terminal.

Everything on it is counted or measured: the answer sorts the clauses that the scenario declares by
the verdicts of their claims, and says what this profile is too small to say.
"""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from harness.check.pins import PinsReport
from harness.errors import ExitCode, worst
from harness.records import Profile, Status, Verdict, VerdictKind, record
from harness.report import clean
from harness.report.article_errors import true_figure
from harness.report.cells import cells_table, spoken
from harness.report.dossier import ScenarioReport
from harness.report.figures import printed
from harness.report.headline import HeadlineRows, headline_rows
from harness.report.tables import visible
from harness.results.store import RunStore
from harness.scenario.expectations import Entry
from harness.units import counted, duration

MAX_LINES = 25
_MARGIN = 8  # the labels stand in a column of their own
_MIN_WIDTH = 60
_MAX_WIDTH = 110  # longer lines of prose are hard to read
_LEAST_ROWS = 3
_GAP = 2
_COMMAND = 36  # columns of a command, so that what they give stands in line
_S_PER_HOUR = 3600.0


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

_MEANS = {
    ExitCode.OK: "OK: every figure that was compared holds",
    ExitCode.OUTSIDE: "DIFFERS: a figure is outside its tolerance",
    ExitCode.INFRASTRUCTURE: "FAILED: a run or this machine broke; its claims are untested",
    ExitCode.INCONCLUSIVE: "OPEN: a figure is missing, or the sample is too small to tell",
}


@record
class NextStep:
    """A command to type next, and what it gives."""

    command: tuple[str, ...]
    gives: str


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
        changed = judge.plan is not None and judge.plan.changed
        state = _state(entry, verdict, changed=changed)
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
    verb, space, rest = said.partition(" ")
    if number != "1":
        return part
    one = {"are": "is", "were": "was"}.get(verb, f"{verb}s")
    return f"{number} {one}{space}{rest}"


@record
class _Room:
    """How much each part may take, from generous to tight.

    Attributes:
        question: lines of the question.
        answer: lines of each clause of the answer; no more clauses than that.
        errors: lines of article errors.
        steps: commands to type next.
    """

    question: int
    answer: tuple[int, ...]
    errors: int
    steps: int


def _loosened(room: _Room) -> Iterator[_Room]:
    """Yield rooms a little looser than this one, what readers miss most first."""
    answer = room.answer
    for lines in (2, 3):
        if room.question < lines:
            yield replace(room, question=lines)
        for index, given in enumerate(answer):
            if given < lines:
                yield replace(room, answer=(*answer[:index], lines, *answer[index + 1 :]))
        if room.errors < lines:
            yield replace(room, errors=lines)
        if room.steps < lines:
            yield replace(room, steps=lines)
        if len(answer) < _MOST_CLAUSES:
            yield replace(room, answer=(*answer, 1))


_TIGHT = _Room(question=1, answer=(1, 1, 1, 1), errors=2, steps=1)
_MOST_CLAUSES = 9
_ALL = 10_000
_WHOLE = _Room(question=_ALL, answer=(_ALL,) * 2 * _MOST_CLAUSES, errors=_ALL, steps=_ALL)
_WANTED_ROWS = 6


def last_screen(  # noqa: PLR0913 - each is a part of the screen
    dossiers: Sequence[ScenarioReport],
    store: RunStore,
    steps: Sequence[NextStep],
    *,
    pins: Sequence[PinsReport] = (),
    width: int,
    took_s: float | None = None,
    place: str = "",
    whole: bool = False,
) -> str:
    """Return the last screen of a run: at most `MAX_LINES` lines from 80 columns on.

    Args:
        dossiers: of one scenario: the profile asked for first, then any other that was run.
        store: where the runs are, to name the log of one that failed.
        steps: what may be typed next, the most useful first.
        pins: what pinned values say of the runs.
        width: of the terminal, in columns.
        took_s: how long this command took, seconds.
        place: the folder of the results, as it should be shown.
        whole: leave nothing out; then there may be more lines.
    """
    width = max(_MIN_WIDTH, width)
    prose = min(width, _MAX_WIDTH)
    first, code = (
        dossiers[0],
        worst([*(each.exit_code for each in dossiers), *(each.exit_code for each in pins)]),
    )
    summaries = claim_summaries(dossiers)
    table = headline_rows(first) or _undeclared(first)
    end = _labelled(f"exit {code:d}", _meaning(first, code), prose)
    end += [f"{' ' * _MARGIN}stored in {place}"] if place else []
    counts = _labelled("CLAIMS", f"{len(summaries)}: {', '.join(counts_text(summaries))}", prose)
    for each in pins:
        if each.differences:
            counts += _labelled("PINS", str(each).removeprefix("pins: "), prose, 2)
    failures = [*_failures(dossiers, store, prose)]

    def around(room: _Room) -> tuple[list[str], list[str]]:
        """Return what stands above the table and below it."""
        above = [
            *_head(first, prose, took_s, room),
            *_answer(dossiers, summaries, prose, room),
            *failures,
            "",
        ]
        below = ["", *counts, *_errors(summaries, width, room.errors)]
        return above, [*below, *_next(steps[: room.steps], width), *end]

    room, most = (_WHOLE, _ALL) if whole else (_TIGHT, MAX_LINES)
    height = len(_table(table, width, _ALL))
    wanted = min(height, height - len(table.rows) + _WANTED_ROWS)
    while looser := next(
        (each for each in _loosened(room) if sum(map(len, around(each))) + wanted <= most),
        None,
    ):
        room = looser
    above, below = around(room)
    left = most - len(above) - len(below)
    lines = [*above, *_table(table, width, max(left, _LEAST_ROWS)), *below]
    return "\n".join(clean.printable(line).rstrip() for line in lines) + "\n"


def answer_document(
    dossiers: Sequence[ScenarioReport], steps: Sequence[NextStep]
) -> dict[str, object]:
    """Return the last screen for a program."""
    first, summaries = dossiers[0], claim_summaries(dossiers)
    by_id = {each.entry.id: each for each in summaries}
    headline = first.scenario.headline
    table = headline_rows(first)
    return {
        "question": first.scenario.question,
        "answer": [
            {
                "claim": part.claim,
                "says": part.says,
                "state": by_id[part.claim].state.value,
                "verdict": by_id[part.claim].verdict.kind.value,
                "profile": by_id[part.claim].profile.value,
            }
            for part in (headline.answer if headline else ())
            if part.claim in by_id
        ],
        "limits": headline.limits.get(first.profile) if headline else None,
        "headline": {
            "title": table.title,
            "headers": [*table.headers],
            "rows": [[*row] for row in table.rows],
            "notes": [*table.notes],
        }
        if table
        else None,
        "claims": dict(Counter(each.state.value for each in summaries)),
        "article_errors": [
            {"claim": each.entry.id, "printed": said, "true": true, "unit": each.entry.unit}
            for each, said, true in _misprints(summaries)
        ],
        "next": [{"command": shlex.join(step.command), "gives": step.gives} for step in steps],
    }


# --- parts ----------------------------------------------------------------------------------------


def _labelled(label: str, text: str, width: int, most: int | None = None) -> list[str]:
    """Return a paragraph whose label stands in the margin, of at most so many lines."""
    start = f"{label:{_MARGIN - 1}} "
    return textwrap.wrap(
        clean.plain(text),
        width,
        initial_indent=start,
        subsequent_indent=" " * _MARGIN,
        max_lines=most,
        placeholder=" ...",
        break_on_hyphens=False,
    ) or [start]


def _head(first: ScenarioReport, width: int, took_s: float | None, room: _Room) -> list[str]:
    short = first.scenario.scenario.partition("-")[0]
    ended = Counter(run.outcome.status for run in first.runs)
    total = len(first.plan.runs) if first.plan else len(first.runs)
    world = first.scenario.profiles[first.profile].summary.rstrip(".")
    done = f"{first.profile}, {ended[Status.FINISHED]} of {counted(total, 'run')}"
    took = f", {duration(took_s)}" if took_s is not None else ""
    return [
        *_labelled(short, first.scenario.question, width, room.question),
        *_labelled("", f"[{done}{took}: {world}]", width, max(1, room.question - 1)),
    ]


def _answer(
    dossiers: Sequence[ScenarioReport],
    summaries: Sequence[ClaimSummary],
    width: int,
    room: _Room,
) -> list[str]:
    """Return the answer: the clauses whose claims hold, fail, or could not be asked."""
    first = dossiers[0]
    headline = first.scenario.headline
    if headline is None:
        return _labelled("ANSWER", _counted_answer(summaries), width, room.answer[0])
    by_id = {each.entry.id: each for each in summaries}
    said: dict[str, list[str]] = {introduced: [] for introduced in _INTRODUCED.values()}
    for part in headline.answer:
        if (found := by_id.get(part.claim)) is None:  # written after the runs were made
            continue
        published = found.state is ClaimState.HOLDS and found.profile is Profile.EVIDENCE
        said[_PUBLISHED if published else _INTRODUCED[found.state]].append(part.says)
    clauses = [f"{introduced}: {'; '.join(says)}." for introduced, says in said.items() if says]
    if limit := headline.limits.get(first.profile):
        kept = clauses[: len(room.answer) - 1]
        clauses = [*kept, f"Cannot be said here: {limit.rstrip('.')}."]
    return [
        line
        for number, (clause, most) in enumerate(zip(clauses, room.answer, strict=False))
        for line in _labelled("" if number else "ANSWER", clause, width, most)
    ]


def _counted_answer(summaries: Sequence[ClaimSummary]) -> str:
    """Return the answer of a scenario that declares none."""
    judged = [each for each in summaries if each.state in (ClaimState.HOLDS, ClaimState.FAILS)]
    if not judged:
        return "None: no claim could be judged."
    held = sum(each.state is ClaimState.HOLDS for each in judged)
    failing = [each.entry.id for each in judged if each.state is ClaimState.FAILS]
    text = f"{held} of {counted(len(judged), 'claim')} that could be judged hold"
    return f"{text}; not: {', '.join(failing)}." if failing else f"{text}."


def _failures(dossiers: Sequence[ScenarioReport], store: RunStore, width: int) -> Iterator[str]:
    """Yield what failed first, why, and where its log is."""
    broken = [
        run
        for dossier in dossiers
        for run in dossier.runs
        if run.outcome.status is not Status.FINISHED
    ]
    if not broken:
        return
    run = broken[0]
    name = run.spec.label if run.spec.axes or run.spec.replicate else f"seed {run.spec.seed}"
    more = f" (and {counted(len(broken) - 1, 'other run')})" if len(broken) > 1 else ""
    cause = run.outcome.cause or "no cause recorded"
    yield from _labelled("FAILED", f"{name}: {run.outcome.status}: {cause}{more}", width, 2)
    if log := _log_of(store, run.spec.scenario, run.spec.profile, run.spec.run_id):
        yield f"{' ' * _MARGIN}log: {log}"


def _log_of(store: RunStore, scenario: str, profile: Profile, run_id: str) -> Path | None:
    """Return the error log of the last failed attempt at a run."""
    places = (store.root / scenario / profile).glob(f"{run_id}.failed-*/stderr.log")
    return max(places, key=lambda path: path.stat().st_mtime, default=None)


def _misprints(summaries: Sequence[ClaimSummary]) -> Iterator[tuple[ClaimSummary, str, str]]:
    """Yield the claims that the article's own data contradicts: as printed, and as is true."""
    for each in summaries:
        claimed, truth = each.entry.claimed, each.entry.derived or each.entry.recorded
        if each.verdict.claim is VerdictKind.ARTICLE_DIFFERS and claimed and truth:
            yield each, printed(claimed), true_figure(claimed, truth)


def _errors(summaries: Sequence[ClaimSummary], width: int, most: int) -> list[str]:
    """Return the article's errors in at most so many lines, as many in each as fit."""
    entries = []
    for each, said, true in _misprints(summaries):
        unit = spoken(each.entry.unit)
        unit = f" {unit}" if unit and unit not in ("text", "x") else ""
        entries.append(clean.plain(f"{each.entry.id} {said} -> {true}{unit}"))
    if not entries:
        return []
    start = f"{'ERRORS':{_MARGIN - 1}} {len(entries)} in the article, printed -> true:"
    lines, shown = [start], 0
    for entry in entries:
        joined = f"{lines[-1]} {entry};"
        if len(joined) > width:
            if len(lines) == most:
                break
            joined = f"{' ' * _MARGIN}{entry};"
            lines.append("")
        lines[-1] = joined
        shown += 1
    if shown < len(entries):
        lines[-1] += " ..."
    lines[-1] = lines[-1].rstrip(";")
    return [each if len(each) <= width else f"{each[: width - 3]}..." for each in lines]


def _next(steps: Sequence[NextStep], width: int) -> Iterator[str]:
    """Yield the commands; one that is too long goes on in the next line, as a shell reads it."""
    for number, step in enumerate(steps):
        label = "NEXT" if not number else ""
        command = shlex.join(step.command)
        start = f"{label:{_MARGIN - 1}} "
        line = f"{start}{command:{_COMMAND}}  # {step.gives}"
        if len(line) <= width:
            yield line
            continue
        yield f"{start}# {step.gives}"[:width]
        yield from _continued(step.command, width)


def _continued(command: Sequence[str], width: int) -> Iterator[str]:
    indent, line = " " * _MARGIN, ""
    for word in map(shlex.quote, command):
        longer = f"{line} {word}" if line else word
        if line and len(indent) + len(longer) + 2 > width:
            yield f"{indent}{line} \\"
            line = f"  {word}"
        else:
            line = longer
    yield f"{indent}{line}"


def meaning(code: ExitCode) -> str:
    """Return an exit code in words."""
    return _MEANS.get(code, code.name)


def _meaning(first: ScenarioReport, code: ExitCode) -> str:
    if first.plan is not None and first.plan.changed and code is not ExitCode.INFRASTRUCTURE:
        return "not judged: the command line changed the experiment"
    return meaning(code)


# --- the table ------------------------------------------------------------------------------------


def _table(table: HeadlineRows, width: int, room: int) -> list[str]:
    """Return the headline table in so many lines; rows and columns that do not fit are counted."""
    title = textwrap.wrap(clean.plain(table.title), width - _GAP, max_lines=1, placeholder=" ...")
    title = [f"  {line}" for line in title]
    notes = _notes(table.notes, width)
    if not table.rows:
        return [*title, *(notes or ["  no figures: nothing was measured"])]
    kept, left_out = _narrowed(table, width - _GAP)
    headers = _headers(kept)
    room -= len(title) + len(headers)
    rows = [*kept.rows]
    notes = _notes(_with_left_out(table.notes, left_out), width)
    if len(rows) + len(notes) > room:
        shown = max(1, room - len(notes))
        while shown > 1:
            more = [f"{counted(len(rows) - shown, 'row')}", *left_out]
            notes = _notes(_with_left_out(table.notes, more), width)
            if shown + len(notes) <= room:
                break
            shown -= 1
        rows = rows[:shown]
    return [*title, *_grid(headers, rows, kept), *notes]


def _with_left_out(notes: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    return (*notes, f"not shown: {', '.join(left_out)} (--all)") if left_out else tuple(notes)


def _notes(notes: Sequence[str], width: int) -> list[str]:
    text = "; ".join(notes)
    return textwrap.wrap(
        clean.plain(text),
        width,
        initial_indent="  ",
        subsequent_indent="  ",
        max_lines=2,
        placeholder=" ...",
    )


def _narrowed(table: HeadlineRows, width: int) -> tuple[HeadlineRows, list[str]]:
    """Return the table with as many columns as fit, and the headers of those left out."""
    for columns in range(len(table.headers), table.num_names, -1):
        kept = replace(
            table,
            headers=table.headers[:columns],
            rows=tuple(row[:columns] for row in table.rows),
        )
        if sum(_widths(kept)) + _GAP * (columns - 1) <= width:
            return kept, [*table.headers[columns:]]
    columns = table.num_names + 1
    most = max(8, (width - _GAP * table.num_names) // columns)
    kept = replace(
        table,
        headers=tuple(_cut(each, most) for each in table.headers[:columns]),
        rows=tuple(tuple(_cut(cell, most) for cell in row[:columns]) for row in table.rows),
    )
    return kept, [*table.headers[columns:]]


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 3]}..."


def _widths(table: HeadlineRows) -> list[int]:
    """Return how wide each column is; a header may take two lines."""
    return [
        max([*(len(row[index]) for row in table.rows), *map(len, _folded(header))])
        for index, header in enumerate(table.headers)
    ]


def _folded(header: str) -> list[str]:
    """Return a header in the two lines that make it narrowest."""
    words = header.split(" ")
    cuts = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(len(words))]
    first, second = min(cuts, key=lambda cut: max(map(len, cut)), default=("", ""))
    return [first, second]


def _headers(table: HeadlineRows) -> list[list[str]]:
    """Return the lines of the header; none where no column has one."""
    folded = [_folded(each) for each in table.headers]
    whole = [
        [header] if len(header) <= width else lines
        for header, lines, width in zip(table.headers, folded, _widths(table), strict=True)
    ]
    if not any(table.headers):
        return []
    tall = max(map(len, whole))
    padded = [[""] * (tall - len(lines)) + lines for lines in whole]
    return [list(line) for line in zip(*padded, strict=True)]


def _grid(
    headers: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], table: HeadlineRows
) -> Iterator[str]:
    widths = _widths(table)
    for line in [*headers, *rows]:
        cells = [
            clean.printable(cell).ljust(size)
            if index < table.num_names
            else clean.printable(cell).rjust(size)
            for index, (cell, size) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  " + (" " * _GAP).join(cells).rstrip()


def _undeclared(first: ScenarioReport) -> HeadlineRows:
    """Return the table of cells, for a scenario that declares no headline."""
    table = visible(cells_table(first))
    return HeadlineRows(
        title=table.title,
        headers=tuple(each.label for each in table.columns),
        num_names=sum(each.names_row for each in table.columns),
        rows=tuple(tuple(cell.text for cell in row) for row in table.rows),
    )


def next_steps(
    dossiers: Sequence[ScenarioReport], given: Mapping[str, Sequence[str]]
) -> list[NextStep]:
    """Return what may be typed next.

    Args:
        dossiers: as `last_screen`.
        given: the options that were given: those of the ``experiment``, the ``place`` of project
            and store, and the ``runtime``, as they are typed.
    """
    first, summaries = dossiers[0], claim_summaries(dossiers)
    short = first.scenario.scenario.partition("-")[0]
    place, experiment = given["place"], given["experiment"]
    here = ("--profile", first.profile.value)
    steps = []
    ended = [run.outcome.status for run in first.runs]
    owed = (len(first.plan.runs) if first.plan else 0) - ended.count(Status.FINISHED)
    if owed > 0:
        command = ("harness", "run", short, *here, *experiment, *given["runtime"], *place)
        steps.append(NextStep(command=command, gives=f"{counted(owed, 'run')} still to do"))
    command = ("harness", "check", short, *here, *experiment, *place)
    steps.append(NextStep(command=command, gives="every claim"))
    command = ("harness", "report", short, *here, *experiment, "--out", f"{short}-report", *place)
    steps.append(NextStep(command=command, gives="page, plots, tables"))
    states = Counter(each.state for each in summaries)
    ran = {each.profile for each in dossiers}
    for profile, state in (
        (Profile.EVIDENCE, ClaimState.ELSEWHERE),
        (Profile.SPARK, ClaimState.SPARK),
    ):
        if profile in first.scenario.profiles and profile not in ran and states[state]:
            estimate = first.scenario.profiles[profile].estimate
            cost = ""
            if estimate is not None:
                memory = estimate.peak_memory_gib
                cost = f", about {duration(estimate.hours * _S_PER_HOUR)}"
                cost += f", {memory:.3g} GiB" if memory else ""
            command = ("harness", "run", short, "--profile", profile.value, *place)
            steps.append(
                NextStep(command=command, gives=f"{counted(states[state], 'claim')}{cost}")
            )
    return steps[:3]
