"""trackio: a project in which a scenario's runs lie beside each other, with their curves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness import atomic
from harness.export.source import Exported, numbers, require, tags, title
from harness.records import to_json

_FOLDER = "TRACKIO_DIR"
# everything stays on this machine, and nothing is said to a terminal
_SETTINGS = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder that ``TRACKIO_DIR`` names, for ``trackio show``.

    A run has its params as config, its curves step by step, and its figures at a last step.
    """
    require("trackio")
    with atomic.new_folder(path) as folder, _settings({**_SETTINGS, _FOLDER: str(folder)}):
        import trackio  # noqa: PLC0415 - an extra, and slow to load; it reads the settings

        for run in source.runs:
            config = {"params": to_json(run.spec.params), **tags(run)}
            log = trackio.init(project=source.name, name=title(run), config=config, embed=False)
            last = 0
            by_step: dict[int, dict[str, float]] = {}
            for point in source.points(run):
                by_step.setdefault(point.step, {})[point.name] = point.value
            for last, values in sorted(by_step.items()):
                log.log(values, step=last)
            log.log({f"figures/{name}": value for name, value in numbers(run)}, step=last + 1)
            log.finish()
    how = f"{_FOLDER}={path} trackio show --project {source.name}"
    return [f"{path}: {len(source.runs)} runs; open it with: {how}"]


@contextmanager
def _settings(given: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
