"""The folders of a checkout, and where what can be made again is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import harness
from harness.errors import InputError, Problem
from harness.records import record
from harness.session.options import Options
from harness.variables import HISTORY_VARIABLE

PROJECT_VARIABLE = "HARNESS_PROJECT"
CODE = Path(harness.__file__).resolve().parent.parent  # the checkout, unless it is site-packages


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


def open_project(options: Options) -> Project:
    """Return the project that the options name, else the one that this program belongs to.

    Raises:
        InputError: there is none, or the named store cannot be one.
    """
    root = options.project or find_project()
    if not (root / "scenarios").is_dir():
        message = (
            "is not a checkout of this project: it has no scenarios/; "
            f"name one with --project FOLDER or {PROJECT_VARIABLE}=FOLDER"
        )
        raise InputError([Problem(message=message, path=root)])
    store = options.store or root / "results" / "local"
    if store.exists() and not store.is_dir():
        message = "is not a folder, so it cannot be a store of results"
        raise InputError([Problem(message=message, path=store)])
    options.console.explain(f"project: {root}")
    options.console.explain(f"store: {store}")
    return Project(root=root, store=store)


def find_project(
    environ: Mapping[str, str] | None = None, code: Path = CODE, start: Path | None = None
) -> Path:
    """Return the folder of the project where no option names one.

    ``HARNESS_PROJECT``; else the checkout that the running code is part of, so that scenarios and
    code are of one commit; else, for an installed wheel, the checkout around the working folder.

    Args:
        environ: None for this process's.
        code: the folder that holds the package ``harness``.
        start: None for the working folder.
    """
    named = (os.environ if environ is None else environ).get(PROJECT_VARIABLE)
    if named:
        return Path(named)
    start = start or Path.cwd()
    around = [each for each in (start, *start.parents) if (each / "harness").is_dir()]
    return next((each for each in (code, *around) if (each / "scenarios").is_dir()), start)


def history_folder(project: Project, given: Path | None) -> Path:
    """Return the folder of histories: as given, else ``HARNESS_HISTORY``, else the project's."""
    named = os.environ.get(HISTORY_VARIABLE)
    return given or (Path(named) if named else project.root / "results" / "history")


def cache_folder() -> Path:
    """Return the folder for what can be made again: the index and fetched evidence.

    A user without a home, as a container may have, is given one among the temporary files.
    """
    base = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")  # noqa: PTH111 - Path's raises
    if base.startswith("~"):
        import tempfile  # noqa: PLC0415 - hardly ever needed

        base = str(Path(tempfile.gettempdir()) / f"cache-of-{os.getuid()}")
    return Path(base) / "spark-article-harness"


def compiled_folder() -> Path:
    """Return the folder for a GPU's compiled kernels, from run to run."""
    return cache_folder() / "compiled"
