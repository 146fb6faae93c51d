"""verifiers: the file tasks as an environment that its trainers and ``vf-eval`` load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import __version__, atomic
from harness.export.harbor import tasks_of
from harness.export.source import Exported, require
from harness.records import to_json
from harness.sandbox.base import Sandbox
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import FileEnvironment, FileSettings
from harness.workloads.envs.files.protocol import opening
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import read_tasks, write_tasks

_TASKS = "tasks.jsonl"
_MODULE = '''\
"""File tasks of {scenario}, as an environment of verifiers."""

from pathlib import Path

from harness.export.verifiers import load


def load_environment(**settings):
    """Return the environment; see `harness.export.verifiers.load`."""
    return load(Path(__file__).with_name("tasks.jsonl"), **settings)
'''
_PROJECT = """\
[project]
name = "{name}"
version = "{version}"
description = "File tasks of {scenario}"
requires-python = ">=3.11"
dependencies = ["verifiers>=0.1.10", "spark-article-harness"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build]
include = ["{module}.py", "tasks.jsonl"]
"""


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder that ``vf-install`` takes: a module, its tasks and its project file.

    Raises:
        HostError: the runs have no file tasks here.
    """
    tasks = tasks_of(source)
    name = source.name.partition("-")[0] + "-files"
    module = name.replace("-", "_")
    facts = {"name": name, "module": module, "scenario": source.name, "version": __version__}
    with atomic.new_folder(path) as folder:
        write_tasks(folder / _TASKS, tasks)
        (folder / f"{module}.py").write_text(_MODULE.format(**facts), encoding="utf-8")
        (folder / "pyproject.toml").write_text(_PROJECT.format(**facts), encoding="utf-8")
    return [f"{path}: {len(tasks)} tasks; load it with: verifiers.load_environment({name!r})"]


def load(
    tasks: Path,
    make_sandbox: Callable[[], Sandbox] = MemorySandbox,
    settings: FileSettings = FileSettings(),  # noqa: B008 - frozen
) -> Any:
    """Return an environment of verifiers.

    Args:
        tasks: a file of tasks, one a line.
        make_sandbox: returns a sandbox that is not open yet; the one in memory has no processes,
            and knows a few commands of files only.
        settings: parser, prompts, turns, reward.
    """
    require("verifiers")
    import verifiers as vf  # noqa: PLC0415 - an extra, and slow to load
    from datasets import Dataset  # noqa: PLC0415 - comes with it

    known = {task.task_id: task for task in read_tasks(tasks)}
    rows = [_row(task, settings) for task in known.values()]

    class FileTasks(vf.MultiTurnEnv):  # type: ignore[misc] # verifiers is no dependency of ours
        """Each rollout has a sandbox of its own, which is closed when it ends."""

        async def setup_state(self, state: Any) -> Any:
            environment = FileEnvironment(make_sandbox, settings)
            state["environment"] = await asyncio.to_thread(environment.__enter__)
            task = (
                known[json.loads(state["info"])["task_id"]]
                if isinstance(state["info"], str)
                else known[state["info"]["task_id"]]
            )
            await asyncio.to_thread(environment.reset, task)
            return state

        async def env_response(self, messages: Any, state: Any, **_: Any) -> Any:
            reply = str(messages[-1]["content"] or "")
            step = await asyncio.to_thread(state["environment"].step, reply)
            if step.stop_reason is not None:
                await self._finish(state, step.stop_reason)
                state["final_env_response"] = []
                return []
            return [{"role": "user", "content": step.shown}]

        async def _finish(self, state: Any, reason: StopReason) -> None:
            outcome = await asyncio.to_thread(state["environment"].finish, reason)
            state["outcome"] = to_json(outcome)
            state["passed"] = float(state["environment"].episode.grade.passed)

        @vf.cleanup  # type: ignore[untyped-decorator]
        async def close(self, state: Any) -> None:
            """Grade what a rollout that was cut short has come to, and close its sandbox."""
            environment = state.pop("environment", None)
            if environment is None:
                return
            state["environment"] = environment
            if "outcome" not in state:
                await self._finish(state, StopReason.CONTEXT_FULL)
            del state["environment"]
            await asyncio.to_thread(environment.__exit__, None, None, None)

    def reward(state: Any, **_: Any) -> float:
        return float(state["outcome"]["reward"])

    def passed(state: Any, **_: Any) -> float:
        return float(state["passed"])

    rubric = vf.Rubric(funcs=[reward, passed], weights=[1.0, 0.0])
    return FileTasks(
        dataset=Dataset.from_list(rows), rubric=rubric, max_turns=settings.max_turns + 1
    )


def _row(task: Task, settings: FileSettings) -> dict[str, Any]:
    said = opening(task.intent, sorted(task.workspace), settings.prompt_style)
    return {
        "prompt": [{"role": each.role.value, "content": each.content} for each in said],
        "answer": "",
        "info": {"task_id": task.task_id},
    }
