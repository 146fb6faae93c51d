"""A version of the harness beside this one: a commit's tree, and the image that its runs used.

A version is run as a user would run it, by its own code in its own tree: ``python -m harness run``
of one cell with one seed, into a store of its own that is deleted afterwards. Nothing is reused, so
each execution is measured anew.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from docker.errors import ImageNotFound

from harness import atomic
from harness.errors import HostError
from harness.history.rows import Night
from harness.records import ImageRef, Profile, Scalar, Status, canonical_json, record
from harness.report.figures import setting
from harness.results.measured import measured
from harness.results.store import RunStore
from harness.runtime import engine
from harness.scenario.images import read_lock, this_platform, with_built, write_lock
from harness.units import convert
from harness.variables import PROBE_VARIABLE
from harness.workloads.api.declare import Metric

_TAIL = 3  # lines of a run's last words in a message


class VersionFailed(Exception):  # noqa: N818 - what `git bisect` calls a commit to skip
    """A version does not run here; says why."""


@record
class AskedCell:
    """One cell of a scenario, as it is asked for on the command line."""

    scenario: str
    profile: Profile
    point: str
    cell: Mapping[str, Scalar]
    seed: int

    @classmethod
    def of(cls, night: Night) -> AskedCell:
        """Return the cell that a night measured."""
        return cls(
            scenario=night.scenario,
            profile=night.profile,
            point=night.point,
            cell=night.cell,
            seed=night.seed,
        )


@record
class Version:
    """A tree of the harness, and the image its runs use.

    Attributes:
        name: for people: the commit's first digits.
        image: None for the local runtime.
    """

    name: str
    root: Path
    image: ImageRef | None = None


def image_of(night: Night) -> ImageRef | None:
    """Return the image that a night's runs used."""
    name, _, digest = night.image.partition("@")
    return ImageRef(name=name, digest=digest) if digest else None


def at_commit(project: Path, commit: str, image: ImageRef | None, trees: Path) -> Version:
    """Return the version of a commit, with its tree among `trees`.

    Args:
        project: a checkout whose repository has the commit.
        commit: as git names it.
        image: the image to run it in; its digest is put into the tree's lock.
        trees: the folder that trees are kept in.

    Raises:
        HostError: the commit or the image cannot be had any more.
    """
    root = checked_out(project, commit, trees)
    if image is not None:
        _require(image)
        containers = root / "containers"
        lock = read_lock(containers)
        if image.name not in lock:
            message = f"commit {commit[:10]} knows no image {image.name}"
            raise HostError(message)
        write_lock(
            containers,
            with_built(lock, image.name, this_platform(), image.digest, accept=True),
        )
    return Version(name=commit[:10], root=root, image=image)


def checked_out(project: Path, commit: str, trees: Path) -> Path:
    """Return a folder with the tree of a commit; written whole, and used again.

    Raises:
        HostError: the repository does not have it.
    """
    full = git(project, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").strip()
    root = trees / full
    if not root.is_dir():
        # an archive leaves nothing in the user's repository, as a worktree would
        archive = subprocess.run(
            ("git", "-C", str(project), "archive", "--format=tar", full),  # noqa: S607 - the user's git
            check=False,
            capture_output=True,
        )
        if archive.returncode:
            _no_commit(commit, archive.stderr)
        trees.mkdir(parents=True, exist_ok=True)
        with (
            atomic.new_folder(root) as new,
            tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar,
        ):
            tar.extractall(new, filter="data")
    return root


def git(project: Path, *arguments: str) -> str:
    """Return what git says.

    Raises:
        HostError: git fails.
    """
    done = subprocess.run(
        ("git", "-C", str(project), *arguments),  # noqa: S607 - the user's git
        check=False,
        capture_output=True,
    )
    if done.returncode:
        _no_commit(arguments[-1].removesuffix("^{commit}"), done.stderr)
    return done.stdout.decode("utf-8", "replace")


def _no_commit(what: str, said: bytes) -> None:
    reason = said.decode("utf-8", "replace").strip().partition("\n")[0]
    message = f"git does not have {what}: {reason or 'no such commit'}"
    raise HostError(message, "git fetch --unshallow, or name another commit")


def _require(image: ImageRef) -> None:
    try:
        with engine.connected() as client:
            client.images.get(image.digest)
    except ImageNotFound:
        message = f"the image {image.name}@{image.digest[:19]} is not in this engine any more"
        raise HostError(message) from None


def run_once(
    version: Version, cell: AskedCell, metrics: Mapping[str, Metric], timeout_s: float
) -> dict[tuple[str, str], float]:
    """Run a cell once, and return its figures: metric and row keys -> value in the metric's unit.

    Raises:
        VersionFailed: it does not run, or another image took the place of its own.
    """
    with tempfile.TemporaryDirectory(prefix="harness-pair-") as folder:
        store = Path(folder) / "store"
        command = [sys.executable, "-m", "harness", "run", cell.scenario]
        command += [f"--profile={cell.profile}", f"--store={store}", f"--project={version.root}"]
        command += [f"--only={axis}={setting(value)}" for axis, value in cell.cell.items()]
        command += [f"--seed={cell.seed}", "--replicates=1", "--quiet"]
        command += [f"--runtime={'docker' if version.image else 'local'}"]
        environ = {**os.environ, "PYTHONPATH": str(version.root), PROBE_VARIABLE: "off"}
        try:
            done = subprocess.run(
                command,
                cwd=version.root,
                env=environ,
                check=False,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            message = f"{version.name} did not end within {timeout_s:.0f} s"
            raise VersionFailed(message) from None
        found = RunStore(store).runs(cell.scenario, cell.profile) if store.is_dir() else []
        if len(found) != 1 or found[0].outcome.status is not Status.FINISHED:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-_TAIL:]
            message = f"{version.name} does not run: {' | '.join(said) or 'it says nothing'}"
            raise VersionFailed(message)
        run = found[0]
        if run.spec.image != version.image:
            message = f"{version.name} ran in {run.spec.image}, not in {version.image}"
            raise VersionFailed(message)
        if run.spec.point_id != cell.point:
            message = f"{version.name} asks another question: its params differ"
            raise VersionFailed(message)
        figures: dict[tuple[str, str], float] = {}
        for each in measured(run, metrics):
            if isinstance(each.value, int | float) and not isinstance(each.value, bool):
                key = each.metric, canonical_json(each.where)
                figures[key] = convert(float(each.value), each.unit, metrics[each.metric].unit)
        return figures
