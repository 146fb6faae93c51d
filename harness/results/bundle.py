"""A published profile: one archive of what its runs wrote, and a statement about it.

``results/<scenario>/<profile>/`` holds two files. `ARCHIVE_FILE` unpacks to a store
(`harness.results.store`) with three files beside its runs: `BUNDLE_FILE`, what the runs are;
`MANIFEST_FILE`, a sha256 for every file, as ``sha256sum --check`` reads it; and the RO-Crate.
`STATEMENT_FILE` names the archive by its sha256 and repeats `BUNDLE_FILE`, signed or not.

So a change of any byte shows without a key: the archive's digest is in the statement, and the
statement follows from the archive. Who published it, only a signature tells.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import InputError, Problem
from harness.reading import read_json, read_regular_file
from harness.records import Profile, canonical_json, from_json, record, to_json
from harness.results.archive import sha256, unpack
from harness.results.files import ARCHIVE_FILE, STATEMENT_FILE
from harness.results.statement import Envelope, read_envelope, statement

BUNDLE_FILE = "bundle.json"
MANIFEST_FILE = "manifest-sha256.txt"
BUNDLE_VERSION = 1
PREDICATE_TYPE = "urn:spark-article-harness:published-profile"


@record
class BundledRun:
    """One run of a bundle; its folder says the rest.

    Attributes:
        cell: the swept params and their values.
        started_at: UTC.
        commit: of the source tree, in full.
        source: digest of the workload's code (`RunSpec.source`).
    """

    run_id: str
    point_id: str
    cell: Mapping[str, Any]
    seed: int
    device: str
    runtime: str
    started_at: str
    commit: str
    source: str


@record
class LeftOut:
    """A file of a run that the archive does not hold, as weights or too large; only its digest."""

    bytes: int
    sha256: str


@record
class Bundle:
    """What a published profile is; its statement's predicate.

    Attributes:
        harness: the version that wrote it.
        left_out: path in the archive, had it been there -> the file.
    """

    scenario: str
    profile: Profile
    harness: str
    runs: tuple[BundledRun, ...]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    schema_version: int = BUNDLE_VERSION

    @property
    def content(self) -> bytes:
        """The bundle's own file."""
        return canonical_json(self).encode() + b"\n"

    def statement(self, archive: Path) -> bytes:
        """Return the in-toto statement about an archive of this bundle."""
        return statement(PREDICATE_TYPE, {ARCHIVE_FILE: sha256(archive)}, to_json(self))


@record
class Unpacked:
    """A bundle whose every byte is as its statement says.

    Attributes:
        store: the folder that the archive is unpacked in.
        digests: path below it -> sha256, of every file.
    """

    bundle: Bundle
    envelope: Envelope
    store: Path
    digests: Mapping[str, str]


def is_bundle(folder: Path) -> bool:
    """Return whether a profile's folder is a bundle, whole or not."""
    return (folder / ARCHIVE_FILE).exists() or (folder / STATEMENT_FILE).exists()


def manifest(digests: Mapping[str, str]) -> bytes:
    """Return the text of `MANIFEST_FILE` (path -> sha256)."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items())).encode()


def forget() -> None:
    """Remove all that was unpacked, as the end of a process does that may."""
    if _scratch.cache_info().currsize:
        shutil.rmtree(_scratch(), ignore_errors=True)
    _scratch.cache_clear()
    _unpacked.cache_clear()


def unpacked(folder: Path) -> Unpacked:
    """Return the bundle in a profile's folder, unpacked; it is removed when the process ends.

    Raises:
        InputError: it is not as it was written, or a newer harness wrote it; names the file.
    """
    try:
        stamps = [(folder / name).stat() for name in (ARCHIVE_FILE, STATEMENT_FILE)]
    except OSError as error:
        problem = Problem(message=f"cannot be read: {error.strerror}", path=Path(error.filename))
        raise InputError([problem]) from None
    known = tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in stamps)
    return _unpacked(folder.resolve(), known)


@functools.cache
def _scratch() -> Path:
    """Return a folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="harness-bundles-")
    atexit.register(forget)
    return Path(folder)


@functools.cache
def _unpacked(folder: Path, _stamps: tuple[tuple[int, int, int], ...]) -> Unpacked:
    archive, stated = folder / ARCHIVE_FILE, folder / STATEMENT_FILE
    envelope = read_envelope(stated)
    bundle = _stated(envelope, stated)
    if envelope.payload != bundle.statement(archive):
        message = f"is not as {stated} says: one of the two was changed"
        raise InputError([Problem(message=message, path=archive)])
    store = Path(tempfile.mkdtemp(dir=_scratch()))
    digests = unpack(archive, store)
    found = Unpacked(bundle=bundle, envelope=envelope, store=store, digests=digests)
    if problems := [*_faults(found, archive)]:
        raise InputError(problems)
    return found


def _stated(envelope: Envelope, path: Path) -> Bundle:
    """Return what a statement says that the bundle is.

    Raises:
        InputError: it is of another kind or of a newer version, or cannot be read.
    """
    try:
        document = read_json(envelope.payload)
        kind, predicate = document["predicateType"], document["predicate"]
        version = predicate["schema_version"]
    except (ValueError, LookupError, TypeError) as error:
        problem = Problem(message=f"holds no statement: {error!r}", path=path)
        raise InputError([problem]) from None
    if kind != PREDICATE_TYPE:
        problem = Problem(message="is about something else", path=path, allowed=PREDICATE_TYPE)
        raise InputError([problem])
    if type(version) is int and version > BUNDLE_VERSION:
        message = f"was published by a newer harness (bundle schema {version}): update this one"
        problem = Problem(
            message=message, path=path, key="schema_version", allowed=str(BUNDLE_VERSION)
        )
        raise InputError([problem])
    try:
        return from_json(Bundle, predicate)
    except ValueError as error:
        raise InputError([Problem(message=f"is damaged: {error}", path=path)]) from None


def _faults(found: Unpacked, archive: Path) -> list[Problem]:
    """Return what in an archive contradicts its statement, its manifest or its place."""
    listed = {path: digest for path, digest in found.digests.items() if path != MANIFEST_FILE}
    bundle, folder = found.bundle, archive.parent
    problems = []
    for name, content in ((MANIFEST_FILE, manifest(listed)), (BUNDLE_FILE, bundle.content)):
        try:
            is_right = read_regular_file(found.store / name) == content
        except OSError:
            is_right = False
        if not is_right:
            problems.append(f"{name} is not what the other files give")
    if (bundle.scenario, bundle.profile.value) != (folder.parent.name, folder.name):
        said = f"{bundle.scenario} {bundle.profile}"
        problems.append(f"is a bundle of {said}, not of {folder.parent.name} {folder.name}")
    own, runs = PurePosixPath(bundle.scenario), {run.run_id for run in bundle.runs}
    for path in (PurePosixPath(each) for each in listed):
        is_run = path.parts[:2] == (own.name, bundle.profile) and path.parts[2] in runs
        is_ledger = path.parts[:2] == (own.name, "ledgers")
        if not (is_run or is_ledger or len(path.parts) == 1):
            problems.append(f"holds {path}, which is no part of it")
    return [Problem(message=each, path=archive) for each in problems]
