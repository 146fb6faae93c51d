"""Every Eval Ever: a JSON file for each run and policy, by the schema 0.3.0 of its authors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import __version__, atomic
from harness.errors import HostError
from harness.export.source import Exported, is_number, key_of, tags, title
from harness.records import FinishedRun, Measurement
from harness.units import UNITS
from harness.workloads.api.declare import Better, Metric

SCHEMA_VERSION = "0.3.0"
_KEYS = ("policy", "variant", "teacher", "model")  # row keys that name who was evaluated


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder of files; results are the figures that are better higher, or lower.

    Raises:
        HostError: no figure of the runs is one of somebody who was evaluated.
    """
    documents: dict[str, Any] = {}
    for run in source.runs:
        by_model: dict[str, list[Measurement]] = {}
        for each in run.measurements:
            key = next((key for key in _KEYS if key in each.where), None)
            metric = source.report.metrics.get(each.metric)
            if key and metric and metric.better and is_number(each.value):
                by_model.setdefault(str(each.where[key]), []).append(each)
        for model, found in by_model.items():
            name = re.sub(r"[^\w.-]", "-", f"{title(run)}_{model}")
            documents[f"{name}.json"] = _document(source, run, model, found)
    if not documents:
        message = f"{source.name} evaluates nobody: no figure has a key {' or '.join(_KEYS)}"
        raise HostError(message, f"harness export {source.name} --to parquet PATH")
    with atomic.new_folder(path) as folder:
        for name, document in documents.items():
            text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
            (folder / name).write_text(text, encoding="utf-8")
    return [
        f"{path / name}: {len(document['evaluation_results'])} results"
        for name, document in documents.items()
    ]


def _document(
    source: Exported, run: FinishedRun, model: str, found: Sequence[Measurement]
) -> dict[str, Any]:
    began = run.outcome.started_at
    seconds = str(datetime.fromisoformat(began).timestamp()) if began else "0"
    facts = {key: value for key, value in tags(run).items() if value}
    article = source.report.scenario.article
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{source.name}/{model}/{run.spec.run_id}",
        "evaluation_timestamp": seconds,
        "retrieved_timestamp": seconds,
        "source_metadata": {
            "source_name": f"article {article.number}: {article.title}",
            "source_type": "evaluation_run",
            "source_organization_name": "spark-article-harness",
            "evaluator_relationship": "third_party",
            "additional_details": facts,
        },
        "eval_library": {"name": "spark-article-harness", "version": __version__},
        "model_info": {
            "name": model,
            "id": f"{source.name}/{model}",
            "inference_platform": "local",
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
            },
        },
        "evaluation_results": list(_results(source, found)),
    }


def _results(source: Exported, found: Sequence[Measurement]) -> Iterator[dict[str, Any]]:
    for each in found:
        metric = source.report.metrics[each.metric]
        yield {
            "evaluation_result_id": key_of(each),
            "evaluation_name": source.name,
            "source_data": {"dataset_name": source.name, "source_type": "other"},
            "metric_config": _metric_config(metric, each),
            "score_details": {
                "score": each.value,
                "details": {key: str(value) for key, value in each.where.items()},
                "uncertainty": {"num_samples": each.count},
            },
        }


def _metric_config(metric: Metric, each: Measurement) -> dict[str, Any]:
    # a share lies between its ends; of other figures none is known
    is_share = UNITS[each.unit].dimension == "number" and each.unit != "x"
    one = 1 / UNITS[each.unit].factor if is_share else 0.0
    bounded = is_share and each.unit == "%"
    return {
        "metric_id": metric.name,
        "metric_name": metric.name,
        "metric_unit": each.unit,
        "evaluation_description": metric.doc,
        "lower_is_better": metric.better is Better.LOWER,
        "score_type": "continuous",
        "min_score": 0.0 if bounded else "-Infinity",
        "max_score": one if bounded else "Infinity",
    }
