"""The one way to what is published of a scenario: read it, and check it against the ledger."""

from __future__ import annotations

from dataclasses import replace

from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile
from harness.report.dossier import ScenarioReport, assemble
from harness.results.store import RunStore
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded


def published_report(
    loaded: Loaded, ledger: Expectations, profile: Profile, published: RunStore
) -> ScenarioReport:
    """Return a published profile: its runs, whichever code made them, and what they show."""
    plan = expand(loaded, profile, Overrides())
    return replace(assemble(loaded, ledger, plan, published), is_published=True)
