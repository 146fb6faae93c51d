"""``harness site``: the published results of every scenario as one folder of pages."""

from __future__ import annotations

from harness.errors import ExitCode
from harness.records import record
from harness.results.code import code_state
from harness.results.store import RunStore
from harness.scenario.folders import folders
from harness.scenario.load import load
from harness.session.options import SiteOptions
from harness.session.output import print_answer
from harness.session.project import open_project
from harness.session.selection import open_ledger
from harness.site.build import ScenarioPages, Site, made_by
from harness.site.folder import write_site
from harness.site.history import publications
from harness.site.profiles import profiles_of


@record
class SiteAnswer:
    """The answer of ``harness site --json``.

    Attributes:
        index: the first page.
        files: how many were written.
    """

    index: str
    files: int


def main(options: SiteOptions) -> ExitCode:
    """Write the site, in the place of an earlier one."""
    project = open_project(options)
    out = options.out or project.root / "build" / "site"
    scenarios = []
    for folder in folders(project.scenarios):
        loaded, store = load(folder), RunStore(project.published)
        found = profiles_of(loaded, open_ledger(loaded), store, is_published=True)
        name, profiles = loaded.scenario.scenario, tuple(each.profile for each in found)
        history = publications(project.root, name, profiles)
        scenarios.append(ScenarioPages(loaded, found, history=history))
        options.console.explain(f"{name}: {', '.join(profiles) or 'nothing is published'}")
    commit = (code_state(project.root).commit or "")[:10]
    number = write_site(out, Site(made=made_by(commit)), scenarios, project.root)
    index = out / "index.html"
    if options.json:
        print_answer(options, SiteAnswer(index=str(index), files=number))
    else:
        print(f"{index}: {number} files")
    return ExitCode.OK
