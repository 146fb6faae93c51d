"""The folders of a checkout, and where what can be made again is kept."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from harness.errors import InputError, Problem
from harness.records import record


@record
class Project:
    """The folders of a checkout, and the folder that results go to."""

    root: Path
    store: Path

    @property
    def scenarios(self) -> Path:
        """One folder a scenario."""
        return self.root / "scenarios"

    @property
    def containers(self) -> Path:
        """One folder an image, and the lock."""
        return self.root / "containers"

    @property
    def published(self) -> Path:
        """The results that are part of the repository."""
        return self.root / "results"


def open_project(options: argparse.Namespace) -> Project:
    """Return the project that the options name, else the one around the working folder.

    Raises:
        InputError: there is none, or what is named as its store cannot be one.
    """
    root = options.root or _root_above(Path.cwd())
    if not (root / "scenarios").is_dir():
        raise InputError([Problem(message="no project here: it has no scenarios/", path=root)])
    store = options.store or root / "results" / "local"
    if store.exists() and not store.is_dir():
        raise InputError([Problem(message="is no folder, so no store of results", path=store)])
    return Project(root=root, store=store)


def cache_folder() -> Path:
    """Return the folder for what can be made again: the index and fetched evidence."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "spark-article-harness"


def _root_above(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / "scenarios").is_dir() and (folder / "harness").is_dir():
            return folder
    return start
