"""A repository with a workload whose speed can be changed by a commit.

It is a copy of this one's program with one scenario, ``a99-spin``: a loop of a fixed amount of work
that is timed again and again. A commit that changes `work` makes it slower
by as much, and changes nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.records import record

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = "a99-spin"

_DECLARED = '''\
"""A loop of a fixed amount of work."""

from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param


@record
class SpinParams:
    """How often the work is done."""

    # two to four seconds of them: a virtual machine may be half as fast for a second or two, when
    # another one is busy on the same core; the fastest of so many is still one of the other kind
    repeats: int = param(10_000, doc="how often it is done", low=1)


WORKLOADS = (
    Workload(
        name="spin",
        doc="do a fixed amount of work, and time it",
        params=SpinParams,
        metrics=(
            Metric(
                name="spin.fastest",
                unit="ms",
                doc="of one repeat, the fastest",
                better=Better.LOWER,
                timing=True,
            ),
            Metric(
                name="spin.median",
                unit="ms",
                doc="of one repeat, the median",
                better=Better.LOWER,
                timing=True,
            ),
        ),
        entry="harness.experiments.spin.run:run",
    ),
)
'''
_RUN = '''\
"""Do it."""

import time
from statistics import median

from harness.workloads.api.context import Context

WORK = {work}
# the work grows, its measure stays


def run(context: Context) -> None:
    """Time each repeat."""
    context.emit.started("no device")
    times = []
    for _ in range(context.params.repeats):
        began, left = time.perf_counter(), WORK
        while left:
            left -= 1
        times.append(1e3 * (time.perf_counter() - began))
    context.emit.measured("spin.fastest", min(times))
    context.emit.measured("spin.median", median(times))
'''
_SCENARIO = """\
scenario: a99-spin
title: A loop of a fixed amount of work
question: How long does it take?
article: {number: 99, title: spin}
workload: spin
profiles:
  cpu:
    summary: small
report:
  metrics: [spin.fastest]
"""
_LEDGER = """\
scenario: a99-spin
sections:
- title: Time
  entries:
  - id: time
    metric: spin.fastest
    class: reported
    unit: ms
    claimed: 1.0
    binds: {}
    source: generated
"""


@record
class Repository:
    """The repository, and where its cache is.

    Attributes:
        root: its checkout.
        cache: what the program keeps beside it.
    """

    root: Path
    cache: Path

    def commit(self, work: int, subject: str) -> str:
        """Change the work, and return the commit."""
        run = self.root / "harness" / "experiments" / "spin" / "run.py"
        run.write_text(_RUN.format(work=work), encoding="utf-8")
        return self.committed(subject)

    def committed(self, subject: str) -> str:
        """Commit what has changed, and return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        """Return what git says."""
        command = ("git", "-C", str(self.root), "-c", "user.name=x", "-c", "user.email=x@x.example")
        return subprocess.run(
            (*command, *arguments), check=True, capture_output=True, text=True
        ).stdout

    def harness(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the repository's own program."""
        environ = {
            **{name: value for name, value in os.environ.items() if name[:8] != "HARNESS_"},
            "PYTHONPATH": str(self.root),
            "XDG_CACHE_HOME": str(self.cache),
            "HARNESS_HOST_PROBE": "off",
        }
        command = (sys.executable, "-m", "harness", *arguments)
        return subprocess.run(
            command, cwd=self.root, env=environ, check=False, capture_output=True, text=True
        )

    def night(self, store: Path, *more: str) -> None:
        """Measure the present commit into a store of its own."""
        done = self.harness("run", SCENARIO, "--quiet", f"--store={store}", *more)
        if not list(store.rglob("outcome.json")):
            raise AssertionError(done.stderr)

    def regress(self, store: Path, *more: str) -> subprocess.CompletedProcess[str]:
        """Judge what a store holds."""
        return self.harness("regress", SCENARIO, f"--store={store}", *more)


def make_repository(folder: Path, work: int) -> Repository:
    """Return a new repository, its first commit made.

    Args:
        folder: an empty folder.
        work: how much the workload does.
    """
    root = folder / "repository"
    without = shutil.ignore_patterns("__pycache__", "checkpoints")
    shutil.copytree(ROOT / "harness", root / "harness", ignore=without)
    spin = root / "harness" / "experiments" / "spin"
    spin.mkdir()
    (spin / "__init__.py").write_text('"""Spin."""\n', encoding="utf-8")
    (spin / "params.py").write_text(_DECLARED, encoding="utf-8")
    registry = root / "harness" / "workloads" / "api" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    line = '    "noop": "harness.workloads.noop",\n'
    assert line in text
    new = text.replace(line, f'{line}    "spin": "harness.experiments.spin.params",\n')
    registry.write_text(new, encoding="utf-8")
    scenario = root / "scenarios" / SCENARIO
    scenario.mkdir(parents=True)
    (scenario / "scenario.yaml").write_text(_SCENARIO, encoding="utf-8")
    (scenario / "expectations.yaml").write_text(_LEDGER, encoding="utf-8")
    shutil.copytree(ROOT / "containers", root / "containers")
    (root / ".gitignore").write_text("__pycache__/\n/results/local/\n", encoding="utf-8")
    made = Repository(root=root, cache=folder / "cache")
    made.git("init", "--quiet")
    made.commit(work, "Begin")
    return made
