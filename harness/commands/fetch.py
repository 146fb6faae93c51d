"""``harness fetch``: bring a scenario's published evidence here, and verify it."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress

from tabulate import tabulate

from harness.commands.project import cache_folder, open_project
from harness.commands.selection import open_scenario
from harness.errors import ExitCode, HostError
from harness.runtime.evidence import evidence_folder, fetch, statuses


def main(options: argparse.Namespace) -> ExitCode:
    """Fetch and print the state of every file; those that no profile reads may stay away.

    Raises:
        HostError: a file that a profile reads cannot be had.
    """
    scenario = open_scenario(open_project(options), options).scenario
    folder = evidence_folder(cache_folder(), scenario.evidence)
    read = {file for model in scenario.profiles.values() for file in model.uses}
    fetch([each for each in scenario.evidence if each.file in read], folder)
    with suppress(HostError):
        fetch([each for each in scenario.evidence if each.file not in read], folder)
    rows = [
        (each.file, each.state.value, "read" if each.file in read else "optional")
        for each in statuses(scenario.evidence, folder)
    ]
    headers = ("file", "state", "by profiles")
    if options.json:
        keys = ("file", "state", "need")
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=1))
    elif rows:
        print(tabulate(rows, headers=headers, tablefmt="simple"))
        print(f"in {folder}")
    else:
        print(f"{scenario.scenario} has no published raw data")
    return ExitCode.OK
