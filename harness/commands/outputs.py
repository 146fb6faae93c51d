"""The files that `run` and `check` leave for a CI system: JUnit XML and a job summary."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from harness import atomic
from harness.commands.project import Project
from harness.report.dossier import Dossier
from harness.report.github import annotate, render_summary
from harness.report.junit import render_junit
from harness.scenario.folders import EXPECTATIONS_FILE
from harness.scenario.positions import read


def write_outputs(
    dossiers: Sequence[Dossier], project: Project, options: argparse.Namespace
) -> None:
    """Write what the options ask for; on GitHub also annotate the ledger's lines.

    Raises:
        HostError: a file cannot be written.
    """
    if options.junit:
        atomic.write_text(options.junit, render_junit(dossiers))
    if options.summary:
        try:
            with options.summary.open("a", encoding="utf-8") as file:
                file.write(render_summary(dossiers))
        except OSError as error:
            raise atomic.unwritable(options.summary, error) from None
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for dossier in dossiers:
            ledger = read(project.scenarios / dossier.scenario.scenario / EXPECTATIONS_FILE)
            for line in annotate(dossier.verdicts, ledger, project.root):
                print(line)
