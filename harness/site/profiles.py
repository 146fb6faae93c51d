"""Profiles that have results, as pages need them: judged, drawn, with the folders of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import FinishedRun, Profile, Verdict, record
from harness.report.dossier import assemble
from harness.report.files import files_of
from harness.report.page import Page
from harness.report.plots import draw_all
from harness.results.store import (
    ENVIRONMENT_FILE,
    MEASUREMENTS_FILE,
    OUTCOME_FILE,
    SPEC_FILE,
    RunStore,
)
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded
from harness.workloads.api.emit import EVENTS_FILE

RUN_FILES = (SPEC_FILE, OUTCOME_FILE, MEASUREMENTS_FILE, ENVIRONMENT_FILE, EVENTS_FILE)


@record
class StoredRun:
    """A run, and the folder that it is stored in."""

    run: FinishedRun
    folder: Path

    @property
    def id(self) -> str:
        """Its id."""
        return self.run.spec.run_id


@record
class ShownProfile:
    """One profile of a scenario.

    Attributes:
        verdicts: by the id of the claim.
        files: name -> content of what may be downloaded beside the page.
    """

    page: Page
    runs: tuple[StoredRun, ...]
    verdicts: Mapping[str, Verdict]
    files: Mapping[str, bytes]

    @property
    def profile(self) -> Profile:
        """Which."""
        return self.page.dossier.profile


def profiles_of(
    loaded: Loaded,
    ledger: Expectations,
    store: RunStore,
    changes: Mapping[Profile, Overrides] | None = None,
    *,
    is_published: bool = False,
) -> tuple[ShownProfile, ...]:
    """Return the profiles that a store holds, each as declared, or as changed."""
    found = []
    for profile in store.profiles(loaded.scenario.scenario):
        plan = expand(loaded, profile, (changes or {}).get(profile, Overrides()))
        dossier = replace(assemble(loaded, ledger, plan, store), is_published=is_published)
        found.append(
            ShownProfile(
                page=Page(dossier=dossier, plots=draw_all(dossier)),
                runs=tuple(
                    StoredRun(run=run, folder=store.folder(run.spec)) for run in dossier.runs
                ),
                verdicts={verdict.expectation: verdict for verdict in dossier.verdicts},
                files={
                    file: text.encode()
                    for file, text in files_of([dossier]).items()
                    if file not in ("page.html", "table.md")
                },
            )
        )
    return tuple(found)
