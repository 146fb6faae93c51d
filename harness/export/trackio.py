"""trackio: a project in which a scenario's runs lie beside each other, with their curves.

trackio decides where it writes when it is loaded, and speaks to the terminal. So a process of its
own loads it: this module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import atomic
from harness.export.source import Exported, numbers, require, tags, title, write_apart
from harness.reading import read_json
from harness.records import FinishedRun, to_json

_FOLDER = "TRACKIO_DIR"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # nothing leaves this machine


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder that ``TRACKIO_DIR`` names, for ``trackio show``.

    A run has its params as config, its curves step by step, and its figures at a last step.

    Raises:
        HostError: trackio failed.
    """
    require("trackio")
    documents = [*_documents(source)]
    with atomic.new_folder(path) as folder:
        write_apart(source, __name__, documents, {**_OFFLINE, _FOLDER: str(folder.resolve())})
    how = f"{_FOLDER}={path} trackio show --project {source.name}"
    return [f"{path}: {len(documents)} runs; open it with: {how}"]


def _documents(source: Exported) -> Iterator[dict[str, Any]]:
    for run in source.runs:
        config = {"params": to_json(run.spec.params), **tags(run)}
        logs = [*_logs(source, run)]
        yield {"project": source.name, "name": title(run), "config": config, "logs": logs}


def _logs(source: Exported, run: FinishedRun) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each step with its values; the figures of the whole run come after the last one."""
    by_step: dict[int, dict[str, float]] = {}
    for point in source.points(run):
        by_step.setdefault(point.step, {})[point.name] = point.value
    yield from sorted(by_step.items())
    yield max(by_step, default=0) + 1, {f"figures/{name}": at for name, at in numbers(run)}


def _write(lines: Iterator[str]) -> None:
    import trackio  # noqa: PLC0415 - an extra, and slow to load

    for document in map(read_json, lines):
        run: Any = trackio.init(
            project=document["project"], name=document["name"], config=document["config"]
        )
        for step, values in document["logs"]:
            run.log(values, step=step)
        run.finish()


if __name__ == "__main__":
    _write(iter(sys.stdin))
