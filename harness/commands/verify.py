"""``harness verify``: derive all that is published from its bundles again, and compare. Offline.

Without any key it says whether something was changed since it was published. With a list of allowed
signers it also says who published it, and takes nothing that none of them did.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from harness.commands.publish import published_reports
from harness.errors import ExitCode, HarnessError, InputError, Problem
from harness.printable import printable_lines
from harness.records import Profile, record
from harness.report.files import published_files
from harness.results import published, signature
from harness.results.bundle import Unpacked, forget, unpacked
from harness.results.files import ARCHIVE_FILE, STATEMENT_FILE
from harness.results.store import RunStore
from harness.scenario.folders import folders
from harness.scenario.load import Loaded, load
from harness.session.options import VerifyOptions
from harness.session.output import OutputError, error_of, print_answer
from harness.session.project import open_project
from harness.units import counted

# what lies beside the scenarios' results
_BESIDE = frozenset({signature.ALLOWED_SIGNERS_FILE, "README.md", "bench", "history", "local"})

_AT_ONCE = 3  # scenarios a process: fewer are not worth one


@record
class Signer:
    """Who signed a bundle.

    Attributes:
        key: its fingerprint.
        name: by the list of allowed signers; empty where there is none, or it lacks the key.
    """

    key: str
    name: str


@record
class VerifiedProfile:
    """A published profile whose bundle is what it was."""

    scenario: str
    profile: Profile
    run_ids: tuple[str, ...]
    commits: tuple[str, ...]
    signers: tuple[Signer, ...]


@record
class Verification:
    """What `verify` found.

    Attributes:
        unpublished: scenarios that nothing is published of.
        problems: what is not as it was published, file by file.
    """

    profiles: tuple[VerifiedProfile, ...]
    unpublished: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def exit_code(self) -> ExitCode:
        """1 where something was changed; 4 where a scenario has nothing to verify."""
        if self.problems:
            return ExitCode.OUTSIDE
        return ExitCode.INCONCLUSIVE if self.unpublished else ExitCode.OK


@record
class VerifyAnswer:
    """The answer of ``harness verify --json`` (`Verification`)."""

    profiles: tuple[VerifiedProfile, ...]
    unpublished: tuple[str, ...]
    problems: tuple[OutputError, ...]


def main(options: VerifyOptions) -> ExitCode:
    """Verify what is published of every scenario; exit 1 if anything is not as it was published.

    Raises:
        InputError: there is no such folder, or no such list of signers.
    """
    project = open_project(options)
    root = options.results or project.published
    if not root.is_dir():
        raise InputError([Problem(message="is no folder of published results", path=root)])
    if options.key and not options.key.is_file():
        raise InputError([Problem(message="is no file of allowed signers", path=options.key)])
    beside = root / signature.ALLOWED_SIGNERS_FILE
    allowed = options.key or (beside if beside.is_file() else None)
    every = folders(project.scenarios)
    found = verify(every, root, allowed, must_be_signed=options.key is not None)
    if options.json:
        answer = VerifyAnswer(
            profiles=found.profiles,
            unpublished=found.unpublished,
            problems=tuple(map(error_of, found.problems)),
        )
        print_answer(options, answer, found.exit_code)
    else:
        print(printable_lines("\n".join(_lines(found))))
    return found.exit_code


def verify(
    scenarios: Sequence[Path], root: Path, allowed: Path | None, *, must_be_signed: bool
) -> Verification:
    """Verify the results under `root`, several scenarios at once: drawing plots takes the time.

    Args:
        scenarios: the folders of all that results may be of.
        root: the folder ``results``.
        allowed: a list of allowed signers; None for none.
        must_be_signed: whether a bundle that none of them signed is refused.
    """
    ask = partial(_of_scenario, root=root, allowed=allowed, must_be_signed=must_be_signed)
    workers = min(len(scenarios) // _AT_ONCE, len(os.sched_getaffinity(0)))
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
            parts = [*pool.map(ask, scenarios)]
    else:
        parts = [*map(ask, scenarios)]
    strays = tuple(_strays(scenarios, root))
    return Verification(
        profiles=tuple(each for part in parts for each in part.profiles),
        unpublished=tuple(each for part in parts for each in part.unpublished),
        problems=(*strays, *(each for part in parts for each in part.problems)),
    )


def _of_scenario(
    folder: Path, root: Path, allowed: Path | None, *, must_be_signed: bool
) -> Verification:
    """Verify the results of one scenario."""
    loaded, store = load(folder), RunStore(root)
    name = folder.name
    bundles = [each for each in Profile if store.is_bundle(name, each)]
    profiles: list[VerifiedProfile] = []
    wrong: list[Problem] = []
    for profile in bundles:
        place = root / name / profile
        if faults := [*published.faults(place)]:
            wrong += faults
            continue
        seen = unpacked(place)
        signers = _signers(seen, allowed)
        path = place / STATEMENT_FILE
        wrong += _unsigned(signers, path, allowed, must_be_signed=must_be_signed)
        profiles.append(_described(seen, signers))
    wrong = wrong or [*_derived(loaded, store, bundles)]
    forget()  # what was unpacked: a process of a pool does nothing at its exit
    return Verification(
        profiles=tuple(profiles),
        unpublished=() if bundles else (name,),
        problems=tuple(wrong),
    )


def _derived(loaded: Loaded, store: RunStore, bundles: Sequence[Profile]) -> Iterator[Problem]:
    """Yield which files beside a scenario's bundles are not what these give."""
    folder = store.root / loaded.scenario.scenario
    try:
        reports = published_reports(loaded, store) if bundles else []
        files = published_files(reports)
    except HarnessError as error:
        yield Problem(message=f"cannot be derived again: {error}", path=folder)
        return
    for report in reports:
        if report.missing and report.profile in bundles:
            yield Problem(message=report.missing, path=folder / report.profile / ARCHIVE_FILE)
    known = {*files} | {f"{each}/{name}" for each in bundles for name in _BUNDLE}
    for name, text in files.items():
        path = folder / name
        if not path.is_file():
            yield Problem(message="is missing", path=path)
        elif path.is_symlink() or path.read_bytes() != text.encode():
            line = _first_difference(path.read_bytes(), text.encode())
            message = "is not what the bundles give: harness publish --all writes it again"
            yield Problem(message=message, path=path, line=line)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()):
            yield Problem(message="is no part of what is published", path=path)


