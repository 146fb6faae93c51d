"""MLflow: a tracking store in which a scenario is an experiment and a run is a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from harness import atomic
from harness.export.source import Exported, numbers, require, tags, title
from harness.records import FinishedRun
from harness.report.figures import setting

DATABASE = "mlflow.db"
_NO_NAME = re.compile(r"[^\w\-./: ]")  # what a metric of MLflow may not be called
_MAX_PARAM = 6000  # characters, of MLflow
_BATCH = 1000  # metrics at once, of MLflow


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder with a database for ``mlflow ui --backend-store-uri sqlite:///...``."""
    require("mlflow")
    require("sqlalchemy")
    from mlflow import MlflowClient  # noqa: PLC0415 - an extra, and slow to load
    from mlflow.entities import Metric  # noqa: PLC0415

    with atomic.new_folder(path) as folder:
        uri = f"sqlite:///{folder.resolve() / DATABASE}"
        client: Any = MlflowClient(tracking_uri=uri)
        # figures only: nothing is ever written to the place for artefacts
        experiment = client.create_experiment(source.name, artifact_location="mlflow-artifacts:/")
        for run in source.runs:
            began_ms = _milliseconds(run)
            created = client.create_run(
                experiment,
                start_time=began_ms,
                tags={f"harness.{key}": value for key, value in tags(run).items()},
                run_name=title(run),
            )
            run_id = created.info.run_id
            for name, value in run.spec.params.items():
                client.log_param(run_id, name, setting(value)[:_MAX_PARAM])
            figures = (Metric(_name(name), value, began_ms, 0) for name, value in numbers(run))
            curves = (
                Metric(
                    _name(f"curve/{each.name}"), each.value, began_ms + _ms(each.at_s), each.step
                )
                for each in source.points(run)
            )
            for batch in (*_batches(figures), *_batches(curves)):
                client.log_batch(run_id, metrics=batch)
            client.set_terminated(run_id, end_time=began_ms + _ms(run.outcome.usage.wall_s))
        _close(uri)
    where = f"mlflow ui --backend-store-uri sqlite:///{path / DATABASE}"
    return [f"{path / DATABASE}: {len(source.runs)} runs; open it with: {where}"]


def _close(uri: str) -> None:
    """Let go of the database, which is going to be moved."""
    from mlflow.tracking._tracking_service.utils import _get_store  # noqa: PLC0415 - an extra

    _get_store(store_uri=uri).engine.dispose()


def _batches(metrics: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(metrics, _BATCH)):
        yield batch


def _name(name: str) -> str:
    return _NO_NAME.sub("_", name)


def _milliseconds(run: FinishedRun) -> int:
    started = run.outcome.started_at
    return _ms(datetime.fromisoformat(started).timestamp()) if started else 0


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
