"""MLflow: a database in which a scenario is an experiment, with its runs and their curves.

MLflow sends usage data unless a variable says no when it is loaded. So a process of its own loads
it: this module.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import atomic
from harness.export.source import Exported, numbers, require, tags, title, write_apart
from harness.reading import read_json
from harness.records import FinishedRun, to_json

DATABASE = "mlflow.db"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # nothing leaves this machine
_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")  # of metrics, as MLflow checks them
_MAX_BATCH = 1000  # metrics; MLflow takes no more at once


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder with a database for ``mlflow ui``.

    A run has its params, its curves with step and time, and its figures at step 0.

    Raises:
        HostError: MLflow failed.
    """
    require("mlflow")
    runs = [_run(run, source) for run in source.runs]
    with atomic.new_folder(path) as folder:
        experiment = {
            "address": f"sqlite:///{(folder / DATABASE).resolve()}",
            "name": source.name,
            "artifacts": (path.resolve() / "artifacts").as_uri(),
        }
        write_apart(source, __name__, [experiment, *runs], _QUIET)
    how = f"mlflow ui --backend-store-uri sqlite:///{path / DATABASE}"
    return [f"{path}: {len(runs)} runs; open it with: {how}"]


def _run(run: FinishedRun, source: Exported) -> dict[str, Any]:
    began = run.outcome.started_at
    start_ms = round(datetime.fromisoformat(began).timestamp() * 1000) if began else 0
    end_ms = start_ms + round((run.outcome.usage.wall_s or 0) * 1000)
    facts = {name: value for name, value in tags(run).items() if value}
    params = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in to_json(run.spec.params).items()
    }
    curves = [
        (_name(point.name), point.value, start_ms + round(point.at_s * 1000), point.step)
        for point in source.points(run)
    ]
    figures = [(_name(f"figures/{name}"), number, end_ms, 0) for name, number in numbers(run)]
    return {
        "name": title(run),
        "start_ms": start_ms,
        "end_ms": end_ms,
        "params": params,
        "tags": {**facts, "mlflow.source.git.commit": facts.get("commit", "")},
        "metrics": [*curves, *figures],
    }


def _name(name: str) -> str:
    """Write a character that MLflow takes in no name as its number: two names stay two."""
    return _NOT_IN_NAMES.sub(lambda found: f"-{ord(found[0]):x}-", name)


def _write(lines: Iterator[str]) -> None:
    from mlflow.entities import Metric, Param, RunStatus, RunTag  # noqa: PLC0415 - an extra
    from mlflow.tracking import MlflowClient  # noqa: PLC0415 - an extra, and slow to load

    experiment: Any = read_json(next(lines))
    client = MlflowClient(tracking_uri=experiment["address"])
    number = client.create_experiment(experiment["name"], experiment["artifacts"])
    documents: Iterable[Any] = map(read_json, lines)
    for document in documents:
        run = client.create_run(number, document["start_ms"], run_name=document["name"]).info
        client.log_batch(
            run.run_id,
            params=[Param(name, value) for name, value in document["params"].items()],
            tags=[RunTag(name, value) for name, value in document["tags"].items()],
        )
        metrics = [Metric(*each) for each in document["metrics"]]
        for at in range(0, len(metrics), _MAX_BATCH):
            client.log_batch(run.run_id, metrics=metrics[at : at + _MAX_BATCH])
        status = RunStatus.to_string(RunStatus.FINISHED)
        client.set_terminated(run.run_id, status, document["end_ms"])


if __name__ == "__main__":
    _write(iter(sys.stdin))
