from __future__ import annotations

from dataclasses import replace

import pytest

from harness.experiments.a32_34.sft_data import (
    NEVER_STOPPING,
    examples,
    retold,
    worth_imitating,
)
from harness.experiments.a32_34.tasks import ORACLE
from harness.sandbox.base import CommandResult
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import (
    FileEnvironment,
    FileEpisode,
    FileSettings,
    Reward,
    turn_reward,
)
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileAction,
    FileActionKind,
    PromptStyle,
    Turn,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.rl.advantages import groups
from harness.workloads.rl.rollout import Rollout, Trace
from harness.workloads.rl.runner import Policy, run_episode
from tests.unit.a32_34.test_evaluation import BROKEN, rollout_of
from tests.unit.envs_files.conftest import Make
from tests.unit.envs_files.test_agent import knowing, policy_of
from tests.unit.envs_files.test_grade import GUIDE, simple
from tests.unit.envs_files.voices import END_TOKEN, Letters, VoiceEngine, block

DONE = Turn(response=STOP_WORD, action=FileAction(kind=FileActionKind.DONE))


def ran(exit_code: int, *, timed_out: bool = False) -> Turn:
    result = CommandResult(exit_code=exit_code, stdout="", stderr="", timed_out=timed_out)
    action = FileAction(kind=FileActionKind.COMMAND, command="ls")
    return Turn(response=block("ls"), action=action, observation=result)


@pytest.mark.parametrize(
    ("turn", "earned"),
    [
        (ran(0), 1.0),
        (ran(1), 0.0),
        (ran(124, timed_out=True), 0.0),
        (Turn(response="?", parse_error="no block"), 0.0),
        (DONE, 1.0),
    ],
)
def test_what_a_turn_earns(turn: Turn, earned: float) -> None:
    assert turn_reward(turn) == earned


def traced(number: int, reward: float, turn_rewards: tuple[float, ...]) -> Rollout[FileEpisode]:
    found = replace(rollout_of(number, 5, 5), reward=reward, turn_rewards=turn_rewards)
    return replace(found, trace=Trace(turns=()))


def test_rollouts_of_a_task_are_a_group() -> None:
    rollouts = [
        traced(3, 0.97, (1.0, 1.0)),
        replace(traced(3, 0.4, (0.0,) * 12), sample=1),
        traced(1, -0.02, (1.0,)),
        replace(BROKEN, task_id="synth-technical-writer-03", sample=2),
    ]
    several, alone = groups(rollouts)
    assert (several.key, alone.key) == ("synth-technical-writer-03", "synth-technical-writer-01")
    assert several.rewards == (0.97, 0.4)
    assert [each.turn_rewards for each in several.members] == [(1.0, 1.0), (0.0,) * 12]
    assert alone.rewards == (-0.02,)


@pytest.mark.parametrize(
    ("reward", "earned"), [(Reward.SHAPED, (1 - 0.2 * 3 / 12, -0.2 / 12)), (Reward.BINARY, (1, 0))]
)
def test_an_episode_earns_what_the_settings_say(
    task: Task, reward: Reward, earned: tuple[float, ...]
) -> None:
    idle = policy_of(VoiceEngine(lambda *_: STOP_WORD))
    with FileEnvironment(MemorySandbox, FileSettings(reward=reward)) as environment:
        found = [run_episode(policy, environment, task) for policy in (ORACLE, idle)]
    assert [each.reward for each in found] == pytest.approx(earned)
    assert [each.turn_rewards for each in found] == [(1.0, 1.0, 1.0), (1.0,)]


# --- What is imitated ---------------------------------------------------------------------------


def test_passes_and_near_misses_are_worth_imitating() -> None:
    rollouts = [rollout_of(n, held) for n, held in enumerate((4, 3, 2, 0))]
    unasked = rollout_of(7, 0, 0)  # a task without assertions passes, and shows nothing
    assert worth_imitating([*rollouts, BROKEN, unasked]) == tuple(rollouts[:2])


@pytest.fixture
def task(make: Make) -> Task:
    assertions = (simple("file_exists", "manual/guide.md"), simple("file_not_exists", GUIDE))
    oracle = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")
    return replace(make(*assertions), oracle=oracle)


def played(
    policy: Policy[Task], task: Task, prompt_style: PromptStyle = PromptStyle.ARTICLE
) -> Rollout[FileEpisode]:
    settings = FileSettings(prompt_style=prompt_style)
    with FileEnvironment(MemorySandbox, settings) as environment:
        return run_episode(policy, environment, task)


def test_a_demonstration_without_an_end_does_the_task_and_looks_around(task: Task) -> None:
    shown = played(NEVER_STOPPING, task)
    assert shown.stop_reason is StopReason.MAX_TURNS
    assert [turn.action.command for turn in shown.episode.turns if turn.action] == [
        *task.oracle,
        *("ls",) * 10,
    ]
    assert all(turn.observation and turn.observation.exit_code == 0 for turn in shown.episode.turns)
    assert shown.episode.grade is not None
    assert shown.episode.grade.passed


@pytest.mark.parametrize("prompt_style", list(PromptStyle))
def test_only_what_the_agent_says_is_trained(task: Task, prompt_style: PromptStyle) -> None:
    template = ChatTemplate(Letters())
    shown = played(ORACLE, task, prompt_style)
    (example,) = examples([shown], {task.task_id: task}, template, prompt_style)
    trained = [example.tokens[at] for at in example.trained]
    said = [*(block(command) for command in task.oracle), STOP_WORD]
    assert trained == [token for text in said for token in template.said(text)]
    assert trained.count(END_TOKEN) == 3


def test_retelling_shows_what_a_model_of_these_tokens_would_be_shown(task: Task) -> None:
    own = played(policy_of(VoiceEngine(knowing)), task)
    told = retold(own, task, ChatTemplate(Letters()), PromptStyle.ARTICLE)
    assert own.trace is not None
    assert [turn.context for turn in told.turns] == [turn.context for turn in own.trace.turns]
    assert [turn.logprobs for turn in told.turns] == [()] * 3
    # the tokenizer has a piece for what the model said letter by letter
    assert told.turns[2].reply != own.trace.turns[2].reply
