"""The store: ``<root>/<scenario>/<profile>/<run_id>/``, one folder a run.

A run writes into a folder under ``.staging``; when it is over, its records are added, everything
is flushed to the disk, and one rename puts the folder in its place. So a folder with a run's name
is a whole run, and a kill at any moment leaves either it or a staging folder that the next holder
of the lock empties, but for its checkpoints. A finished run is never overwritten; a failed one is
kept as ``<run_id>.failed-<n>`` and will be run again.

Checkpoints stay in the staging folder until the run, which is named by its id, has finished: the
next attempt goes on from them. A change of the workload's code makes another run of it.

Beside the profiles, ``<root>/<scenario>/ledgers/`` holds the ledgers that results were made with,
each once, so that an expectation that is changed afterwards is still known as it stood.

Every spec says which version of the records wrote it. A run of another version is no result of this
harness: it is neither listed nor damaged, but left as it is (`RunStore.other_schemas`).
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from pydantic import ValidationError

from harness import atomic
from harness.errors import HostError, InputError, Problem
from harness.records import (
    SCHEMA_VERSION,
    FinishedRun,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    digest,
    from_json,
    to_json,
)
from harness.scenario.expectations import Expectations, fingerprints
from harness.workloads.api.context import CHECKPOINTS

SPEC_FILE = "spec.json"
OUTCOME_FILE = "outcome.json"
MEASUREMENTS_FILE = "measurements.json"
ENVIRONMENT_FILE = "environment.json"
LEDGERS = "ledgers"
_STAGING = ".staging"
Record = TypeVar("Record")


class RunStore:
    """Finished runs under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, spec: RunSpec) -> Path:
        """Return the folder of a finished run of `spec`, whether it exists or not."""
        return self.root / spec.scenario / spec.profile / spec.run_id

    def has(self, spec: RunSpec) -> bool:
        """Return whether `spec` has been finished; then it need not run again."""
        return self.folder(spec).is_dir()

    @contextmanager
    def locked(self, scenario: str, profile: Profile) -> Iterator[None]:
        """Hold a scenario's profile for writing, and remove what a killed owner left half-done.

        Raises:
            HostError: another process holds it.
        """
        staging = self.root / _STAGING
        _make_folder(staging)
        with _opened(staging / f"{scenario}.{profile}.lock") as lock:
            _lock(lock.fileno(), self.root, f"{scenario} {profile}")
            for left in staging.glob(f"{scenario}.{profile}.*/"):
                self.discard(left)
            yield

    def stage(self, spec: RunSpec) -> Path:
        """Return a folder for a run to write into: its spec.json, and checkpoints if any."""
        folder = self.root / _STAGING / f"{spec.scenario}.{spec.profile}.{spec.run_id}"
        self.discard(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / SPEC_FILE, to_json(spec))
        return folder

    def discard(self, staged: Path) -> None:
        """Delete the files of a run that did not end, except its checkpoints."""
        if not (staged / CHECKPOINTS).is_dir():
            shutil.rmtree(staged, ignore_errors=True)
            return
        for each in staged.iterdir():
            if each.is_dir() and not each.is_symlink():
                if each.name != CHECKPOINTS:
                    shutil.rmtree(each)
            else:
                each.unlink()

    def commit(self, staged: Path, finished: FinishedRun) -> Path:
        """Put a staged run in its place and return that; all of it is on the disk by then."""
        _write_json(staged / OUTCOME_FILE, to_json(finished.outcome))
        _write_json(staged / MEASUREMENTS_FILE, to_json(finished.measurements))
        _write_json(staged / ENVIRONMENT_FILE, to_json(finished.environment))
        place = self.folder(finished.spec)
        is_finished = finished.outcome.status is Status.FINISHED
        if is_finished:
            shutil.rmtree(staged / CHECKPOINTS, ignore_errors=True)
        else:
            last = max((_attempt(path) for path in _attempts(place)), default=0)
            place = place.with_name(f"{place.name}.failed-{last + 1}")
        _make_folder(place.parent)
        atomic.move(staged, place)
        if (place / CHECKPOINTS).is_dir():  # for the next attempt
            staged.mkdir()
            (place / CHECKPOINTS).rename(staged / CHECKPOINTS)
        return place

    def keep_ledger(self, ledger: Expectations) -> None:
        """Keep a ledger, for the results that will be made with it."""
        path = self._ledger(ledger.scenario, fingerprints(ledger))
        if not path.is_file():
            _make_folder(path.parent)
            atomic.write_text(path, ledger.model_dump_json(by_alias=True, indent=1) + "\n")

    def ledger(self, spec: RunSpec) -> Expectations | None:
        """Return the ledger that a run was decided with; None where it is not known.

        It is not where the run's spec names none, its file is gone, or a harness wrote it that
        knew other kinds of entries.
        """
        path = self._ledger(spec.scenario, spec.ledger)
        try:
            return Expectations.model_validate_json(path.read_bytes()) if spec.ledger else None
        except (FileNotFoundError, ValidationError):
            return None

    def copy_ledgers(self, runs: Iterable[FinishedRun], target: RunStore) -> None:
        """Copy the ledgers of some runs to another store."""
        for run in runs:
            if (kept := self.ledger(run.spec)) is not None:
                target.keep_ledger(kept)

    def _ledger(self, scenario: str, fingerprints: Mapping[str, str]) -> Path:
        return self.root / scenario / LEDGERS / f"{digest(fingerprints)[:16]}.json"

    def load(self, spec: RunSpec) -> FinishedRun:
        """Return a finished run."""
        return load_run(self.folder(spec))

    def failures(self, spec: RunSpec) -> list[FinishedRun]:
        """Return the failed attempts at `spec`, oldest first."""
        return _load_all(_attempts(self.folder(spec)))

    def runs(self, scenario: str, profile: Profile) -> list[FinishedRun]:
        """Return every finished run of a profile, in a stable order (cell, then replicate)."""
        found = [path for path in self._folders(scenario, profile) if _schema(path) is None]
        return sorted(_load_all(found), key=lambda run: (run.spec.point_id, run.spec.seed))

    def profiles(self, scenario: str) -> list[Profile]:
        """Return the profiles of a scenario that have finished runs."""
        return [
            profile
            for profile in Profile
            if any(_schema(path) is None for path in self._folders(scenario, profile))
        ]

    def other_schemas(self, scenario: str, profile: Profile | None = None) -> set[int]:
        """Return the schema versions of finished runs that this harness did not write."""
        profiles = Profile if profile is None else [profile]
        found = {_schema(path) for each in profiles for path in self._folders(scenario, each)}
        return {version for version in found if version is not None}

    def _folders(self, scenario: str, profile: Profile) -> list[Path]:
        place = self.root / scenario / profile
        if not place.is_dir():
            return []
        return sorted(path for path in place.iterdir() if path.is_dir() and "." not in path.name)


