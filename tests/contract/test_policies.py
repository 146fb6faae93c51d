"""Many rollouts at once, in real sandboxes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from harness.experiments.a32_34.sft_data import NEVER_STOPPING
from harness.experiments.a32_34.tasks import ORACLE
from harness.records import SandboxKind, SandboxSpec
from harness.sandbox.choice import Sandboxes, open_sandboxes
from harness.workloads.envs.files.environment import FileEnvironment, FileEpisode
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.rl.rollout import Rollout, Timings
from harness.workloads.rl.runner import Policy, Runner

from .conftest import bubblewrap


@pytest.fixture(scope="module")
def tasks() -> tuple[Task, ...]:
    """One of each persona."""
    return tuple(TemplateAuthor().write(slot) for slot in slots(per_persona=1))


def play(
    tasks: tuple[Task, ...], policy: Policy[Task], sandboxes: Sandboxes, max_concurrency: int
) -> tuple[Rollout[FileEpisode], ...]:
    environment = partial(FileEnvironment, sandboxes.make)
    return Runner(environment=environment, max_concurrency=max_concurrency).run(policy, tasks)


def timeless(rollout: Rollout[FileEpisode]) -> Rollout[FileEpisode]:
    turns = tuple(
        replace(turn, observation=turn.observation and replace(turn.observation, wall_s=0.0))
        for turn in rollout.episode.turns
    )
    return replace(rollout, episode=replace(rollout.episode, turns=turns), timings=Timings())


@pytest.mark.parametrize("policy", [ORACLE, NEVER_STOPPING])
def test_sandboxes_without_processes_do_what_a_shell_does(
    policy: Policy[Task], tasks: tuple[Task, ...]
) -> None:
    made = Sandboxes(kind=SandboxKind.BUBBLEWRAP, make=bubblewrap().make, note="")
    real = play(tasks, policy, made, max_concurrency=4)
    with open_sandboxes(SandboxSpec(kind=SandboxKind.MEMORY)) as sandboxes:
        thought = play(tasks, policy, sandboxes, max_concurrency=1)
    assert list(map(timeless, real)) == list(map(timeless, thought))
    assert all(each.episode.grade is not None and each.episode.grade.passed for each in real)


def test_the_best_sandboxes_are_chosen_and_the_choice_is_said() -> None:
    bubblewrap()  # or skip
    with open_sandboxes(SandboxSpec(kind=SandboxKind.AUTO)) as sandboxes:
        assert sandboxes.kind is SandboxKind.BUBBLEWRAP
        assert sandboxes.note == "commands run in bubblewrap sandboxes"
        with sandboxes.make() as sandbox:
            assert sandbox.run("echo here").stdout == "here\n"
