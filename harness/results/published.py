"""Publish a profile's runs as a bundle, and derive all that a bundle says again."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness import __version__, atomic
from harness.errors import HarnessError, HostError, InputError, Problem
from harness.records import FinishedRun, Profile, RunSpec, Status
from harness.results import signature
from harness.results.archive import MAX_ARCHIVE_BYTES, MAX_BYTES, pack, sha256
from harness.results.bundle import (
    BUNDLE_FILE,
    MANIFEST_FILE,
    Bundle,
    BundledRun,
    LeftOut,
    Unpacked,
    manifest,
    unpacked,
)
from harness.results.crate import CRATE_FILE, crate
from harness.results.files import ARCHIVE_FILE, STATEMENT_FILE
from harness.results.remeasured import differences
from harness.results.statement import Envelope, Signature
from harness.results.store import (
    ENVIRONMENT_FILE,
    LEDGERS,
    MEASUREMENTS_FILE,
    OUTCOME_FILE,
    SEGMENT_FILE,
    SPEC_FILE,
    RunStore,
)
from harness.workloads.api.emit import EVENTS_FILE
from harness.workloads.api.steps import EARLIER_FILE

# what a run's folder holds for whoever watches it or looks for a fault; nothing is read from it
_FOR_PEOPLE = {"progress.jsonl", SEGMENT_FILE, EARLIER_FILE}
_WHOLE = (SPEC_FILE, OUTCOME_FILE, MEASUREMENTS_FILE, ENVIRONMENT_FILE, EVENTS_FILE)
# what is published by its digest: nothing is computed from weights, and a run may have many
_WEIGHTS = ".safetensors"
_LARGEST = 16 * 2**20


def publish(runs: Sequence[FinishedRun], source: RunStore, target: Path, key: Path | None) -> None:
    """Replace a profile's folder by a bundle of its runs; all of it is checked before.

    Args:
        runs: of one scenario and profile, finished.
        source: the store that they are in.
        target: the folder ``results/<scenario>/<profile>``.
        key: to sign with; None for a bundle that says that it is unsigned.

    Raises:
        HostError: a run's folder is not whole, is too large, or the bundle cannot be written.
        InputError: what is stored contradicts itself; names it.
    """
    runs = sorted(runs, key=lambda run: (run.spec.point_id, run.spec.seed))  # as `RunStore.runs`
    first = runs[0].spec
    files, left_out = _contents(runs, source)
    bundle = Bundle(
        scenario=first.scenario,
        profile=first.profile,
        harness=__version__,
        runs=tuple(map(_described, runs)),
        left_out=left_out,
    )
    parts: dict[str, Path | bytes] = {**files, BUNDLE_FILE: bundle.content}
    parts[CRATE_FILE] = crate(_title(first), runs, _sizes(parts))
    parts[MANIFEST_FILE] = manifest({path: _digest(each) for path, each in parts.items()})
    if sum(_sizes(parts).values()) > MAX_BYTES // 2:
        message = f"the runs are larger than {MAX_BYTES // 2} bytes, and nobody could open them"
        raise HostError(message, f"look for what fills {source.folder(first).parent}")
    try:
        # checked under the names that it will have, before it takes the place of another
        with tempfile.TemporaryDirectory(prefix="harness-publish-") as scratch:
            new = Path(scratch) / first.scenario / first.profile
            new.mkdir(parents=True)
            pack(parts, new / ARCHIVE_FILE)
            if (size := (new / ARCHIVE_FILE).stat().st_size) > MAX_ARCHIVE_BYTES:
                message = f"the archive has {size} bytes; {MAX_ARCHIVE_BYTES} are allowed"
                raise HostError(message, f"look for what fills {source.folder(first).parent}")
            envelope = Envelope(payload=bundle.statement(new / ARCHIVE_FILE))
            _write(new, envelope, key)
            if problems := [*faults(new)]:
                raise InputError(replace(each, path=source.root) for each in problems)
            with atomic.new_folder(target) as place:
                for name in (ARCHIVE_FILE, STATEMENT_FILE):
                    shutil.copyfile(new / name, place / name)
    except OSError as error:
        raise atomic.unwritable(target, error) from None


def sign(folder: Path, key: Path) -> str:
    """Sign the bundle in a profile's folder, in place of whoever signed it, and return the key.

    Raises:
        InputError: it is not as it was written.
        HostError: OpenSSH cannot sign with this key.
    """
    if problems := [*faults(folder)]:
        raise InputError(problems)
    return _write(folder, replace(unpacked(folder).envelope, signatures=()), key)


def faults(folder: Path) -> Iterator[Problem]:
    """Yield all in which the bundle in a profile's folder is not what its runs' files give.

    That are its records, the measurements of each run from its events, the description of the
    crate, and whether each signature is of the key that it names.
    """
    archive = folder / ARCHIVE_FILE
    try:
        found = unpacked(folder)
    except InputError as error:
        yield from error.problems
        return
    for message in (*_contradictions(found), *signature_faults(found.envelope)):
        is_archives = not message.startswith("signature")
        yield Problem(message=message, path=archive if is_archives else folder / STATEMENT_FILE)


def signature_faults(envelope: Envelope) -> Iterator[str]:
    """Yield what is wrong with the signatures of a statement, whoever made them."""
    for each in envelope.signatures:
        try:
            is_named = signature.key_id(each.blob) == each.key
            why = signature.fault(envelope.signed_bytes, each.blob) if is_named else "names another"
        except ValueError as error:
            why = str(error)
        if why:
            yield f"signature of {each.key} {why}"


def _contradictions(found: Unpacked) -> Iterator[str]:
    store, bundle = RunStore(found.store), found.bundle
    try:
        runs = store.runs(bundle.scenario, bundle.profile)
        schemas = store.other_schemas(bundle.scenario, bundle.profile)
    except InputError as error:
        for each in error.problems:
            yield str(_inside(each, found.store))
        return
    if schemas:
        return  # another harness's records: nothing here can read them, as `RunStore` says
    if tuple(map(_described, runs)) != bundle.runs:
        yield f"{BUNDLE_FILE} does not describe the runs that are there"
    for run in runs:
        folder = store.folder(run.spec)
        try:
            yield from (f"{run.spec.run_id}: {each}" for each in differences(folder, run))
        except (HarnessError, ValueError) as error:
            yield f"{run.spec.run_id}: {str(error).replace(f'{found.store}/', '')}"
        if run.outcome.status is not Status.FINISHED:
            yield f"{run.spec.run_id} did not finish"
    listed = {
        path: (found.store / path).stat().st_size
        for path in found.digests
        if path not in {CRATE_FILE, MANIFEST_FILE}
    }
    described = (found.store / CRATE_FILE).read_bytes() if CRATE_FILE in found.digests else b""
    if runs and described != crate(_title(runs[0].spec), runs, listed):
        yield f"{CRATE_FILE} does not describe the files that are there"


def _inside(problem: Problem, store: Path) -> Problem:
    """Return a problem with its path as the archive has it."""
    path = problem.path
    inside = path.relative_to(store) if path and path.is_relative_to(store) else path
    return replace(problem, path=inside)


def _contents(
    runs: Sequence[FinishedRun], source: RunStore
) -> tuple[dict[str, Path], dict[str, LeftOut]]:
    """Return the files of some runs and their ledgers, by path in the archive; and those left out.

    Raises:
        HostError: a run's folder lacks a file, or holds something that is none.
    """
    files: dict[str, Path] = {}
    left_out: dict[str, LeftOut] = {}
    for run in runs:
        folder, spec = source.folder(run.spec), run.spec
        if absent := [name for name in _WHOLE if not (folder / name).is_file()]:
            message = f"a stored run is not whole: {folder / absent[0]} is missing"
            raise HostError(message, f"mv {folder} elsewhere, then run it again")
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                message = f"a stored run holds something that is no file: {path}"
                raise HostError(message, f"mv {folder} elsewhere, then run it again")
            if path.is_dir() or path.name in _FOR_PEOPLE or path.suffix == ".log":
                continue
            name = f"{spec.scenario}/{spec.profile}/{spec.run_id}/{path.relative_to(folder)}"
            if (size := path.stat().st_size) > _LARGEST or path.suffix == _WEIGHTS:
                left_out[name] = LeftOut(bytes=size, sha256=sha256(path))
            else:
                files[name] = path
        if ledger := source.ledger_file(spec):
            files[f"{spec.scenario}/{LEDGERS}/{ledger.name}"] = ledger
    return files, left_out


def _described(run: FinishedRun) -> BundledRun:
    code = run.environment.get("code") or {}
    return BundledRun(
        run_id=run.spec.run_id,
        point_id=run.spec.point_id,
        cell=run.spec.cell,
        seed=run.spec.seed,
        device=run.outcome.device,
        runtime=run.outcome.runtime,
        started_at=run.outcome.started_at,
        commit=str(code.get("commit") or ""),
        source=run.spec.source,
    )


def _title(spec: RunSpec) -> str:
    return f"{spec.scenario}, {Profile(spec.profile)} profile"


def _sizes(parts: dict[str, Path | bytes]) -> dict[str, int]:
    return {
        path: len(each) if isinstance(each, bytes) else each.stat().st_size
        for path, each in parts.items()
    }


def _digest(content: Path | bytes) -> str:
    if isinstance(content, Path):
        return sha256(content)
    return hashlib.sha256(content).hexdigest()


def _write(folder: Path, envelope: Envelope, key: Path | None) -> str:
    """Write a statement, signed where there is a key, and return the key's fingerprint."""
    signed, name = envelope, ""
    if key is not None:
        blob = signature.sign(envelope.signed_bytes, key)
        name = signature.key_id(blob)
        signed = replace(envelope, signatures=(Signature(key=name, blob=blob),))
    with atomic.new_file(folder / STATEMENT_FILE) as temporary:
        temporary.write_bytes(signed.line)
    return name
