"""The store of finished steps: one folder a step, addressed by the hash of what decides it.

::

    <root>/<key>/artefact.json    what was asked, by which code, who made it, and what it took
    <root>/<key>/events.jsonl     the events that it wrote
    <root>/<key>/manifest.json    size and sha256 of every other file
    <root>/<key>/files/           what it made
    <root>/.new.<key>/            a step that is being made, or whose maker was killed
    <root>/.locks/<key>           held (flock) by whoever makes the step

A step is written whole or not at all: one rename puts its folder in place, with all of it on the
disk. A folder whose files are not those of its manifest, or whose key is not the hash of what its
record says, is damaged: it is refused, and made again. The lock is the kernel's, so a killed maker
holds none, and a machine that restarted has none left over.

Workloads write here from inside a run; the commands list, carry and delete.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from harness import atomic
from harness.errors import InputError, Problem
from harness.reading import read_json, read_regular_file
from harness.records import digest, from_json, record, to_json
from harness.source import digest_of

FOLDER = ".artefacts"  # of a store of results
FILES, EVENTS_FILE = "files", "events.jsonl"
# what carries the result of a step and decides none of it; all else that its code imports counts
CARRIERS = (
    *("harness.workloads.api", "harness.artefacts", "harness.atomic", "harness.appended"),
    *("harness.errors", "harness.source", "harness.variables"),
)
_RECORD, _MANIFEST, _LOCKS, _NEW = "artefact.json", "manifest.json", ".locks", ".new."
_IMPORT = "import"  # its lock
_DIGITS = 24  # hex, of a key
_CHUNK_BYTES = 1 << 20
_POLL_S = 0.1


@record
class StepSpec:
    """What decides a step.

    Attributes:
        name: as its run calls it.
        decides: its own params, plain JSON.
        reads: name -> digest of what it reads of other steps.
        place: what of the machine decides it: image or packages, and device; empty for data that
            means the same wherever it was made.
        source: digest of the code that makes it.
    """

    name: str
    decides: Mapping[str, Any]
    reads: Mapping[str, str]
    place: Mapping[str, str]
    source: str

    @property
    def identity(self) -> str:
        """What was asked, whatever code answers on whatever machine."""
        return digest([self.name, self.decides, self.reads])[:_DIGITS]

    @property
    def key(self) -> str:
        """The address of the answer."""
        return digest([self.identity, self.place, self.source])[:_DIGITS]


@record
class Cost:
    """What making a step took, by the attempt that finished it.

    Attributes:
        wall_s: by the clock.
        cpu_s: of the workload's process and the children that it waited for.
        energy_j: of the device that it computed on.
        peak_rss_gib: the process's peak up to the end of the step.
        absent: field -> why it is None.
    """

    wall_s: float
    cpu_s: float | None = None
    energy_j: float | None = None
    peak_rss_gib: float | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


@record
class Artefact:
    """A finished step.

    Attributes:
        code: the modules that make it, by name; `StepSpec.source` covers what they import.
        made_by: scenario, profile and id of the run.
        made_at: UTC, when it was finished.
        device: that it was computed on.
        facts: what the step wants remembered beside its files, plain JSON.
        files: path below `FILES` -> sha256.
    """

    spec: StepSpec
    code: tuple[str, ...]
    made_by: str
    made_at: str
    device: str
    cost: Cost
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As its run called it."""
        return self.spec.name

    @property
    def key(self) -> str:
        """Its address."""
        return self.spec.key

    @property
    def is_current(self) -> bool:
        """Whether the code that made it is the present one."""
        return self.spec.source == digest_of(self.code, CARRIERS)

    def digest(self, below: str = "") -> str:
        """Return the digest of its files, or of those below a folder: what a later step reads.

        Raises:
            ValueError: there is no such file.
        """
        found = {path: sha for path, sha in self.files.items() if _is_below(path, below)}
        if below and not found:
            message = f"step {self.name!r} has no file below {below!r}"
            raise ValueError(message)
        return digest(found)


def _is_below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


class DamagedError(InputError):
    """An artefact is not what was written."""


