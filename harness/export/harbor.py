"""Harbor: a folder for each file task, graded in its container by the harness's own grader.

The grader is not written a second time: ``tests/`` holds the very modules that grade here, which
need nothing but Python 3.11. So a task is graded equally in both places.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

from harness import atomic
from harness.errors import HostError
from harness.export.source import Exported
from harness.source import modules
from harness.workloads.envs.files.grade import MAX_TURNS
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import to_document

IMAGE = "python:3.12-slim-bookworm"
_GRADER = (
    "harness.workloads.envs.files.grade",
    "harness.workloads.envs.files.task_json",
    "harness.workloads.envs.files.regex_child",  # started by its path
)
_COMMAND_S = 10  # article 32: what one command may take
_GRADE = '''\
"""Grades a folder by the task beside this file: grade.py FOLDER REWARD.json."""

import json
import sys
from pathlib import Path

from harness.sandbox.workspace import WorkspaceOverflow
from harness.workloads.envs.files.grade import failed, grade
from harness.workloads.envs.files.task_json import parse_task

task = parse_task(json.loads(Path(__file__).with_name("task.json").read_text("utf-8")))
try:
    graded = grade(task, Path(sys.argv[1]))
except WorkspaceOverflow as overflow:
    graded = failed(task, str(overflow))
for each in graded.results:
    print("ok  " if each.passed else "FAIL", each.kind, repr(each.path), each.detail)
share = graded.num_passed / graded.num_total if graded.num_total else 1.0
reward = {"reward": float(graded.passed), "assertion_pass_rate": share}
Path(sys.argv[2]).write_text(json.dumps(reward) + "\\n", "utf-8")
'''
_TEST = """\
#!/bin/sh
# -P: what the agent left in the working folder is not loaded in the grader's place
cd / && PYTHONPATH=/tests exec python3 -P -B /tests/grade.py /app /logs/verifier/reward.json
"""
_DOCKERFILE = f"""\
FROM {IMAGE}
WORKDIR /app
COPY files/ /app/
"""


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder of task folders, as ``harbor run --path`` takes it.

    Raises:
        HostError: the runs have no file tasks here.
    """
    tasks = tasks_of(source)
    with atomic.new_folder(path) as folder:
        for task in tasks:
            write_task(task, folder / task.task_id, source.name)
    return [
        f"{path}: {len(tasks)} tasks; run them with: harbor run --path {shlex.quote(str(path))}"
    ]


def tasks_of(source: Exported) -> list[Task]:
    """Return the file tasks of the runs, each once.

    Raises:
        HostError: there is none.
    """
    tasks = {name: task for run in source.runs for name, task in source.tasks(run).items()}
    if not tasks:
        message = f"the runs of {source.name} {source.report.profile} have no file tasks here"
        raise HostError(message, f"harness run a32 --profile {source.report.profile}")
    return [*tasks.values()]


def write_task(task: Task, folder: Path, scenario: str) -> None:
    """Write one task: its text, its workspace, its author's commands, and its grader."""
    environment, tests = folder / "environment", folder / "tests"
    write_seed(task, environment / "files")
    _write(environment / "Dockerfile", _DOCKERFILE)
    _write(folder / "instruction.md", instruction(task, "/app"))
    _write(folder / "task.toml", _settings(task, scenario))
    if task.oracle:
        _write(folder / "solution" / "solve.sh", solution(task, "/app"), mode=0o755)
    write_grader(tests)
    _write(tests / "test.sh", _TEST, mode=0o755)
    _write(tests / "task.json", json.dumps(to_document(task), indent=1, ensure_ascii=False) + "\n")


def write_seed(task: Task, folder: Path) -> None:
    """Write the files that an agent finds."""
    folder.mkdir(parents=True)
    for seed in task.seed:
        place = folder / seed.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(seed.content)


def instruction(task: Task, where: str) -> str:
    """Return what an agent is asked."""
    said = f"The files are in {where}; paths are relative to it. There is no network."
    return f"{task.intent}\n\n{said}\n"


def solution(task: Task, where: str = ".") -> str:
    """Return the author's commands as a script."""
    commands = "\n".join(task.oracle)
    return f"#!/bin/bash\nset -e\ncd {where}\n{commands}\n"


def _settings(task: Task, scenario: str) -> str:
    """Return the settings in TOML; a JSON text is a TOML one too."""
    keywords = json.dumps([task.role, *task.skills])
    return f"""\
version = "1.0"

[metadata]
scenario = {json.dumps(scenario)}
task_id = {json.dumps(task.task_id, ensure_ascii=True)}
difficulty = {json.dumps(task.difficulty.value)}
keywords = {keywords}

[agent]
timeout_sec = {float(MAX_TURNS * _COMMAND_S)}

[verifier]
timeout_sec = 60.0

[environment]
build_timeout_sec = 600.0
cpus = 1
memory_mb = 1024
network_mode = "no-network"
"""


def write_grader(folder: Path) -> None:
    """Write ``grade.py`` with all the modules that it can load; it expects ``task.json`` beside."""
    _write(folder / "grade.py", _GRADE)
    for name, file in modules(_GRADER).items():
        place = folder.joinpath(*name.split(".")).with_suffix(".py")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    for package in (folder / "harness", *(folder / "harness").rglob("*/")):
        (package / "__init__.py").touch()


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    path.chmod(mode)
