"""Results that belong to no scenario of the project: no command reads them."""

from __future__ import annotations

from pathlib import Path

from harness.results.store import RunStore
from harness.session.console import Console
from harness.session.project import Project


def tell_of_strangers(project: Project, console: Console) -> list[Path]:
    """Say which results belong to no scenario, as after a renaming, and return their folders."""
    known = {folder.name for folder in project.scenarios.iterdir()}
    strangers = [
        root / name
        for root in (project.store, project.published)
        for name in RunStore(root).names()
        if name not in known
    ]
    for each in strangers:
        said = "results of no scenario here: it was renamed or removed"
        console.say(f"{each}: {said}; nothing reads them")
    return strangers