class ArtefactStore:
    """Finished steps under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self, key: str) -> Path:
        """Return the folder of a finished step's files."""
        return self.root / key / FILES

    def events(self, key: str) -> Path:
        """Return the file of a finished step's events."""
        return self.root / key / EVENTS_FILE

    def keys(self) -> list[str]:
        """Return the keys of all finished steps, damaged ones included."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.name[0] != ".")

    def find(self, key: str) -> Artefact | None:
        """Return a finished step, with every byte of it looked at; None where there is none.

        Raises:
            DamagedError: it is not what was written; names the file.
        """
        folder = self.root / key
        return verified(folder) if folder.is_dir() else None

    @contextmanager
    def locked(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold a step for making it; whoever holds it already is waited for.

        Args:
            key: the step's.
            waiting: called ten times a second meanwhile.

        Raises:
            HostError: the store cannot be written to.
        """
        try:
            descriptor = self._lock_file(key)
        except OSError as error:
            raise atomic.unwritable(self.root, error) from None
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting()
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def make_folder(self, user: int | None = None) -> None:
        """Make the root folder, and let a user write steps there.

        Args:
            user: of a container, whom root lends it to; None for this one.

        Raises:
            OSError: it cannot be made.
        """
        for folder in (self.root, self.root / _LOCKS):
            folder.mkdir(parents=True, exist_ok=True)
            if user is not None:
                os.chown(folder, user, -1)

    def _lock_file(self, key: str) -> int:
        """Open a step's lock for reading: that is enough to hold it, whoever made the file."""
        self.make_folder()
        return os.open(self.root / _LOCKS / key, os.O_RDONLY | os.O_CREAT, 0o644)

    def unfinished_folder(self, key: str) -> Path:
        """Return the folder that a step is made in, whether it is there or not."""
        return self.root / f"{_NEW}{key}"

    def begin(self, key: str, keeps: Iterable[str] = ()) -> Path:
        """Return the folder to make a locked step in.

        Args:
            key: the step's.
            keeps: files, by path or pattern, that a killed maker may have left and this one goes
                on with; all else that it left is removed.
        """
        new, files = self.unfinished_folder(key), self.unfinished_folder(key) / FILES
        try:
            kept = tuple(keeps)
            for path in [*new.rglob("*")] if new.is_dir() else []:
                if path.is_dir() and not path.is_symlink():
                    continue
                own = str(path.relative_to(files)) if path.is_relative_to(files) else ""
                if not (own and any(fnmatchcase(own, each) for each in kept)):
                    path.unlink()
            files.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic.unwritable(new, error) from None
        return new

    def finish(self, new: Path, made: Artefact) -> Artefact:
        """Put a step that was made in `new` in its place; all of it is on the disk by then.

        Raises:
            OSError: the disk is full or broken; nothing is in its place then.
        """
        files = {str(path.relative_to(new / FILES)): _facts(path) for path in _tree(new / FILES)}
        made = replace(made, files={path: facts["sha256"] for path, facts in files.items()})
        _write_json(new / _RECORD, to_json(made))
        manifest = {f"{FILES}/{path}": facts for path, facts in files.items()}
        manifest |= {name: _facts(new / name) for name in (_RECORD, EVENTS_FILE)}
        _write_json(new / _MANIFEST, manifest)
        self._place(new, made.key)
        return made

    def _place(self, new: Path, key: str) -> None:
        place = self.root / key
        if place.exists():  # damaged, else nobody would have made it again
            shutil.rmtree(place)
        atomic.move(new, place)

    # --- carrying and deleting --------------------------------------------------------------------

    def unfinished(self) -> list[Path]:
        """Return what makers that were killed have left, and nobody is making now."""
        is_at_work = self._is_being_made
        return [path for path in self.begun() if not is_at_work(path.name.removeprefix(_NEW))]

    def has_part(self, key: str) -> bool:
        """Return whether a maker that was killed left a file of a step."""
        return any(path.is_file() for path in (self.unfinished_folder(key) / FILES).rglob("*"))

    def begun(self) -> list[Path]:
        """Return the folders of steps that are being made, or were when their maker was killed."""
        return sorted(self.root.glob(f"{_NEW}*"))

    def _is_being_made(self, key: str) -> bool:
        try:
            descriptor = os.open(self.root / _LOCKS / key, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def clear(self, left: Path) -> None:
        """Delete what a maker that was killed has left (`unfinished`)."""
        shutil.rmtree(left)

    def remove(self, key: str) -> None:
        """Delete a finished step, whole or not at all."""
        gone = self.root / f".old.{key}"
        (self.root / key).rename(gone)
        shutil.rmtree(gone)

    def export(self, keys: Iterable[str], archive: Path) -> None:
        """Write finished steps into a tar file.

        Raises:
            InputError: one is damaged.
            HostError: the file cannot be written.
        """
        chosen = list(keys)
        for key in chosen:
            verified(self.root / key)
        try:
            with atomic.new_file(archive) as temporary, tarfile.open(temporary, "w") as tar:
                for key in chosen:
                    for path in _tree(self.root / key):
                        tar.add(path, str(path.relative_to(self.root)), filter=_without_owner)
        except OSError as error:
            raise atomic.unwritable(archive, error) from None

    def take_in(self, archive: Path) -> tuple[list[Artefact], int]:
        """Take the steps of a tar file that `export` wrote.

        Returns:
            Those that were new here, and how many were here already.

        Raises:
            InputError: it is no such file, or a step in it is damaged; nothing of it is taken then.
            HostError: the store cannot be written to.
        """
        scratch = self.root / f".import.{os.getpid()}.{threading.get_ident()}"
        try:
            scratch.mkdir(parents=True)
            for key in _unpack(archive, scratch):
                verified(scratch / key)
            found = {path.name: verified(path) for path in sorted(scratch.iterdir())}
            with self.locked(_IMPORT, lambda: None):  # two may bring the same step
                new = [each for key, each in found.items() if not self._has_whole(key)]
                for each in new:
                    self._place(scratch / each.key, each.key)
        except OSError as error:
            raise atomic.unwritable(self.root, error) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return new, len(found) - len(new)

    def _has_whole(self, key: str) -> bool:
        try:
            return self.find(key) is not None
        except DamagedError:
            return False


def read_record(folder: Path) -> Artefact:
    """Return what a finished step's record says, without a look at its files.

    Raises:
        DamagedError: the record cannot be read.
    """
    try:
        return from_json(Artefact, read_json(read_regular_file(folder / _RECORD)))
    except (OSError, ValueError) as error:
        message = f"is damaged: {error}"
        raise DamagedError([Problem(message=message, path=folder / _RECORD)]) from None


def verified(folder: Path) -> Artefact:
    """Return a finished step after a look at every byte of it.

    Raises:
        DamagedError: it is not what was written; names the first such file.
    """
    try:
        stated: dict[str, Any] = read_json(read_regular_file(folder / _MANIFEST), holds_paths=True)
        paths = {str(path.relative_to(folder)): path for path in _tree(folder)}
        paths.pop(_MANIFEST, None)
        for name in sorted({*stated, *paths}):
            if name not in stated or name not in paths:
                why = "is not in the manifest" if name in paths else "is gone"
            elif _facts(paths[name]) == stated[name]:
                continue
            else:
                why = "is damaged: its sha256 is not the manifest's"
            raise DamagedError([Problem(message=why, path=folder / name)])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"is damaged: {error}"
        raise DamagedError([Problem(message=message, path=folder / _MANIFEST)]) from None
    found = read_record(folder)
    if found.key != folder.name:
        message = "is the record of another step"
        problem = Problem(message=message, path=folder / _RECORD, allowed=found.key)
        raise DamagedError([problem])
    return found


def _tree(folder: Path) -> list[Path]:
    """Return every file below a folder; a link is none, and is refused as damage."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise DamagedError([Problem(message="is a link", path=path)])
        if path.is_file():
            found.append(path)
    return found


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": found}


def _write_json(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who made it and when: the archive of the same steps is the same bytes."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _unpack(archive: Path, folder: Path) -> set[str]:
    """Write the files of an archive below `folder`, and return the keys that they belong to.

    Raises:
        InputError: it is no archive of steps: names the member that is in none.
        HostError: the disk is full.
    """
    keys = set()
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                is_inside = len(path.parts) > 1 and not path.is_absolute()
                if (
                    not (member.isreg() and is_inside)
                    or ".." in path.parts
                    or path.parts[0][0] == "."
                ):
                    message = "is no archive of steps: it holds something else"
                    problem = Problem(message=message, path=archive, value=ascii(member.name))
                    raise InputError([problem])
                keys.add(path.parts[0])
                place, content = folder / path, tar.extractfile(member)
                assert content is not None, "a regular file has content"
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("xb") as file:
                    shutil.copyfileobj(content, file, _CHUNK_BYTES)
    except FileExistsError as error:
        message = f"is no archive of steps: {error.filename} is in it twice"
        raise InputError([Problem(message=message, path=archive)]) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError([Problem(message=message, path=archive)]) from None
    except (tarfile.TarError, EOFError, ValueError) as error:
        message = f"is no archive of steps: {error}"
        raise InputError([Problem(message=message, path=archive)]) from None
    return keys
