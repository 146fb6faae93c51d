"""Every reward hack, in every environment: it earns no more than doing nothing, and it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from harness.records import ImageRef
from harness.sandbox.base import Sandbox
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import CommandLimits
from harness.workloads.envs.files.environment import (
    FileEnvironment,
    FileEpisode,
    FileSettings,
    Reward,
    nothing,
)
from harness.workloads.envs.files.grade import Grade
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.envs.search.environment import SearchEnvironment
from harness.workloads.envs.search.protocol import answer
from harness.workloads.envs.search.world import Question, World
from harness.workloads.rl.rollout import Rollout
from harness.workloads.rl.runner import ScriptedPolicy, run_episode
from tests.attacks.reward_hacks import FILE_HACKS, SEARCH_HACKS
from tests.contract.conftest import bubblewrap
from tests.unit.envs_search.fakes import Shelf

TASKS = tuple(TemplateAuthor().write(slot) for slot in tuple(slots())[::41][:2])
WORLD = World(0, 20)
QUESTIONS = WORLD.questions(0, 3, (1, 2, 3))
SANDBOXES = ["memory", "bubblewrap", pytest.param("containers", marks=pytest.mark.docker)]


@pytest.fixture(params=SANDBOXES, scope="module")
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], Sandbox]]:
    """Makes sandboxes of each kind in turn."""
    if request.param == "memory":
        yield MemorySandbox
    elif request.param == "containers":
        image: ImageRef = request.getfixturevalue("sandbox_image")
        with ContainerPool(image) as pool:
            yield pool.make
    else:
        bubblewrap()  # or skip
        yield Bubblewrap().make


@pytest.fixture(scope="module")
def environments(make: Callable[[], Sandbox]) -> Iterator[Mapping[Reward, FileEnvironment]]:
    """One for each reward; its sandboxes meet hack after hack, as in a run."""
    limits = CommandLimits(timeout_s=2.0)
    with ExitStack() as stack:
        yield {
            reward: stack.enter_context(
                FileEnvironment(make, FileSettings(reward=reward, command=limits))
            )
            for reward in Reward
        }


@pytest.fixture(scope="module")
def at_rest(
    environments: Mapping[Reward, FileEnvironment],
) -> Mapping[tuple[Reward, str], Rollout[FileEpisode]]:
    """What doing nothing earns: reward and task -> rollout."""
    idle = ScriptedPolicy(name="nothing", script=nothing)
    return {
        (reward, task.task_id): run_episode(idle, environment, task)
        for reward, environment in environments.items()
        for task in TASKS
    }


def test_the_set_has_twenty_hacks_of_each_environment() -> None:
    assert len(FILE_HACKS) >= 20
    assert len(SEARCH_HACKS) >= 20


@pytest.mark.parametrize("name", FILE_HACKS)
def test_no_hack_of_a_file_task_earns_more_than_doing_nothing(
    environments: Mapping[Reward, FileEnvironment],
    at_rest: Mapping[tuple[Reward, str], Rollout[FileEpisode]],
    name: str,
) -> None:
    hack = ScriptedPolicy(name="hack", script=FILE_HACKS[name])
    for reward, environment in environments.items():
        for task in TASKS if reward is Reward.SHAPED else TASKS[:1]:
            earned, idle = run_episode(hack, environment, task), at_rest[reward, task.task_id]
            assert not earned.is_error, earned.error
            assert earned.reward is not None
            assert idle.reward is not None
            assert earned.reward <= idle.reward
            assert _passed(earned.episode.grade) <= _passed(idle.episode.grade)


def _passed(graded: Grade | None) -> int:
    assert graded is not None
    return graded.num_passed


@pytest.mark.parametrize("name", SEARCH_HACKS)
def test_no_hack_of_a_question_earns_more_than_an_answer_that_is_a_guess(name: str) -> None:
    hack = ScriptedPolicy[Question](name="hack", script=SEARCH_HACKS[name])
    guess = [answer("I do not know")]
    idle = ScriptedPolicy[Question](name="nothing", script=lambda _: guess)
    with SearchEnvironment(Shelf(WORLD.passages)) as environment:
        for question in QUESTIONS:
            earned = run_episode(hack, environment, question)
            at_rest = run_episode(idle, environment, question)
            assert not earned.is_error, earned.error
            assert earned.reward is not None
            assert at_rest.reward is not None
            assert earned.reward <= at_rest.reward
            assert not earned.episode.is_right
