"""``harness list``: every scenario, one line each."""

from __future__ import annotations

import argparse
import json

from harness.commands.project import cache_folder, open_project
from harness.errors import ExitCode
from harness.records import to_json
from harness.report.figures import counted
from harness.scenario.index import summaries


def main(options: argparse.Namespace) -> ExitCode:
    """Print the scenarios."""
    listed = summaries(open_project(options).scenarios, cache_folder())
    if options.json:
        print(json.dumps(to_json(listed), indent=1))
        return ExitCode.OK
    width = max(len(each.scenario) for each in listed)
    for each in listed:
        planned = " (planned)" if each.status == "planned" else ""
        print(f"{each.scenario:{width}}  {each.title}{planned}  [{' '.join(each.profiles)}]")
    print(counted(len(listed), "scenario"))
    return ExitCode.OK
