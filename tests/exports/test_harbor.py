"""Harbor's own verifier grades 200 end states of exported tasks as the harness's grader does."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.export.harbor import export, write_task
from harness.export.source import Exported
from tests.exports.conftest import NUM_TASKS
from tests.exports.states import NUM_STATES, end_states, lay_out, rewards_of

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
    for number, state in enumerate(end_states(NUM_STATES)):
        folder = tmp_path / "tasks" / state.task.task_id
        if not folder.exists():
            write_task(state.task, folder, "a32")
        app = lay_out(state.workspace, tmp_path / "apps" / str(number))
        rewards = asyncio.run(verified(folder, app))
        if rewards != rewards_of(state.grade):
            differing.append((folder.name, state.grade, rewards))
    assert differing == []


def test_the_copied_grader_needs_nothing_of_this_checkout(tmp_path: Path) -> None:
    for number, state in enumerate(end_states(NUM_ALONE)):
        folder = tmp_path / str(number)
        write_task(state.task, folder, "a32")
        app = lay_out(state.workspace, tmp_path / f"app-{number}")
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", RUN, str(folder / "tests"), str(app), "reward.json"],
            capture_output=True,
            check=False,
            cwd=folder,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        grade = state.grade
        assert done.stdout.count("FAIL") == grade.num_total - grade.num_passed
        reward = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
        assert reward == rewards_of(grade)


RUN = """\
import runpy, sys
tests = sys.argv.pop(1)
sys.path.insert(0, tests)
runpy.run_path(f"{tests}/grade.py")
"""