_BUNDLE = (ARCHIVE_FILE, STATEMENT_FILE)


def _first_difference(one: bytes, other: bytes) -> int:
    """Return the first line, from 1, in which two texts differ."""
    lines = zip(one.split(b"\n"), other.split(b"\n"), strict=False)
    same = 0
    for left, right in lines:
        if left != right:
            break
        same += 1
    return same + 1


def _strays(scenarios: Sequence[Path], root: Path) -> Iterator[Problem]:
    """Yield what lies among the results and belongs to none."""
    names = {folder.name for folder in scenarios} | _BESIDE
    for path in sorted(root.iterdir()):
        if path.name not in names and path.name[0] != ".":
            yield Problem(message="is no part of what is published", path=path)


def _signers(found: Unpacked, allowed: Path | None) -> tuple[Signer, ...]:
    message = found.envelope.signed_bytes
    return tuple(
        Signer(
            key=each.key,
            name=signature.signer(message, each.blob, allowed) if allowed else "",
        )
        for each in found.envelope.signatures
    )


def _unsigned(
    signers: Sequence[Signer], path: Path, allowed: Path | None, *, must_be_signed: bool
) -> Iterator[Problem]:
    """Yield why a bundle is not taken as somebody's, where that matters."""
    if not signers and must_be_signed:
        yield Problem(message="is unsigned, and --key asks whose it is", path=path)
    for each in signers if allowed else ():
        if not each.name:
            message = f"is signed by {each.key}, which {allowed} does not name"
            yield Problem(message=message, path=path)


def _described(found: Unpacked, signers: tuple[Signer, ...]) -> VerifiedProfile:
    bundle = found.bundle
    return VerifiedProfile(
        scenario=bundle.scenario,
        profile=bundle.profile,
        run_ids=tuple(run.run_id for run in bundle.runs),
        commits=tuple(sorted({run.commit for run in bundle.runs})),
        signers=signers,
    )


def _lines(found: Verification) -> Iterator[str]:
    for each in found.profiles:
        runs = counted(len(each.run_ids), "run")
        commits = ", ".join(commit[:10] for commit in each.commits)
        yield f"{each.scenario} {each.profile}: as published; {runs}, commit {commits}; {_by(each)}"
    yield from (f"NOT AS PUBLISHED: {each}" for each in found.problems)
    yield from (f"{name}: nothing is published" for name in found.unpublished)
    parts = [f"{counted(len(found.profiles), 'bundle')} verified"]
    if found.problems:
        parts.append(f"{counted(len(found.problems), 'problem')}")
    yield "; ".join(parts)


def _by(each: VerifiedProfile) -> str:
    if not each.signers:
        return "unsigned"
    known = [signer.name or f"{signer.key} (a key of nobody known here)" for signer in each.signers]
    return f"signed by {', '.join(known)}"
