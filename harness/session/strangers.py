"""Results that belong to no scenario of the project: no command reads them."""

from __future__ import annotations

from pathlib import Path

from harness.records import Profile
from harness.results.files import ARCHIVE_FILE
from harness.session.console import Console
from harness.session.project import Project


def tell_of_strangers(project: Project, console: Console) -> list[Path]:
    """Say which results belong to no scenario, as after a renaming, and return their folders."""
    known = {folder.name for folder in project.scenarios.iterdir()}
    strangers = [
        root / name
        for root in (project.store, project.published)
        for name in _with_results(root)
        if name not in known
    ]
    for each in strangers:
        said = "results of no scenario here: it was renamed or removed"
        console.say(f"{each}: {said}; nothing reads them")
    return strangers


def _with_results(store: Path) -> list[str]:
    """Return the names of scenarios that have finished runs; no run is read, so that it is fast."""
    places = (store.glob(f"[!.]*/{profile}/*") for profile in Profile)
    runs = (
        each
        for found in places
        for each in found
        if each.name == ARCHIVE_FILE or ("." not in each.name and each.is_dir())
    )
    return sorted({run.parents[1].name for run in runs})
