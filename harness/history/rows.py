"""The history of a scenario at a profile: a text file that only grows, and that git merges.

A line is a JSON object of one of four kinds: a night (what the replicates of one cell measured),
a finding (what `harness regress` found out), an accepted change, a renamed metric. Lines are never
changed, and their order does not matter: two branches that both added lines are merged by keeping
all of them (``merge=union`` in .gitattributes). Nights are in the order of their clocks; one whose
clock cannot be right stays behind the night that was written before it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.atomic import unwritable
from harness.errors import InputError, Problem
from harness.history.pairs import Outcome
from harness.reading import read_json, read_regular_file
from harness.records import Profile, Scalar, digest, from_json, record, to_json

SUFFIX = ".jsonl"
_MOST_BYTES = 2**30
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_FIRST = datetime(2025, 1, 1, tzinfo=UTC)  # no DGX Spark is older


@record
class HistoryFigure:
    """One figure of a night.

    Attributes:
        value: mean over the replicates.
        n: how many replicates have it.
        spread: their standard deviation (n - 1); None for one.
        where: row keys, as in `harness.records.Measurement`.
    """

    metric: str
    unit: str
    value: float
    n: int = 1
    spread: float | None = None
    where: Mapping[str, Scalar] = field(default_factory=dict)


@record
class Night:
    """What one cell measured in one night, and with what.

    Attributes:
        id: digest of scenario, profile, runs and time.
        point: `RunSpec.point_id`, so that a cell whose params changed begins a new series.
        cell: swept params and their values.
        seed: of the first replicate.
        runs: run ids of the replicates.
        time: UTC, when the first of them started.
        clock: why that time is doubtful; empty where it is not.
        image: ``name@digest``; empty for the local runtime.
        commit: of the source tree; empty where it is not known.
        dirty: whether the tree differed from the commit.
        source: digest of the workload's source.
        versions: of what decides speed: Python, driver's CUDA, packages.
        probe: figure of `HostProbe` -> its median over the probes of these runs.
    """

    id: str
    scenario: str
    profile: Profile
    point: str
    cell: Mapping[str, Any]
    seed: int
    runs: tuple[str, ...]
    time: str
    clock: str = ""
    device: str
    driver: str = ""
    image: str = ""
    commit: str = ""
    dirty: bool | None = None
    source: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    probe: Mapping[str, float] = field(default_factory=dict)
    figures: tuple[HistoryFigure, ...] = ()


@record
class Finding:
    """What came of a suspicion.

    Attributes:
        night: id of the night that was suspected.
        outcome: of the pairs; None where they could not be run (SUSPECTED).
        old: value of the baseline, in `unit`.
        new: value of the night, in `unit`.
        nights: how many nights the shift is seen in.
        effect: relative change that the pairs showed, else that of the nights; negative is worse.
        low: of the interval of `effect`; None where it is not bounded.
        high: likewise.
        sees: the relative change that would have been seen; None where none would.
        pairs: how many were run; of those that followed a glance, without the glance's.
        good: commit of the baseline.
        bad: commit of the night.
        first_bad: the first bad commit, where it was looked for.
        why: for people, in one line.
    """

    id: str
    time: str
    point: str
    metric: str
    where: Mapping[str, Scalar]
    device: str
    night: str
    outcome: Outcome | None
    unit: str
    old: float
    new: float
    nights: int
    effect: float
    low: float | None
    high: float | None
    sees: float | None
    pairs: int
    good: str
    bad: str
    first_bad: str = ""
    why: str = ""


@record
class Accepted:
    """A change that is the new baseline.

    Attributes:
        finding: id of the finding.
        why: the user's reason.
    """

    id: str
    time: str
    finding: str
    why: str


@record
class Renamed:
    """A metric that goes on under another name."""

    id: str
    time: str
    old: str
    new: str
    why: str


Row = Night | Finding | Accepted | Renamed
_KINDS: Mapping[str, type[Row]] = {
    "night": Night,
    "finding": Finding,
    "accepted": Accepted,
    "renamed": Renamed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@record
class HistoryRows:
    """The rows of a file.

    Attributes:
        nights: in order of time.
        findings: in order of time.
        problems: the lines that cannot be used; the others are.
    """

    nights: tuple[Night, ...] = ()
    findings: tuple[Finding, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def ids(self) -> set[str]:
        """Of all rows."""
        rows: Iterable[Row] = (*self.nights, *self.findings, *self.accepted, *self.renamed)
        return {each.id for each in rows}


def path_of(folder: Path, scenario: str, profile: Profile) -> Path:
    """Return the file of a scenario at a profile."""
    return folder / scenario / f"{profile}{SUFFIX}"


def profiles_of(folder: Path, scenario: str) -> list[Profile]:
    """Return the profiles of a scenario that have a history."""
    return [each for each in Profile if path_of(folder, scenario, each).is_file()]


def id_of(*parts: object) -> str:
    """Return the id of a row made from these."""
    return digest(list(parts))[:12]


def now() -> str:
    """Return the time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_rows(path: Path, today: datetime | None = None) -> HistoryRows:
    """Return the rows of a file; none where there is no file.

    A line that is damaged, that a merge left, or that some other version wrote is named in
    `HistoryRows.problems`, and all others are used.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        content = read_regular_file(path, max_bytes=_MOST_BYTES)
    except FileNotFoundError:
        return HistoryRows()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError([Problem(message=message, path=path)]) from None
    found: dict[str, Row] = {}
    problems = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = _row(line)
        except ValueError as error:
            problems.append(Problem(message=f"row is not used: {error}", path=path, line=number))
        else:
            if row.id in found and found[row.id] != row:
                message = f"row is not used: it contradicts an earlier one of its id {row.id}"
                problems.append(Problem(message=message, path=path, line=number))
            found.setdefault(row.id, row)
    rows = found.values()
    return HistoryRows(
        nights=_in_order([each for each in rows if isinstance(each, Night)], today),
        findings=tuple(each for each in rows if isinstance(each, Finding)),
        accepted=tuple(each for each in rows if isinstance(each, Accepted)),
        renamed=tuple(each for each in rows if isinstance(each, Renamed)),
        problems=tuple(problems),
    )


def add_nights(path: Path, nights: Iterable[Night], known: Container[str]) -> list[Night]:
    """Add the nights whose ids are not known yet, and return them, oldest first.

    Raises:
        HostError: the file cannot be written.
    """
    new = sorted((each for each in nights if each.id not in known), key=lambda each: each.time)
    append_rows(path, new)
    return new


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows behind those that are there, and wait until they are on the disk.

    Raises:
        HostError: the file cannot be written.
    """
    if not rows:
        return
    text = "".join(f"{_line(each)}\n" for each in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # what a killed writer left of a line must not swallow the next
            if end := file.seek(0, os.SEEK_END):
                file.seek(end - 1)
                text = text if file.read(1) == b"\n" else f"\n{text}"
            file.write(text.encode())
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from None


def _line(row: Row) -> str:
    document = {"kind": _NAMES[type(row)], **to_json(row)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _row(line: bytes) -> Row:
    if line.startswith(tuple(each.encode() for each in _CONFLICT)):
        message = "a merge left it here; keep the rows of both sides, and delete this line"
        raise ValueError(message)
    document = read_json(line.decode("utf-8", "strict"))
    if not isinstance(document, dict):
        message = "it is no JSON object"
        raise ValueError(message)  # noqa: TRY004 - a caller sees one kind of bad line
    kind = _KINDS.get(str(document.pop("kind", None)))
    if kind is None:
        message = f"its kind is none of {', '.join(_KINDS)}"
        raise ValueError(message)
    return from_json(kind, document)


def _in_order(nights: Sequence[Night], today: datetime | None) -> tuple[Night, ...]:
    latest = (today or datetime.now(UTC)) + timedelta(days=2)
    placed: list[tuple[str, int, Night]] = []
    last = ""
    for at, night in enumerate(nights):
        why = night.clock or _doubt(night.time, latest)
        if why:
            placed.append((last, at, replace(night, clock=why)))
        else:
            last = night.time
            placed.append((last, at, night))
    placed.sort(key=lambda each: each[:2])
    return tuple(night for *_, night in placed)


def _doubt(time: str, latest: datetime) -> str:
    try:
        when = datetime.fromisoformat(time)
        if when.tzinfo is None:
            return f"the time {time!r} has no time zone"
    except ValueError:
        return f"{time!r} is no time"
    if not _FIRST <= when <= latest:
        return f"the clock said {time[:10]}"
    return ""
