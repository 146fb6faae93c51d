"""Many rollouts at once, in real sandboxes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import SandboxKind, SandboxSpec
from harness.sandbox.choice import Sandboxes, open_sandboxes
from harness.workloads.envs.files.corpus import NEVER_STOPPING
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.players import ORACLE, EpisodeSpec, FilePolicy, run_episodes
from harness.workloads.envs.files.rollout import FileRollout, RolloutLog, RolloutSettings, Spent
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.template_author import TemplateAuthor

from .conftest import bubblewrap


@pytest.fixture(scope="module")
def tasks() -> tuple[Task, ...]:
    """One of each persona."""
    return tuple(TemplateAuthor().write(slot) for slot in slots(per_persona=1))


def play(
    tasks: tuple[Task, ...], player: FilePolicy, boxes: Sandboxes, log: Path, threads: int
) -> tuple[FileRollout, ...]:
    attempts = [EpisodeSpec(task=task) for task in tasks]
    return run_episodes(
        attempts, player, boxes, RolloutLog(log), rules=RolloutSettings(), max_concurrency=threads
    )


def timeless(rollout: FileRollout) -> FileRollout:
    turns = [
        replace(turn, observation=turn.observation and replace(turn.observation, wall_s=0.0))
        for turn in rollout.turns
    ]
    return replace(rollout, turns=tuple(turns), wall_s=0.0, spent=Spent())


@pytest.mark.parametrize("player", [ORACLE, NEVER_STOPPING])
def test_sandboxes_without_processes_do_what_a_shell_does(
    player: FilePolicy, tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    made = Sandboxes(kind=SandboxKind.BUBBLEWRAP, make=bubblewrap().make, note="")
    real = play(tasks, player, made, tmp_path / "real.jsonl", threads=4)
    with open_sandboxes(SandboxSpec(kind=SandboxKind.MEMORY)) as sandboxes:
        thought = play(tasks, player, sandboxes, tmp_path / "memory.jsonl", threads=1)
    assert list(map(timeless, real)) == list(map(timeless, thought))
    assert all(each.grade is not None and each.grade.passed for each in real)


def test_the_best_sandboxes_are_chosen_and_the_choice_is_said() -> None:
    bubblewrap()  # or skip
    with open_sandboxes(SandboxSpec(kind=SandboxKind.AUTO)) as sandboxes:
        assert sandboxes.kind is SandboxKind.BUBBLEWRAP
        assert sandboxes.note == "commands run in bubblewrap sandboxes"
        with sandboxes.make() as sandbox:
            assert sandbox.run("echo here").stdout == "here\n"
