"""``harness audit``: which claims would notice that the experiment did not work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.check.audit import Audited, audit
from harness.errors import ExitCode, HostError
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, record
from harness.report.dossier import assemble
from harness.report.falsification import audit_table
from harness.report.render import render_text
from harness.results.store import RunStore
from harness.scenario.folders import find_all, folders
from harness.scenario.load import load
from harness.session.console import terminal_width
from harness.session.options import AuditOptions
from harness.session.project import open_project
from harness.session.selection import open_ledger, stored_profile
from harness.session.several import Answer, answer_each


@record
class AuditAnswer:
    """The answer of ``harness audit --json``: profile -> what each entry notices."""

    profiles: Mapping[Profile, tuple[Audited, ...]]


def main(options: AuditOptions) -> ExitCode:
    """Judge the counterfactuals of each scenario's stored figures; exit 1 if a claim cannot fail.

    Raises:
        HostError: the store has no results at all.
    """
    project = open_project(options)
    store = RunStore(project.published if options.published else project.store)
    chosen = find_all(project.scenarios, options.scenarios)
    if not options.scenarios:
        chosen = [each for each in folders(project.scenarios) if store.profiles(each.name)]
    if not chosen:
        message = f"no results of any scenario in {store.root}"
        raise HostError(message, "harness list  # what can be run")

    def ask(folder: Path) -> Answer:
        loaded = load(folder)
        ledger = open_ledger(loaded)
        profiles = store.profiles(folder.name)
        if options.profile != "auto" or not profiles:
            profiles = [stored_profile(options.profile, loaded.scenario, store)]
        code, texts = ExitCode.OK, []
        audited: dict[Profile, tuple[Audited, ...]] = {}
        for profile in profiles:
            dossier = assemble(loaded, ledger, expand(loaded, profile, Overrides()), store)
            found = audit(dossier.ledger, dossier.runs, profile, dossier.metrics)
            if dossier.blind:
                code = ExitCode.OUTSIDE
            texts.append(render_text(audit_table(dossier, found), terminal_width()))
            audited[profile] = found
        if options.json:
            return Answer(code=code, document=AuditAnswer(profiles=audited))
        return Answer(code=code, text="\n".join(texts))

    return answer_each(chosen, ask, options)
