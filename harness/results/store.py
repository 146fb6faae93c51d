"""The store: ``<root>/<scenario>/<profile>/<run_id>/``, one folder a run.

A run writes into a folder under ``.staging``; when it is over, its records are added, everything
is flushed to the disk, and one rename puts the folder in its place. So a folder with a run's name
is a whole run, and a kill at any moment leaves either it or a staging folder. A finished run is
never overwritten; a failed one is kept as ``<run_id>.failed-<n>`` and will be run again.

What an attempt leaves half-done stays in the staging folder until the run has finished. Its
checkpoints, which the next attempt goes on from, stay where they are; its events, telemetry and
logs go to ``segments/<n>/``; the rest is removed when the next attempt begins. Finished steps lie
in a store of their own (`harness.artefacts`), under ``<root>/.artefacts``.

Beside the profiles, ``<root>/<scenario>/ledgers/`` holds the ledgers that results were made with,
each once, so that an expectation that is changed afterwards is still known as it stood.

A profile that is published is one archive of its runs (`harness.results.bundle`). It is read as if
its runs were in their folders, and nothing is ever written to it.

Every spec says which version of the records wrote it. A run of another version is no result of this
harness: it is neither listed nor damaged, but left as it is (`RunStore.other_schemas`).
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import ValidationError

from harness import artefacts, atomic
from harness.artefacts import ArtefactStore
from harness.errors import HostError, InputError, Problem
from harness.reading import read_json, read_regular_file
from harness.records import (
    SCHEMA_VERSION,
    FinishedRun,
    HostProbe,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    digest,
    from_json,
    to_json,
)
from harness.results import bundle, sound
from harness.results.index import WORTH_INDEXING, RunIndex
from harness.scenario.expectations import Expectations, fingerprints
from harness.workloads.api.context import CHECKPOINTS
from harness.workloads.api.passes import PASSES_FILE

SPEC_FILE = "spec.json"
OUTCOME_FILE = "outcome.json"
MEASUREMENTS_FILE = "measurements.json"
ENVIRONMENT_FILE = "environment.json"
_RECORDS = (SPEC_FILE, OUTCOME_FILE, MEASUREMENTS_FILE, ENVIRONMENT_FILE)
SEGMENTS = "segments"  # folder of a run: what its attempts but the last have left, a folder each
SEGMENT_FILE = "segment.json"
# what is kept of an attempt
HOST_PROBE_FILE = "host_probe.json"
_OF_SEGMENT = (
    *("events.jsonl", "telemetry.csv", "progress.jsonl", "stdout.log", "stderr.log"),
    PASSES_FILE,
    HOST_PROBE_FILE,
)
LEDGERS = "ledgers"
_STAGING = ".staging"
_LOCK = "lock"
_ORDER = ".order"  # of a profile: the ids of its finished runs, one a line, as they were stored
Record = TypeVar("Record")


class RunStore:
    """Finished runs under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, spec: RunSpec) -> Path:
        """Return the folder of a finished run of `spec`, whether it exists or not.

        Raises:
            InputError: it is in a bundle, which is not as it was written.
        """
        return self._place(spec.scenario, spec.profile) / spec.run_id

    def is_bundle(self, scenario: str, profile: Profile) -> bool:
        """Return whether a profile's runs are published as one archive."""
        return bundle.is_bundle(self.root / scenario / profile)

    def _place(self, scenario: str, profile: Profile) -> Path:
        """Return the folder that holds the runs of a profile."""
        return self._opened_root(scenario, profile) / scenario / profile

    def _opened_root(self, scenario: str, profile: Profile) -> Path:
        """Return the root of the store that a profile is read from: a bundle is one by itself."""
        if self.is_bundle(scenario, profile):
            return bundle.unpacked(self.root / scenario / profile).store
        return self.root

    def has(self, spec: RunSpec) -> bool:
        """Return whether `spec` has been finished; then it need not run again."""
        return self.folder(spec).is_dir()

    @property
    def artefacts(self) -> ArtefactStore:
        """The finished steps."""
        return ArtefactStore(self.root / artefacts.FOLDER)

    @contextmanager
    def locked(self, scenario: str, profile: Profile) -> Iterator[None]:
        """Hold a scenario's profile for writing.

        Raises:
            HostError: another process holds it; or a finished run could not be put in its place.
        """
        if self.is_bundle(scenario, profile):
            message = f"{self.root / scenario / profile} is published, and no place to run in"
            raise HostError(message, "give another --store")
        staging = self.root / _STAGING
        _make_folder(staging)
        with _opened(staging / f"{scenario}.{profile}.{_LOCK}") as lock:
            _lock(lock.fileno(), self.root, f"{scenario} {profile}")
            self._require_place(scenario, profile)
            yield

    def _require_place(self, scenario: str, profile: Profile) -> None:
        """Put a folder in a run's place and take it away, as `commit` will after hours of work."""
        place = self.root / scenario / profile
        probe = self.root / _STAGING / f".probe.{scenario}.{profile}"
        moved = place / probe.name
        try:
            place.mkdir(parents=True, exist_ok=True)
            for left in (probe, moved):  # by one that was killed: whoever is here holds the lock
                shutil.rmtree(left, ignore_errors=True)
            probe.mkdir()
            try:
                (probe / SPEC_FILE).write_text("{}", encoding="utf-8")
                atomic.move(probe, moved)
            finally:
                shutil.rmtree(probe, ignore_errors=True)
                shutil.rmtree(moved, ignore_errors=True)
        except OSError as error:
            raise atomic.unwritable(place, error) from None

    def stage(self, spec: RunSpec) -> Path:
        """Return the folder for the next attempt at a run: its spec.json, and what it goes on from.

        That are the checkpoints, and in ``segments/`` what is told of the attempts before. The run
        stays one of the ledger that its first attempt began with.
        """
        folder = self._staging(spec)
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(InputError):  # there is none, or a cut took it
            spec = replace(spec, ledger=_read(RunSpec, folder / SPEC_FILE).ledger)
        if (folder / SEGMENT_FILE).exists():
            _keep_segment(folder, folder)
        for each in folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                if each.name not in {CHECKPOINTS, SEGMENTS}:
                    shutil.rmtree(each)
            else:
                each.unlink()
        _write_json(folder / SPEC_FILE, to_json(spec))
        return folder

    def staged(self, scenario: str, profile: Profile) -> list[tuple[RunSpec, Path]]:
        """Return the runs of a profile that were begun and not ended, and where they are.

        The caller holds the lock, or takes into account that one of them may be at work.
        """
        found = []
        for folder in sorted((self.root / _STAGING).glob(f"{scenario}.{profile}.*/")):
            try:
                found.append((_read(RunSpec, folder / SPEC_FILE), folder))
            except InputError:  # cut before it was written: nothing had begun
                continue
        return found

    def every_staged(self) -> list[Path]:
        """Return the folders of all attempts at runs that were begun and not ended."""
        found = sorted((self.root / _STAGING).glob("[!.]*/"))
        return [attempt for path in found for attempt in (*segment_folders(path), path)]

    def is_staged(self, spec: RunSpec) -> bool:
        """Return whether a run was begun and not ended."""
        return self._staging(spec).is_dir()

    def rename(self, staged: Path, spec: RunSpec) -> None:
        """Make what was begun of a run the beginning of another, whose steps are the same."""
        staged.rename(self._staging(spec))

    def forget(self, staged: Path) -> None:
        """Delete what was begun of a run; its finished steps stay in their store."""
        shutil.rmtree(staged)

    def _staging(self, spec: RunSpec) -> Path:
        return self.root / _STAGING / f"{spec.scenario}.{spec.profile}.{spec.run_id}"

    def store_ended(self, spec: RunSpec) -> bool:
        """Put a run in its place that finished and could not be put there; False: there is none.

        Its outcome is written last, with all else on the disk.
        """
        folder = self._staging(spec)
        if not (folder / OUTCOME_FILE).exists():
            return False
        try:
            found = load_run(folder, spec.run_id)
        except InputError:
            return False
        if found.outcome.status is not Status.FINISHED:
            return False
        self.commit(folder, found)
        return True

    def commit(self, staged: Path, finished: FinishedRun, *, goes_on: bool = False) -> Path:
        """Put a staged run in its place and return that; all of it is on the disk by then.

        Args:
            staged: its folder (`stage`).
            finished: the run.
            goes_on: whether the next attempt at a run that failed goes on from this one.

        Raises:
            HostError: it cannot be put there; it stays where it is, and a later call stores it.
        """
        spec, is_finished = finished.spec, finished.outcome.status is Status.FINISHED
        place = self.folder(spec)
        if not is_finished:
            mine = (path for path, run in _attempts(place.parent) if run == place)
            last = max(map(_attempt, mine), default=0)
            place = place.with_name(f"{place.name}.failed-{last + 1}")
        try:
            _write_json(staged / MEASUREMENTS_FILE, to_json(finished.measurements))
            _write_json(staged / ENVIRONMENT_FILE, to_json(finished.environment))
            atomic.sync_tree(staged)
            with atomic.new_file(staged / OUTCOME_FILE) as temporary:
                _write_json(temporary, to_json(finished.outcome))
            if is_finished:
                shutil.rmtree(staged / CHECKPOINTS, ignore_errors=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(place)
            atomic.sync(place.parent)
            if is_finished:
                with (place.parent / _ORDER).open("a", encoding="utf-8") as order:
                    order.write(f"{place.name}\n")
        except OSError as error:
            message = (
                f"the run has ended, and cannot be put into {place}: {error.strerror}; "
                f"it is kept in {place if place.is_dir() else staged}"
            )
            raise HostError(message, "free the disk, and type the same command again") from None
        if not is_finished and goes_on:
            _go_on_from(place, staged)
        return place

    def keep_ledger(self, ledger: Expectations) -> None:
        """Keep a ledger, for the results that will be made with it."""
        name = _ledger_name(fingerprints(ledger))
        path = self.root / ledger.scenario / LEDGERS / name
        if not path.is_file():
            _make_folder(path.parent)
            atomic.write_text(path, ledger.model_dump_json(by_alias=True, indent=1) + "\n")

    def ledger(self, spec: RunSpec) -> Expectations | None:
        """Return the ledger that a run was decided with; None where it is not known.

        It is not where the run's spec names none, its file is gone, or a harness wrote it that
        knew other kinds of entries.
        """
        path = self.ledger_file(spec)
        if path is None:
            return None
        try:
            kept = Expectations.model_validate_json(read_regular_file(path))
        except (OSError, ValidationError):
            return None
        return kept if fingerprints(kept) == spec.ledger else None  # else it was changed since

    def ledger_file(self, spec: RunSpec) -> Path | None:
        """Return the file of the ledger that a run was decided with; None where there is none."""
        if not spec.ledger:
            return None
        root = self._opened_root(spec.scenario, spec.profile)
        path = root / spec.scenario / LEDGERS / _ledger_name(spec.ledger)
        return path if path.is_file() else None

    def load(self, spec: RunSpec) -> FinishedRun:
        """Return a finished run."""
        return load_run(self.folder(spec))

    def load_each(self, specs: Iterable[RunSpec]) -> dict[str, FinishedRun]:
        """Return the finished runs of `specs` by run id; without those that are not finished."""
        finished = [spec for spec in specs if self.has(spec)]
        runs = self._load_all([self.folder(spec) for spec in finished])
        # thousands of equal specs are held once
        return {
            spec.run_id: replace(run, spec=spec) if _is_same(run.spec, spec) else run
            for spec, run in zip(finished, runs, strict=True)
        }

    def failures(self, spec: RunSpec) -> list[FinishedRun]:
        """Return the failed attempts at `spec`, oldest first."""
        return self.failures_of([spec]).get(spec.run_id, [])

    def failures_of(self, specs: Sequence[RunSpec]) -> dict[str, list[FinishedRun]]:
        """Return the failed attempts at runs, oldest first, by run id; none for one without any."""
        wanted = {self.folder(spec) for spec in specs}
        found = [
            path
            for parent in {place.parent for place in wanted}
            for path, place in _attempts(parent)
            if place in wanted
        ]
        failures: dict[str, list[FinishedRun]] = {}
        for run in self._load_all(found):
            failures.setdefault(run.spec.run_id, []).append(run)
        return failures

    def runs(self, scenario: str, profile: Profile) -> list[FinishedRun]:
        """Return every finished run of a profile, in a stable order (cell, then replicate)."""
        found = [path for path in self._folders(scenario, profile) if _schema(path) is None]
        return sorted(self._load_all(found), key=lambda run: (run.spec.point_id, run.spec.seed))

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

    def _load_all(self, folders: Sequence[Path]) -> list[FinishedRun]:
        """Read runs' folders, many of them by the index.

        Raises:
            InputError: every one that is damaged.
        """
        is_here = all(folder.is_relative_to(self.root) for folder in folders)
        is_worth_it = is_here and len(folders) >= WORTH_INDEXING  # a bundle is read once
        index = RunIndex(self.root, _RECORDS) if is_worth_it else None
        known = index.known(folders) if index else {}
        read: dict[Path, FinishedRun] = {}
        problems: list[Problem] = []
        for folder in folders:
            if folder not in known:
                try:
                    run = load_run(folder)
                    read[folder] = index.packed(run) if index else run
                except InputError as error:
                    problems += error.problems
        if problems:
            raise InputError(problems)
        if index:
            index.remember(read)
        return [known.get(folder) or read[folder] for folder in folders]

    def host_probes(self) -> list[HostProbe]:
        """Return every probe of this machine that runs of the store hold; damaged ones not."""
        found: dict[str, HostProbe] = {}
        for path in self.root.glob(f"[!.]*/*/*/{OUTCOME_FILE}"):
            try:
                host = _read(RunOutcome, path).host
            except InputError:  # whoever reads the run says so
                continue
            # runs that follow each other share probes
            found.update({each.at: each for each in (host.probes if host else ())})
        return [found[at] for at in sorted(found)]

    def order(self, scenario: str, profile: Profile) -> dict[str, int]:
        """Return run id -> its place in the order in which finished runs were stored.

        It tells which of two runs is the newer where the clock was set back in between. Runs that
        were copied here have no place.
        """
        try:
            content = read_regular_file(self._place(scenario, profile) / _ORDER)
        except OSError:
            return {}
        return {name: at for at, name in enumerate(content.decode(errors="replace").split("\n"))}

    def _folders(self, scenario: str, profile: Profile) -> list[Path]:
        place = self._place(scenario, profile)
        if not place.is_dir():
            return []
        return sorted(path for path in place.iterdir() if path.is_dir() and "." not in path.name)


def _is_same(one: RunSpec, other: RunSpec) -> bool:
    return one == other and one.position == other.position


def _ledger_name(fingerprints: Mapping[str, str]) -> str:
    return f"{digest(fingerprints)[:16]}.json"


def said_of(schemas: set[int]) -> str:
    """Say of what `RunStore.other_schemas` found who stored it: ``an older harness (schema 1)``."""
    if max(schemas) < SCHEMA_VERSION:
        age = "an older"
    else:
        age = "a newer" if min(schemas) > SCHEMA_VERSION else "another"
    return f"{age} harness (schema {', '.join(map(str, sorted(schemas)))})"


def _keep_segment(attempt: Path, run: Path) -> None:
    """Move what is kept of an attempt to the next number under ``segments/`` of a run."""
    *_, last = [run / SEGMENTS / "0", *segment_folders(run)]
    is_whole = last.name == "0" or (last / SEGMENT_FILE).exists()  # else a move was cut
    place = last.with_name(str(int(last.name) + is_whole))
    place.mkdir(parents=True, exist_ok=True)
    for name in (*_OF_SEGMENT, SEGMENT_FILE):  # the record last: with it the attempt has moved
        if (attempt / name).is_file():
            (attempt / name).rename(place / name)


def _go_on_from(failed: Path, staged: Path) -> None:
    """Give the next attempt what a failed one leaves: checkpoints, and what is told of it."""
    staged.mkdir()
    shutil.copyfile(failed / SPEC_FILE, staged / SPEC_FILE)
    if (failed / SEGMENTS).is_dir():
        shutil.copytree(failed / SEGMENTS, staged / SEGMENTS)
    for name in (*_OF_SEGMENT, SEGMENT_FILE):
        if (failed / name).is_file():
            shutil.copyfile(failed / name, staged / name)
    if (failed / CHECKPOINTS).is_dir():
        (failed / CHECKPOINTS).rename(staged / CHECKPOINTS)


def segment_folders(run: Path) -> list[Path]:
    """Return the folders of a run's earlier attempts, in their order."""
    found = [path for path in (run / SEGMENTS).glob("*/") if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def load_run(folder: Path, run_id: str = "") -> FinishedRun:
    """Read one run's folder.

    Args:
        folder: the run's.
        run_id: its id, where the folder is not named by it.

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
    if spec.run_id != (run_id or folder.name.partition(".")[0]):
        message = "is not the spec of this folder's run"
        raise InputError([Problem(message=message, path=folder / SPEC_FILE, allowed=spec.run_id)])
    if "schema_version" not in _read_json(folder / SPEC_FILE):
        message = "does not say which version of the records wrote it"
        raise InputError([Problem(message=message, path=folder / SPEC_FILE, key="schema_version")])
    finished = FinishedRun(
        spec=spec,
        outcome=_read(RunOutcome, folder / OUTCOME_FILE),
        measurements=_read(tuple[Measurement, ...], folder / MEASUREMENTS_FILE),
        environment=_read(dict[str, Any], folder / ENVIRONMENT_FILE),
    )
    if problems := [*_faults(finished, folder)]:
        raise InputError(problems)
    return finished


def _faults(run: FinishedRun, folder: Path) -> Iterator[Problem]:
    """Yield what a run's records say that cannot be so."""
    for name, faults in (
        (SPEC_FILE, sound.spec_faults(run.spec)),
        (OUTCOME_FILE, sound.outcome_faults(run.outcome)),
        (MEASUREMENTS_FILE, sound.measurement_faults(run.measurements)),
        (ENVIRONMENT_FILE, sound.environment_faults(run.environment)),
    ):
        for key, message in faults:
            yield Problem(message=f"is damaged: {message}", path=folder / name, key=key)


def _schema(folder: Path) -> int | None:
    """Return the version of the records that wrote a run, if it is not this one's.

    An unreadable file counts as this version's: reading it reports the problem.
    """
    try:
        document = _read_json(folder / SPEC_FILE)
    except InputError:
        return None
    version = document.get("schema_version") if isinstance(document, dict) else None
    return version if type(version) is int and version != SCHEMA_VERSION else None


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


def _attempts(profile: Path) -> list[tuple[Path, Path]]:
    """Return the failed attempts in a profile's folder, oldest first, each with its run's place."""
    found = [path for path in profile.glob("*.failed-*") if _attempt(path)]
    return [
        (path, path.with_name(path.name.partition(".")[0])) for path in sorted(found, key=_attempt)
    ]


def _attempt(path: Path) -> int:
    """Return the number of a failed attempt; 0 for other folders, such as a copy made by hand."""
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdecimal() and path.is_dir() else 0


def _write_json(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _read_json(path: Path) -> Any:
    try:
        return read_json(read_regular_file(path))
    except OSError as error:
        problem = Problem(message=f"cannot be read: {error.strerror}", path=path)
    except json.JSONDecodeError as error:
        problem = Problem(
            message=f"is damaged: {error.msg}", path=path, line=error.lineno, column=error.colno
        )
    except ValueError as error:  # no UTF-8, or no value that we write
        problem = Problem(message=f"is damaged: {error}", path=path)
    raise InputError([problem])


def _read(kind: type[Record], path: Path) -> Record:
    document = _read_json(path)
    try:
        return from_json(kind, document)
    except ValueError as error:
        raise InputError([Problem(message=f"is damaged: {error}", path=path)]) from None
