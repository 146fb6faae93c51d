"""Parquet: runs, measurements, curves and rollouts as tables that pandas, DuckDB or Spark read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import atomic
from harness.export.source import Exported, is_number, messages, require, tags
from harness.records import to_json

_TEXT, _NUMBER, _WHOLE, _FLAG = "string", "float64", "int64", "bool"
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "runs": {
        **dict.fromkeys(
            ("run_id", "scenario", "profile", "workload", "point_id", "seed", "source", "image"),
            _TEXT,
        ),
        **dict.fromkeys(("device", "runtime", "commit", "started_at", "params"), _TEXT),
        "replicate": _WHOLE,
        "wall_s": _NUMBER,
    },
    "measurements": {
        **dict.fromkeys(("run_id", "metric", "unit", "where", "text", "absent"), _TEXT),
        "number": _NUMBER,
        "flag": _FLAG,
        "count": _WHOLE,
    },
    "curves": {"run_id": _TEXT, "name": _TEXT, "step": _WHOLE, "value": _NUMBER, "at_s": _NUMBER},
    "rollouts": {
        **dict.fromkeys(("run_id", "policy", "task_id", "stop_reason", "error"), _TEXT),
        **dict.fromkeys(("settings", "engine", "served", "messages"), _TEXT),
        "sample": _WHOLE,
        "turns": _WHOLE,
        "reward": _NUMBER,
    },
}


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder of four files; rows, and what is nested in them as JSON text."""
    require("pyarrow")
    import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
    from pyarrow import parquet  # noqa: PLC0415

    tables = {
        "runs": list(_runs(source)),
        "measurements": list(_measurements(source)),
        "curves": list(_curves(source)),
        "rollouts": list(_rollouts(source)),
    }
    with atomic.new_folder(path) as folder:
        for name, rows in tables.items():
            fields = [
                pa.field(column, getattr(pa, kind if kind != _FLAG else "bool_")())
                for column, kind in COLUMNS[name].items()
            ]
            schema = pa.schema(fields, metadata={"scenario": source.name})
            table = pa.Table.from_pylist(rows, schema=schema)
            parquet.write_table(table, folder / f"{name}.parquet")
    return [f"{path / name}.parquet: {len(rows)} rows" for name, rows in tables.items()]


def _runs(source: Exported) -> Iterator[dict[str, Any]]:
    for run in source.runs:
        yield {
            **tags(run),
            "params": json.dumps(to_json(run.spec.params), ensure_ascii=False),
            "replicate": run.spec.replicate,
            "wall_s": run.outcome.usage.wall_s,
        }


def _measurements(source: Exported) -> Iterator[dict[str, Any]]:
    for run in source.runs:
        for each in run.measurements:
            yield {
                "run_id": run.spec.run_id,
                "metric": each.metric,
                "unit": each.unit,
                "where": json.dumps(to_json(each.where), ensure_ascii=False),
                "number": float(each.value) if is_number(each.value) else None,  # type: ignore[arg-type]
                "text": each.value if isinstance(each.value, str) else None,
                "flag": each.value if isinstance(each.value, bool) else None,
                "count": each.count,
                "absent": each.absent,
            }


def _curves(source: Exported) -> Iterator[dict[str, Any]]:
    for run in source.runs:
        for point in source.points(run):
            yield {"run_id": run.spec.run_id, **to_json(point)}


def _rollouts(source: Exported) -> Iterator[dict[str, Any]]:
    for run in source.runs:
        tasks = source.tasks(run)
        for rollout in source.rollouts(run):
            said: Sequence[Any] = messages(rollout, tasks)
            yield {
                "run_id": run.spec.run_id,
                "policy": rollout.policy,
                "task_id": rollout.task_id,
                "sample": rollout.sample,
                "stop_reason": rollout.stop_reason,
                "reward": rollout.reward,
                "error": rollout.error,
                "settings": rollout.settings,
                "engine": rollout.engine,
                "served": rollout.served,
                "turns": len(rollout.turn_rewards),
                "messages": json.dumps(to_json(said), ensure_ascii=False),
            }
