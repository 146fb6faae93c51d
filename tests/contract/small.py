"""A small project of its own, and the program as a user starts it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from harness.cli import main

ROOT = Path(__file__).parents[2]
NAME = "a99-small"
SCENARIO = f"""\
scenario: {NAME}
title: A small question
question: Does a run report the value that it is given?
article: {{number: 99, title: An example, date: 2026-01-02}}
workload: noop
params: {{value: 3}}
replicates: 3
profiles:
  cpu: {{summary: on this machine}}
report:
  metrics: [noop.value]
"""
LEDGER = f"""\
scenario: {NAME}
sections:
- title: Figures
  entries:
  - id: value
    metric: noop.value
    unit: "1"
    kind: bound
    class: relative
    expect: {{value: 3, abs: 0.05}}
    reason: the article rounds to one decimal
    source: article 99, first table
"""


def make_project(root: Path, scenario: str = SCENARIO, ledger: str = LEDGER) -> Path:
    """Write a project of one scenario with three declared runs, and return its folder."""
    folder = root / "scenarios" / NAME
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(scenario, encoding="utf-8")
    (folder / "expectations.yaml").write_text(ledger, encoding="utf-8")
    (root / "containers").mkdir()
    (root / "containers" / "images.lock.yaml").write_text("{}\n", encoding="utf-8")
    return root


def harness(
    project: Path, *words: str, env: Mapping[str, str | None] | None = None, **popen: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own; both streams are caught unless given.

    Args:
        env: variables to set beside this process's; None removes one.
    """
    around = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
    return subprocess.run(
        [sys.executable, "-m", "harness", *words, "--project", str(project)],
        check=False,
        timeout=600,
        env={name: value for name, value in around.items() if value is not None},
        **streams,
    )


def called(project: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program in this process, which is quicker; what it may not survive needs its own."""
    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "--project", str(project)])
    signal.signal(signal.SIGTERM, before)
    printed = [stream.getvalue().encode(errors="replace") for stream in (out, err)]
    return subprocess.CompletedProcess(words, code, *printed)


def runs_of(project: Path) -> list[Path]:
    """Return the folders of the finished runs."""
    return sorted(
        path for path in project.glob(f"results/local/{NAME}/cpu/*") if "." not in path.name
    )
