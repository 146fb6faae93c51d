"""``harness open``: the page of stored results in a browser, with figures, runs and rollouts."""

from __future__ import annotations

import shlex
import webbrowser

from harness.errors import ExitCode, HostError
from harness.records import record
from harness.results.code import code_state
from harness.results.store import RunStore
from harness.scenario.folders import find
from harness.scenario.load import load
from harness.session.options import OpenOptions, experiment_as_typed
from harness.session.output import print_answer
from harness.session.project import open_project
from harness.session.selection import open_ledger, overrides_of, stored_profile
from harness.site.build import OF_ONE, ScenarioPages, Site, made_by
from harness.site.folder import write_site
from harness.site.profiles import profiles_of
from harness.site.transcripts import transcript_logs

PAGES = ".pages"  # folder of a store: pages that can be made again at any time


@record
class OpenAnswer:
    """The answer of ``harness open --json``: the page that was written."""

    page: str


def main(options: OpenOptions) -> ExitCode:
    """Write the pages of a scenario's stored results, and show them.

    What is set holds for the profile that answers first; the others are shown as declared.

    Raises:
        HostError: the store has no results of the scenario, or none with what is set.
    """
    project = open_project(options)
    loaded, store = load(find(project.scenarios, options.scenarios[0])), RunStore(project.store)
    first = stored_profile(options.profile, loaded.scenario, store)
    profiles = profiles_of(loaded, open_ledger(loaded), store, {first: overrides_of(options)})
    profiles = tuple(sorted(profiles, key=lambda each: each.profile is not first))
    if not profiles or profiles[0].profile is not first or not profiles[0].runs:
        given = shlex.join(experiment_as_typed(options))
        name, said = loaded.scenario.scenario, f" with {given}" if given else ""
        message = f"no results of {name}, profile {first}{said}, in {store.root}"
        again = ("harness", "run", options.scenarios[0], "--profile", first, given)
        raise HostError(message, " ".join(filter(None, again)))
    runs = [run for each in profiles for run in each.page.dossier.runs]
    pages = ScenarioPages(loaded, profiles, logs=[*transcript_logs(runs, store)])
    out = store.root / PAGES / loaded.scenario.scenario
    commit = (code_state(project.root).commit or "")[:10]
    site = Site(made=made_by(commit), navigation=OF_ONE)
    write_site(out, site, [pages])
    page = out / pages.place
    if options.json:
        print_answer(options, OpenAnswer(page=str(page)))
    else:
        print(page)
    if not options.no_browser and not webbrowser.open(page.resolve().as_uri()):
        options.console.say("no browser was found: open this file in one")
    return ExitCode.OK
