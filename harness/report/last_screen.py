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
from functools import lru_cache
from pathlib import Path

from harness.check.pins import PinsReport
from harness.errors import ExitCode, worst
from harness.records import Profile, Status, VerdictKind, record
from harness.report import clean
from harness.report.answer import (
    ClaimState,
    ClaimSummary,
    Clause,
    answer_clauses,
    claim_summaries,
    counts_text,
    misprints,
)
from harness.report.cells import cells_table
from harness.report.dossier import ScenarioReport
from harness.report.headline import HeadlineRows, headline_rows
from harness.report.tables import visible
from harness.results.store import RunStore
from harness.units import counted, duration

MAX_LINES = 25
_MARGIN = 8  # the labels stand in a column of their own
_MIN_WIDTH = 60
_MAX_WIDTH = 110  # longer lines of prose are hard to read
_LEAST_ROWS = 3
_GAP = 2
_COMMAND = 36  # columns of a command, so that what they give stands in line
_S_PER_HOUR = 3600.0


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
    end = [*_labelled(f"exit {code:d}", _meaning(first, code), prose)]
    end += [f"{' ' * _MARGIN}stored in {place}"] if place else []
    said = f"{len(summaries)}: {', '.join(counts_text(summaries))}"
    counts = [*_labelled("CLAIMS", said, prose)]
    for each in pins:
        if each.differences:
            counts += _labelled("PINS", str(each).removeprefix("pins: "), prose, 2)
    failures = [*_failures(dossiers, store, prose)]
    clauses, limit = answer_clauses(dossiers, summaries)
    errors = [*_error_texts(summaries)]

    def around(room: _Room) -> tuple[list[str], list[str]]:
        """Return what stands above the table and below it."""
        above = [
            *_head(first, prose, took_s, room),
            *_answer(clauses, limit, prose, room),
            *failures,
            "",
        ]
        below = ["", *counts, *_errors(errors, prose, room.errors)]
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


@record
class AnswerPart:
    """A clause of the answer, and the claim that it rests on."""

    claim: str
    says: str
    state: str
    verdict: VerdictKind
    profile: Profile


@record
class HeadlineDocument:
    """The table that carries the answer, as it is printed."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


@record
class MisprintDocument:
    """A figure that the article prints and its own data contradicts."""

    claim: str
    printed: str
    true: str
    unit: str


@record
class NextDocument:
    """A command to type next."""

    command: str
    gives: str


@record
class AnswerDocument:
    """The last screen, for a program.

    Attributes:
        limits: what this profile cannot say.
        claims: state -> how many.
    """

    question: str
    answer: tuple[AnswerPart, ...]
    limits: str | None
    headline: HeadlineDocument | None
    claims: Mapping[str, int]
    article_errors: tuple[MisprintDocument, ...]
    next: tuple[NextDocument, ...]


def answer_document(
    dossiers: Sequence[ScenarioReport], steps: Sequence[NextStep]
) -> AnswerDocument:
    """Return the last screen for a program."""
    first, summaries = dossiers[0], claim_summaries(dossiers)
    by_id = {each.entry.id: each for each in summaries}
    headline = first.scenario.headline
    table = headline_rows(first)
    return AnswerDocument(
        question=first.scenario.question,
        answer=tuple(
            AnswerPart(
                claim=part.claim,
                says=part.says,
                state=by_id[part.claim].state.value,
                verdict=by_id[part.claim].verdict.kind,
                profile=by_id[part.claim].profile,
            )
            for part in (headline.answer if headline else ())
            if part.claim in by_id
        ),
        limits=headline.limits.get(first.profile) if headline else None,
        headline=HeadlineDocument(
            title=table.title,
            headers=tuple(table.headers),
            rows=tuple(tuple(row) for row in table.rows),
            notes=tuple(table.notes),
        )
        if table
        else None,
        claims=dict(Counter(each.state.value for each in summaries)),
        article_errors=tuple(
            MisprintDocument(
                claim=each.entry.id, printed=each.printed, true=each.true, unit=each.entry.unit
            )
            for each in misprints(summaries)
        ),
        next=tuple(
            NextDocument(command=shlex.join(step.command), gives=step.gives) for step in steps
        ),
    )


# --- parts ----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)  # the search for room asks for the same again and again
def _labelled(label: str, text: str, width: int, most: int | None = None) -> Sequence[str]:
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
    total = len(first.plan.runs)
    world = first.scenario.profiles[first.profile].summary.rstrip(".")
    done = f"{first.profile}, {ended[Status.FINISHED]} of {counted(total, 'run')}"
    took = f", {duration(took_s)}" if took_s is not None else ""
    return [
        *_labelled(short, first.scenario.question, width, room.question),
        *_labelled("", f"[{done}{took}: {world}]", width, max(1, room.question - 1)),
    ]


def _answer(clauses: Sequence[Clause], limit: Clause | None, width: int, room: _Room) -> list[str]:
    """Return the answer in as many lines as there is room for; its limit is never left out."""
    if limit is not None:
        clauses = [*clauses[: len(room.answer) - 1], limit]
    return [
        line
        for number, (clause, most) in enumerate(zip(clauses, room.answer, strict=False))
        for line in _labelled("" if number else "ANSWER", str(clause), width, most)
    ]


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


def _error_texts(summaries: Sequence[ClaimSummary]) -> Iterator[str]:
    for each in misprints(summaries):
        unit = f" {each.unit}" if each.unit else ""
        yield clean.plain(f"{each.entry.id} {each.printed} -> {each.true}{unit}")


def _errors(entries: Sequence[str], width: int, most: int) -> list[str]:
    """Return the article's errors in at most so many lines, as many in each as fit."""
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
    if first.plan.changed and code is not ExitCode.INFRASTRUCTURE:
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
    owed = len(first.plan.runs) - ended.count(Status.FINISHED)
    if owed > 0:
        command = ("harness", "run", short, *here, *experiment, *given["runtime"], *place)
        steps.append(NextStep(command=command, gives=f"{counted(owed, 'run')} still to do"))
    command = ("harness", "check", short, *here, *experiment, *place)
    steps.append(NextStep(command=command, gives="every claim"))
    command = ("harness", "open", short, *here, *experiment, *place)
    steps.append(NextStep(command=command, gives="page, plots, where each figure is from"))
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
