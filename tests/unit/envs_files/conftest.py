from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import parse_task

Make = Callable[..., Task]


def task_document(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "task_id": "synth-technical-writer-00",
        "persona": {"role": "technical-writer", "context": "Keeps docs."},
        "intent": "Move docs/guide.md to manual/guide.md.",
        "workspace_seed": {
            "files": [
                {"path": "docs/guide.md", "kind": "text", "content": "# Guide\nold text\n"},
                {"path": "images/diag.png", "kind": "binary-stub", "size_bytes": 16},
            ]
        },
        "skills_required": ["file.move"],
        "verifiable_assertions": [{"kind": "file_exists", "path": "manual/guide.md"}],
        "difficulty": "easy",
        "estimated_steps": 2,
    }
    return document | changes


@pytest.fixture
def make() -> Make:
    """A task with these assertions, on a guide and an image."""

    def build(*assertions: dict[str, Any], **changes: Any) -> Task:
        return parse_task(task_document(verifiable_assertions=list(assertions), **changes))

    return build
