from __future__ import annotations

import subprocess
from itertools import islice
from pathlib import Path

import pytest

from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.workspace import read_tree, write_tree
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.author import AuthorFailedError, synthesise
from harness.workloads.envs.files.environment import FileEnvironment, oracle
from harness.workloads.envs.files.grade import do_nothing, grade, rates
from harness.workloads.envs.files.lint import lint
from harness.workloads.envs.files.personas import Slot, slots
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import parse_task, to_document
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.rl.runner import ScriptedPolicy, run_episode

TASKS = synthesise(TemplateAuthor(), slots()).tasks


def test_every_slot_gets_the_same_task_again() -> None:
    assert len(TASKS) == 200
    assert synthesise(TemplateAuthor(), slots()).tasks == TASKS
    assert [task.task_id for task in TASKS] == [slot.task_id for slot in slots()]


@pytest.mark.parametrize("base_seed", [42, 1042, 77_000])
def test_tasks_are_valid_sound_and_solvable_and_none_is_solved_at_the_start(base_seed: int) -> None:
    tasks = synthesise(TemplateAuthor(), slots(base_seed=base_seed)).tasks
    assert all(parse_task(to_document(task)) == task for task in tasks)
    assert lint(tasks) == ()
    assert do_nothing(tasks).tasks_passed == 0
    policy = ScriptedPolicy(name="oracle", script=oracle)
    with FileEnvironment(MemorySandbox) as environment:
        played = [run_episode(policy, environment, task) for task in tasks]
    assert {each.stop_reason for each in played} == {StopReason.TASK_COMPLETE}
    grades = [each.episode.grade for each in played if each.episode.grade is not None]
    assert rates(grades).tasks_passed == len(tasks) == 200


def test_a_real_shell_leaves_what_the_box_in_memory_leaves(tmp_path: Path) -> None:
    for task in islice(TASKS, 0, None, 9):
        root = tmp_path / task.task_id
        root.mkdir()
        write_tree(root, task.workspace)
        script = "set -e\n" + "\n".join(task.oracle)
        subprocess.run(["bash", "-c", script], cwd=root, check=True, stdin=subprocess.DEVNULL)  # noqa: S607
        with MemorySandbox() as box:
            box.materialise(task.workspace)
            assert [box.run(command).exit_code for command in task.oracle] == [0] * len(task.oracle)
            assert box.snapshot() == read_tree(root)
        assert grade(task, root).passed


def test_a_slot_that_fails_is_skipped_with_its_cause() -> None:
    class Moody:
        def write(self, slot: Slot) -> Task:
            if slot.index == 1:
                message = "not today"
                raise AuthorFailedError(message)
            return TemplateAuthor().write(slot)

    written = synthesise(Moody(), slots(per_persona=2))
    assert len(written.tasks) == 8
    assert set(written.failures.values()) == {"not today"}
    assert "synth-ml-engineer-01" in written.failures
