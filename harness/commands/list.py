"""``harness list``: every scenario, one line each."""

from __future__ import annotations

import json

from harness.errors import ExitCode
from harness.records import to_json
from harness.scenario.index import summaries
from harness.session.options import ListOptions
from harness.session.project import cache_folder, open_project
from harness.session.strangers import tell_of_strangers
from harness.units import counted


def main(options: ListOptions) -> ExitCode:
    """Print the scenarios."""
    project = open_project(options)
    listed = summaries(project.scenarios, cache_folder())
    if options.json:
        print(json.dumps(to_json(listed), indent=1))
        return ExitCode.OK
    width = max(len(each.scenario) for each in listed)
    for each in listed:
        planned = " (planned)" if each.status == "planned" else ""
        print(f"{each.scenario:{width}}  {each.title}{planned}  [{' '.join(each.profiles)}]")
        options.console.explain(f"{'':{width}}  {project.scenarios / each.scenario}")
    print(counted(len(listed), "scenario"))
    tell_of_strangers(project, options.console)
    return ExitCode.OK
