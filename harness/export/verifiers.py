"""verifiers: a package whose taskset is the file tasks, graded by the harness's own grader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness import __version__, atomic
from harness.export.harbor import instruction, solution, tasks_of, write_grader, write_seed
from harness.export.source import Exported
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import to_document

_TASKSET = Path(__file__).with_name("templates") / "taskset.py"


def export(source: Exported, path: Path) -> list[str]:
    """Write a package to install; its taskset has the scenario's id.

    Raises:
        HostError: the runs have no file tasks here.
    """
    tasks, name = tasks_of(source), source.name.lower()
    with atomic.new_folder(path) as folder:
        write_package(tasks, name, folder)
    return [f"{path}: a package of {len(tasks)} tasks; once it is installed: vf-eval {name}"]


def write_package(tasks: Sequence[Task], name: str, folder: Path) -> None:
    """Write a package of a taskset into a folder that is there."""
    module = name.replace("-", "_")  # as verifiers looks for it
    (folder / "pyproject.toml").write_text(_project(name, module), "utf-8")
    write_grader(folder / module / "grader")
    shutil.copyfile(_TASKSET, folder / module / "__init__.py")
    for task in tasks:
        own = folder / module / "tasks" / task.task_id
        write_seed(task, own / "files")
        document = json.dumps(to_document(task), indent=1, ensure_ascii=False) + "\n"
        (own / "task.json").write_text(document, "utf-8")
        (own / "instruction.md").write_text(instruction(task, "the working folder"), "utf-8")
        if task.oracle:
            (own / "solve.sh").write_text(solution(task), "utf-8")


def _project(name: str, module: str) -> str:
    return f"""\
[project]
name = "{name}"
version = "{__version__}"
description = "File tasks of {name}, as an environment of verifiers"
requires-python = ">=3.11"
dependencies = ["verifiers>=0.4"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""
