"""verifiers loads the exported package, checks its tasks, and grades 200 end states as we do."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harness.export.source import Exported
from harness.export.verifiers import export, write_package
from tests.exports.conftest import NUM_TASKS
from tests.exports.states import NUM_STATES, end_states, lay_out, rewards_of

needs_verifiers = pytest.mark.skipif(
    find_spec("verifiers") is None, reason="needs verifiers, in an environment of its own"
)
NAME = "a34-t2po-uncertainty-guided-rl"


@needs_verifiers
def test_its_own_program_checks_every_task(exported: Exported, tmp_path: Path) -> None:
    export(exported, tmp_path / "v")
    # no container engine is needed for the author's own commands
    here = ["--taskset.contained", "false", "--runtime.type", "subprocess", "--no-rich"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("vf-validate")), NAME, *here, "-o", "out"],
        capture_output=True,
        check=False,
        cwd=tmp_path / "v",
        encoding="utf-8",
        env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    (summary,) = (tmp_path / "v" / "out").rglob("summary.json")
    checks = json.loads(summary.read_text("utf-8"))["checks"]
    # the author's commands solve each, and an agent that does nothing solves none
    assert (checks["gold"]["valid"], checks["noop"]["valid"]) == (NUM_TASKS, NUM_TASKS)


@needs_verifiers
def test_it_grades_as_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import verifiers.v1 as vf  # noqa: PLC0415 - an extra
    from verifiers.v1.runtimes import make_runtime  # noqa: PLC0415

    states = end_states(NUM_STATES)
    write_package([*{each.task.task_id: each.task for each in states}.values()], "graded", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    config: Any = vf.taskset_config_type("graded")
    tasks = {task.data.id: task for task in vf.load_taskset(config(id="graded", contained=False))}

    async def scored(task: Any, workspace: Path) -> dict[str, float]:
        agent = vf.AgentInfo(config=vf.AgentConfig())
        about = vf.TraceTask(type="FileTask", data=task.data, key=task.key, hash=task.hash)
        trace = vf.Trace(task=about, state=vf.State(), agent=agent)
        runtime = make_runtime(vf.SubprocessConfig(), name=workspace.name)
        await runtime.start()
        try:
            shutil.copytree(workspace, runtime.workdir, dirs_exist_ok=True)
            await task.score(trace, runtime)
        finally:
            await runtime.stop()
        return {"reward": trace.rewards["passed"].score, **trace.metrics}

    differing = []
    for number, state in enumerate(states):
        workspace = lay_out(state.workspace, tmp_path / "apps" / str(number))
        rewards = asyncio.run(scored(tasks[state.task.task_id], workspace))
        if rewards != rewards_of(state.grade):
            differing.append((state.task.task_id, state.grade, rewards))
    assert differing == []
