"""``harness fetch``: bring a scenario's published evidence here, and verify it."""

from __future__ import annotations

import argparse
import json

from tabulate import tabulate

from harness.commands.project import cache_folder, open_project
from harness.commands.selection import open_scenario
from harness.errors import ExitCode
from harness.runtime.evidence import evidence_folder, fetch


def main(options: argparse.Namespace) -> ExitCode:
    """Fetch and print the state of every file."""
    scenario = open_scenario(open_project(options), options).scenario
    folder = evidence_folder(cache_folder())
    fetched = fetch(scenario.evidence, folder)
    rows = [(each.file, each.state.value) for each in fetched]
    if options.json:
        print(json.dumps([{"file": file, "state": state} for file, state in rows], indent=1))
    elif rows:
        print(tabulate(rows, headers=("file", "state"), tablefmt="simple"))
        print(f"in {folder}")
    else:
        print(f"{scenario.scenario} has no published raw data")
    return ExitCode.OK
