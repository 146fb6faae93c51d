"""What a bundle holds, as an RO-Crate 1.1: research data's own description, in JSON-LD.

A run is a `CreateAction` of schema.org: what made it, when, and which files it gave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from harness.records import FinishedRun, RunSpec

CRATE_FILE = "ro-crate-metadata.json"
_VERSION = "https://w3id.org/ro/crate/1.1"
_LICENSE = "https://spdx.org/licenses/Apache-2.0"
_MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".md": "text/markdown",
}


def crate(
    title: str,
    runs: Sequence[FinishedRun],
    sizes: Mapping[str, int],
) -> bytes:
    """Return the text of ``ro-crate-metadata.json``; the same files give the same bytes.

    Args:
        title: what the bundle is, in a line.
        runs: those of the bundle, at least one.
        sizes: path of every other file -> bytes.
    """
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": title,
        "description": f"{title}: what {len(runs)} runs wrote, with their figures.",
        # no clock is read: the newest run says when
        "datePublished": max(run.outcome.started_at for run in runs)[:10],
        "license": {"@id": _LICENSE},
        "hasPart": [{"@id": path} for path in sorted(sizes)],
        "mentions": [{"@id": _action(run.spec)} for run in runs],
    }
    descriptor = {
        "@id": CRATE_FILE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": _VERSION},
        "about": {"@id": "./"},
    }
    license_ = {
        "@id": _LICENSE,
        "@type": "CreativeWork",
        "name": "Apache License 2.0",
        "description": "The licence of the project that the runs are of.",
    }
    tools = {each["@id"]: each for each in map(_tool, runs)}
    files = [_file(path, size) for path, size in sorted(sizes.items())]
    actions = [_run(run, sizes) for run in runs]
    graph = [descriptor, root, license_, *tools.values(), *actions, *files]
    document = {"@context": f"{_VERSION}/context", "@graph": graph}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _action(spec: RunSpec) -> str:
    return f"#{spec.run_id}"


def _run(run: FinishedRun, sizes: Mapping[str, int]) -> dict[str, Any]:
    folder = f"{run.spec.scenario}/{run.spec.profile}/{run.spec.run_id}/"
    return {
        "@id": _action(run.spec),
        "@type": "CreateAction",
        "name": f"{run.spec.label}, run {run.spec.run_id}",
        "startTime": run.outcome.started_at,
        "instrument": {"@id": _tool(run)["@id"]},
        "result": [{"@id": path} for path in sorted(sizes) if path.startswith(folder)],
    }


def _tool(run: FinishedRun) -> dict[str, Any]:
    code = run.environment.get("code") or {}
    commit = str(code.get("commit") or "unknown")
    version = str(run.environment.get("harness", "unknown"))
    return {
        "@id": f"#harness-{commit}",
        "@type": "SoftwareApplication",
        "name": "harness",
        "softwareVersion": f"{version}, commit {commit}",
    }


def _file(path: str, size: int) -> dict[str, Any]:
    named = PurePosixPath(path)
    found = {"@id": path, "@type": "File", "name": named.name, "contentSize": str(size)}
    kind = _MEDIA_TYPES.get(named.suffix)
    return found | ({"encodingFormat": kind} if kind else {})
