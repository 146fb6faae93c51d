"""Play every task of an exported environment by verifiers' own loop, once by its author's commands.

Once more by an agent that stops at once. Prints what each earned.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import verifiers as vf

from harness.workloads.envs.files.environment import nothing, oracle
from harness.workloads.envs.files.task_json import read_tasks

TASKS = {task.task_id: task for task in read_tasks(Path("tasks.jsonl"))}
SCRIPTS = {"oracle": oracle, "nothing": nothing}


async def play(env: Any, policy: str, row: Any) -> list[Any]:
    """Return policy, task, reward and pass of one rollout."""
    task_id = row["info"]["task_id"]
    replies = iter(SCRIPTS[policy](TASKS[task_id]))

    class Scripted(type(env)):  # type: ignore[misc]
        """The environment, with replies that are known before."""

        async def get_model_response(self, *_: Any, **__: Any) -> Any:
            message = SimpleNamespace(
                content=next(replies), role="assistant", tool_calls=None, reasoning_content=None
            )
            choice = SimpleNamespace(message=message, finish_reason="stop", logprobs=None)
            return SimpleNamespace(choices=[choice], usage=None, id="x", model=policy)

    env.__class__ = Scripted
    state = await env.rollout(dict(row), client=None, model=policy, sampling_args={})
    await env.rubric.score_rollout(state)
    env.__class__ = Scripted.__mro__[1]
    return [policy, task_id, state["reward"], state["metrics"]["passed"]]


async def main() -> None:
    """Print the results as one line of JSON."""
    env: Any = vf.load_environment("a34-files")
    rows = list(env.get_dataset())
    print(json.dumps([await play(env, policy, row) for policy in SCRIPTS for row in rows]))


asyncio.run(main())
