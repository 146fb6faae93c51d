"""The same work for ReFrame: its generated checks, and its command lines.

ReFrame has no index of its checks, no results that it would not run again, and no check apart from
a run, so only three rows have a peer.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from tests.bench.byhand import program_cpu_s
from tests.bench.corpus import NUM_SCENARIOS
from tests.bench.cost import ROOT, Program, cpu_s

NUM_CELLS = 20

_LISTED = '''\
import reframe as rfm
import reframe.utility.sanity as sn


@rfm.simple_test
class Nothing{number}(rfm.RunOnlyRegressionTest):
    """Nothing, done in question {number}."""

    valid_systems = ["*"]
    valid_prog_environs = ["builtin"]
    executable = "true"
    value = variable(float, value={number}.5)

    @sanity_function
    def ended(self):
        return sn.assert_true(True)
'''

_CELLS = '''\
import reframe as rfm
import reframe.utility.sanity as sn


@rfm.simple_test
class Nothing(rfm.RunOnlyRegressionTest):
    """Nothing, in many cells: the very program that a cell of ours runs."""

    valid_systems = ["*"]
    valid_prog_environs = ["builtin"]
    executable = {python!r}
    executable_opts = ["-m", "harness.workloads", "noop", {spec!r}, "."]
    env_vars = {{"PYTHONPATH": {root!r}}}
    index = parameter(range({number}))

    @sanity_function
    def ended(self):
        return sn.assert_found('"kind": "finished"', "events.jsonl")

    @performance_function("1")
    def value(self):
        return sn.extractsingle(r'"value": ([0-9.]+)', "events.jsonl", 1, float)
'''


class ReFrame:
    """ReFrame on generated checks; each method measures once, CPU seconds.

    Args:
        program: the command ``reframe``.
        folder: a new folder for checks, stages and logs.
        spec: the spec.json of a run that does nothing.
    """

    def __init__(self, program: Path, folder: Path, spec: Path) -> None:
        self._program = program
        self._folder = folder
        self._spec = spec
        _write_listed(folder / "list")
        _write_cells(folder / "cells", spec)

    def version(self) -> float:
        """``reframe --version``."""
        return self._cost("--version", says=".")

    def list_scenarios(self) -> float:
        """``reframe --list`` of as many checks as the harness lists scenarios, a file each."""
        return self._cost(*self._checks("list"), "--list", says=f"Found {NUM_SCENARIOS} check(s)")

    def cell(self) -> float:
        """One cell that does nothing, beyond its program started by hand and the start-up."""
        started = self._cost(*self._checks("cells"), "--list", says=f"Found {NUM_CELLS} check(s)")
        ran = f"Ran {NUM_CELLS}/{NUM_CELLS} test case(s)"
        run = self._cost(*self._checks("cells"), "--exec-policy=serial", "--run", says=ran)
        alone = [program_cpu_s(self._spec) for _ in range(NUM_CELLS)]
        return (run - started) / NUM_CELLS - statistics.median(alone)

    def _checks(self, name: str) -> tuple[str, str]:
        return "--checkpath", str(self._folder / name)

    def _cost(self, *arguments: str, says: str) -> float:
        folder = str(self._folder)
        env = {"HOME": folder, "TMPDIR": folder, "RFM_PREFIX": folder, "RFM_COLORIZE": "n"}
        program = Program(arguments=(str(self._program), *arguments), env=env, says=says)
        return cpu_s(program, self._folder / "printed")


def _write_listed(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(NUM_SCENARIOS):
        text = _LISTED.format(number=number)
        (folder / f"nothing{number:04d}.py").write_text(text, encoding="utf-8")


def _write_cells(folder: Path, spec: Path) -> None:
    folder.mkdir(parents=True)
    facts = {"python": sys.executable, "spec": str(spec), "root": str(ROOT)}
    text = _CELLS.format(number=NUM_CELLS, **facts)
    (folder / "nothing.py").write_text(text, encoding="utf-8")
