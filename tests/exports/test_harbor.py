"""Harbor's own verifier grades 200 end states of exported tasks as the harness's grader does."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.export.harbor import export, write_task
from harness.export.source import Exported
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.workspace import Workspace
from harness.workloads.envs.files.grade import Grade, grade
from harness.workloads.envs.files.task import Task
from tests.exports.conftest import NUM_TASKS, make_tasks

NUM_STATES = 200
NUM_ALONE = 8
needs_bwrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="needs bubblewrap, in the place of Docker"
)


def test_every_task_of_the_runs_is_a_folder(exported: Exported, tmp_path: Path) -> None:
    export(exported, tmp_path / "h")
    folders = sorted((tmp_path / "h").iterdir())
    assert len(folders) == NUM_TASKS
    for folder in folders:
        assert (folder / "tests" / "test.sh").stat().st_mode & 0o111
        assert (folder / "solution" / "solve.sh").read_text().startswith("#!/bin/bash\n")


def end_states(chance: random.Random, count: int) -> Iterator[tuple[Task, Workspace]]:
    """Yield tasks with what agents may leave: all done, nothing, half, and files that are wrong."""
    tasks = make_tasks(count // 4, seed=11)
    assert len(tasks) == count // 4
    for task in tasks:
        yield task, task.workspace
        for part in (len(task.oracle), chance.randrange(len(task.oracle) + 1)):
            yield task, after(task, task.oracle[:part])
        wrong = dict(after(task, task.oracle))
        for path in chance.sample(sorted(wrong), min(2, len(wrong))):
            change = chance.randrange(3)
            if change == 0:
                del wrong[path]
            elif change == 1:
                wrong[path] = wrong[path][::-1] + b"\r\n\xff"
            else:
                wrong[f"{path}.bak"] = wrong.pop(path)
        yield task, wrong


def after(task: Task, commands: tuple[str, ...]) -> Workspace:
    with MemorySandbox() as sandbox:
        sandbox.materialise(task.workspace)
        for command in commands:
            sandbox.run(command)
        return sandbox.snapshot()


def lay_out(workspace: Workspace, folder: Path) -> Path:
    for path, content in workspace.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def laid_out(root: Path, count: int) -> list[tuple[Path, Path, Grade]]:
    """Return task folder, workspace and our grade of so many end states; both grades are often."""
    found = []
    for number, (task, workspace) in enumerate(end_states(random.Random(5), count)):  # noqa: S311 - not secret
        folder = root / "tasks" / task.task_id
        if not folder.exists():
            write_task(task, folder, "a32")
        app = lay_out(workspace, root / "apps" / str(number))
        found.append((folder, app, grade(task, app)))
    assert len(found) == count
    passed = sum(graded.passed for *_, graded in found)
    assert count / 4 <= passed <= 3 * count / 4
    return found


@needs_bwrap
def test_harbors_verifier_grades_as_we_do(tmp_path: Path) -> None:
    pytest.importorskip("harbor", reason="needs harbor, of Python 3.12")
    from harbor.models.task.task import Task as HarborTask  # noqa: PLC0415 - an extra
    from harbor.models.trial.paths import TrialPaths  # noqa: PLC0415
    from harbor.verifier.verifier import Verifier  # noqa: PLC0415

    from tests.exports.bubblewrapped import Bubblewrapped  # noqa: PLC0415 - needs harbor

    async def verified(folder: Path, app: Path) -> dict[str, float]:
        task = HarborTask(folder)
        root = tmp_path / app.name
        paths = TrialPaths(trial_dir=root / "trial")
        paths.verifier_dir.mkdir(parents=True)
        environment = Bubblewrapped(
            root=root / "root",
            app=app,
            environment_dir=task.paths.environment_dir,
            environment_name=folder.name,
            session_id=app.name,
            trial_paths=paths,
            task_env_config=task.config.environment,
            logger=logging.getLogger("harbor"),
        )
        await environment.start(force_build=False)
        verifier = Verifier(task=task, trial_paths=paths, environment=environment)
        result: Any = await verifier.verify()
        return dict(result.rewards)

    differing = []
    for folder, app, graded in laid_out(tmp_path / "given", NUM_STATES):
        rewards = asyncio.run(verified(folder, app))
        ours = {
            "reward": float(graded.passed),
            "assertion_pass_rate": graded.num_passed / graded.num_total,
        }
        if rewards != ours:
            differing.append((folder.name, ours, rewards))
    assert differing == []


def test_the_copied_grader_needs_nothing_of_this_checkout(tmp_path: Path) -> None:
    for number, (folder, app, graded) in enumerate(laid_out(tmp_path / "given", NUM_ALONE)):
        moved, logs = tmp_path / f"tests-{number}", tmp_path / f"logs-{number}"
        shutil.copytree(folder / "tests", moved)
        script = (moved / "grade.py").read_text(encoding="utf-8")
        script = script.replace('"/app"', repr(str(app))).replace("/logs", str(logs))
        (moved / "grade.py").write_text(script, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", RUN, str(moved)],
            capture_output=True,
            check=False,
            cwd="/",
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("FAIL") == graded.num_total - graded.num_passed
        reward = json.loads((logs / "verifier" / "reward.json").read_text(encoding="utf-8"))
        assert reward["reward"] == float(graded.passed)


RUN = (
    "import sys, runpy; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[1] + '/grade.py')"
)
