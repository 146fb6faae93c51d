"""``harness list``: every scenario, one line each."""

from __future__ import annotations

from harness.errors import ExitCode
from harness.records import record
from harness.scenario.index import ScenarioSummary, summaries
from harness.session.options import ListOptions
from harness.session.output import print_answer
from harness.session.project import cache_folder, open_project
from harness.session.strangers import tell_of_strangers
from harness.units import counted


@record
class ListAnswer:
    """The answer of ``harness list --json``."""

    scenarios: tuple[ScenarioSummary, ...]


def main(options: ListOptions) -> ExitCode:
    """Print the scenarios."""
    project = open_project(options)
    listed = summaries(project.scenarios, cache_folder())
    if options.json:
        print_answer(options, ListAnswer(scenarios=tuple(listed)))
        return ExitCode.OK
    width = max(len(each.scenario) for each in listed)
    for each in listed:
        planned = " (planned)" if each.status == "planned" else ""
        print(f"{each.scenario:{width}}  {each.title}{planned}  [{' '.join(each.profiles)}]")
        options.console.explain(f"{'':{width}}  {project.scenarios / each.scenario}")
    print(counted(len(listed), "scenario"))
    tell_of_strangers(project, options.console)
    return ExitCode.OK
