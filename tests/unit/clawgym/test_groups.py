from __future__ import annotations

from dataclasses import replace

import pytest

from harness.sandbox.base import CommandResult
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.envs.files.corpus import (
    NEVER_STOPPING,
    examples,
    retold,
    worth_imitating,
)
from harness.workloads.envs.files.groups import Reward, groups, signal
from harness.workloads.envs.files.players import ORACLE, FilePolicy
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileAction,
    FileActionKind,
    PromptStyle,
    Turn,
)
from harness.workloads.envs.files.rollout import FileRollout, RolloutSettings, StopReason
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.training.trace import Trace
from tests.unit.clawgym.conftest import Make
from tests.unit.clawgym.test_agent import knowing, player_of
from tests.unit.clawgym.test_evaluate import BROKEN, rollout_of
from tests.unit.clawgym.test_grade import GUIDE, simple
from tests.unit.clawgym.voices import END_TOKEN, Letters, VoiceEngine, block

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
    assert signal(turn) == earned


def traced_rollout(number: int, held: int, turns: tuple[Turn, ...], sample: int = 0) -> FileRollout:
    trace = Trace(turns=(), served="step-001")
    return replace(rollout_of(number, held, 5), turns=turns, trace=trace, sample=sample)


def test_rollouts_of_a_task_are_a_group() -> None:
    rollouts = [
        traced_rollout(3, 5, (ran(0), DONE)),
        traced_rollout(3, 3, (ran(1),) * 12, sample=1),
        traced_rollout(1, 0, (DONE,)),
        replace(BROKEN, task_id="synth-technical-writer-03", sample=2),
    ]
    shaped, alone = groups(rollouts, Reward.SHAPED)
    assert (shaped.key, alone.key) == ("synth-technical-writer-03", "synth-technical-writer-01")
    assert [each.reward for each in shaped.members] == pytest.approx([0.9667, 0.4], abs=1e-4)
    assert [each.signals for each in shaped.members] == [(1.0, 1.0), (0.0,) * 12]
    assert [each.reward for each in alone.members] == pytest.approx([-0.2 / 12])
    binary, _ = groups(rollouts, Reward.BINARY)
    assert [each.reward for each in binary.members] == [1.0, 0.0]


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
    player: FilePolicy, task: Task, prompt_style: PromptStyle = PromptStyle.ARTICLE
) -> FileRollout:
    with MemorySandbox() as sandbox:
        return player.play(task, 0, sandbox, RolloutSettings(prompt_style=prompt_style))


def test_a_demonstration_without_an_end_does_the_task_and_looks_around(task: Task) -> None:
    shown = played(NEVER_STOPPING, task)
    assert shown.stopped is StopReason.MAX_TURNS
    assert [turn.action.command for turn in shown.turns if turn.action] == [
        *task.oracle,
        *("ls",) * 10,
    ]
    assert all(turn.observation and turn.observation.exit_code == 0 for turn in shown.turns)
    assert shown.grade is not None
    assert shown.grade.passed


@pytest.mark.parametrize("prompt_style", list(PromptStyle))
def test_only_what_the_agent_says_is_trained(task: Task, prompt_style: PromptStyle) -> None:
    chat_template = ChatTemplate(Letters())
    shown = played(ORACLE, task, prompt_style)
    (example,) = examples([shown], {task.task_id: task}, chat_template)
    trained = [example.tokens[at] for at in example.trained]
    said = [*(block(command) for command in task.oracle), STOP_WORD]
    assert trained == [token for text in said for token in chat_template.said(text)]
    assert trained.count(END_TOKEN) == 3


def test_retelling_shows_what_a_model_of_these_tokens_would_be_shown(task: Task) -> None:
    own = played(player_of(VoiceEngine(knowing)), task)
    told = retold(own, task, ChatTemplate(Letters()))
    assert own.trace is not None
    assert [turn.context for turn in told.turns] == [turn.context for turn in own.trace.turns]
    assert [turn.logprobs for turn in told.turns] == [()] * 3
    # the tokenizer has a piece for what the model said letter by letter
    assert told.turns[2].reply != own.trace.turns[2].reply