def said_of(schemas: set[int]) -> str:
    """Say of what `RunStore.other_schemas` found who stored it: ``an older harness (schema 1)``."""
    age = "an older" if max(schemas) < SCHEMA_VERSION else "another"
    return f"{age} harness (schema {', '.join(map(str, sorted(schemas)))})"


def load_run(folder: Path) -> FinishedRun:
    """Read one run's folder.

    Raises:
        InputError: another version of the records wrote it; or a file is absent or damaged, or the
            folder is not that of the run; names it.
    """
    if (version := _schema(folder)) is not None:
        message = f"was stored by {said_of({version})}"
        problem = Problem(
            message=message,
            path=folder / SPEC_FILE,
            key="schema_version",
            allowed=str(SCHEMA_VERSION),
        )
        raise InputError([problem])
    spec = _read(RunSpec, folder / SPEC_FILE)
    if spec.run_id != folder.name.partition(".")[0]:
        message = "is not the spec of this folder's run"
        raise InputError([Problem(message=message, path=folder / SPEC_FILE, allowed=spec.run_id)])
    return FinishedRun(
        spec=spec,
        outcome=_read(RunOutcome, folder / OUTCOME_FILE),
        measurements=_read(tuple[Measurement, ...], folder / MEASUREMENTS_FILE),
        environment=_read(dict[str, Any], folder / ENVIRONMENT_FILE),
    )


def _schema(folder: Path) -> int | None:
    """Return the version of the records that wrote a run, if it is not this one's.

    An unreadable file counts as this version's: reading it reports the problem.
    """
    try:
        document = _read_json(folder / SPEC_FILE)
    except InputError:
        return None
    version = document.get("schema_version") if isinstance(document, dict) else None
    return version if isinstance(version, int) and version != SCHEMA_VERSION else None


def _load_all(folders: Iterable[Path]) -> list[FinishedRun]:
    """Read runs' folders.

    Raises:
        InputError: every one that is damaged.
    """
    runs: list[FinishedRun] = []
    problems: list[Problem] = []
    for folder in folders:
        try:
            runs.append(load_run(folder))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return runs


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a+")
    except OSError as error:
        message = f"cannot write to {path.parent.parent}: {error.strerror}"
        raise HostError(message, "give another --store, or free the disk") from None


def _lock(descriptor: int, root: Path, what: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"another harness is running {what} into {root}"
        raise HostError(message, "wait for it, or give another --store") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.unwritable(folder, error) from None


def _attempts(place: Path) -> list[Path]:
    found = [path for path in place.parent.glob(f"{place.name}.failed-*") if _attempt(path)]
    return sorted(found, key=_attempt)


def _attempt(path: Path) -> int:
    """Return the number of a failed attempt; 0 for other folders, such as a copy made by hand."""
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdecimal() and path.is_dir() else 0


def _write_json(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        problem = Problem(message=f"cannot be read: {error.strerror}", path=path)
    except json.JSONDecodeError as error:
        problem = Problem(
            message=f"is damaged: {error.msg}", path=path, line=error.lineno, column=error.colno
        )
    except ValueError as error:  # no UTF-8, or a NaN
        problem = Problem(message=f"is damaged: {error}", path=path)
    raise InputError([problem])


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not a JSON number"
    raise ValueError(message)


def _read(kind: type[Record], path: Path) -> Record:
    document = _read_json(path)
    try:
        return from_json(kind, document)
    except ValueError as error:
        raise InputError([Problem(message=f"is damaged: {error}", path=path)]) from None
