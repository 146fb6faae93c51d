from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import pytest

from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.envs.files.agent import EngineAgent, EngineFilePolicy, seed_of
from harness.workloads.envs.files.protocol import STOP_WORD, PromptStyle
from harness.workloads.envs.files.rollout import FileRollout, RolloutSettings, StopReason
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.rl.algorithms.t2po import ResampleRule
from harness.workloads.training.trace import NOT_TRAINED
from tests.unit.clawgym.conftest import Make
from tests.unit.clawgym.test_grade import GUIDE, simple
from tests.unit.clawgym.voices import END_TOKEN, Letters, VoiceEngine, block

COMMANDS = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")
SAMPLING = SamplingParams(temperature=0.8, max_new_tokens=400, seed=7)


@pytest.fixture
def task(make: Make) -> Task:
    return make(simple("file_exists", "manual/guide.md"), simple("file_not_exists", GUIDE))


def knowing(prompt: str, _: int) -> str:
    """Do the task, by how many commands have been answered."""
    turn = prompt.count("exit code:") + prompt.count("exit 0")
    return block(COMMANDS[turn]) if turn < len(COMMANDS) else STOP_WORD


def player_of(engine: VoiceEngine, sampling: SamplingParams = SAMPLING) -> EngineFilePolicy:
    return EngineFilePolicy(
        name="voice", engine=engine, chat_template=ChatTemplate(Letters()), sampling=sampling
    )


def played(
    player: EngineFilePolicy,
    task: Task,
    rules: RolloutSettings = RolloutSettings(),  # noqa: B008
) -> FileRollout:
    with MemorySandbox() as box:
        return player.play(task, 0, box, rules)


@pytest.mark.parametrize("prompt_style", list(PromptStyle))
def test_a_model_plays_and_its_trace_is_what_it_was_shown(
    task: Task, prompt_style: PromptStyle
) -> None:
    engine = VoiceEngine(knowing)
    rollout = played(player_of(engine), task, RolloutSettings(prompt_style=prompt_style))
    assert rollout.stopped is StopReason.TASK_COMPLETE
    assert rollout.grade is not None
    assert rollout.grade.passed
    trace = rollout.trace
    assert trace is not None
    assert (rollout.engine, rollout.served, trace.served) == ("voice 1", "base", "base")
    assert len(trace.turns) == len(rollout.turns) == len(engine.prompts) == 3
    shown: tuple[int, ...] = ()
    for turn, prompt in zip(trace.turns, engine.prompts, strict=True):
        assert prompt == (*shown, *turn.context)
        shown = (*prompt, *turn.reply)
    assert trace.tokens == shown
    # where it drew, the scores of the whole are those of the drawing
    scores = (0.0, *engine.score(trace.tokens))
    drawn = [number for number, turn in enumerate(trace.turn_ids) if turn != NOT_TRAINED]
    assert trace.logprobs == tuple(scores[number] for number in drawn)


def test_replies_are_never_tokenised_again(task: Task) -> None:
    engine = VoiceEngine(lambda prompt, _: block("ls") if "exit code" not in prompt else STOP_WORD)
    trace = played(player_of(engine), task).trace
    assert trace is not None
    assert trace.turns[0].reply == (*map(ord, block("ls")), END_TOKEN)
    assert engine.prompts[1][len(engine.prompts[0]) :][:-1] != engine.prompts[1]
    assert (
        trace.turns[0].reply == engine.prompts[1][len(engine.prompts[0]) :][: len(block("ls")) + 1]
    )


def test_a_reply_that_is_cut_is_ended_for_the_model(task: Task) -> None:
    engine = VoiceEngine(lambda *_: "abcdefgh")
    rollout = played(
        player_of(engine, replace(SAMPLING, max_new_tokens=4)), task, RolloutSettings(max_turns=2)
    )
    assert [turn.response for turn in rollout.turns] == ["abcd", "abcd"]
    assert rollout.trace is not None
    first, second = rollout.trace.turns
    assert first.reply == tuple(map(ord, "abcd"))
    assert second.context[0] == END_TOKEN


def test_every_reply_has_a_seed_of_its_own_and_always_the_same(task: Task) -> None:
    engines = [VoiceEngine(knowing), VoiceEngine(knowing)]
    for engine in engines:
        played(player_of(engine), task)
    assert engines[0].seeds == engines[1].seeds
    assert len(set(engines[0].seeds)) == 3
    assert engines[0].seeds[0] == seed_of(7, task.task_id, 0, 0, 0)
    assert all(0 <= seed < 2**63 for seed in engines[0].seeds)


def test_a_full_context_ends_the_rollout_and_is_graded(task: Task) -> None:
    engine = VoiceEngine(lambda *_: block("cat " + GUIDE), max_model_len=2800)
    rollout = played(player_of(engine), task)
    assert rollout.stopped is StopReason.CONTEXT_FULL
    assert rollout.grade is not None
    assert rollout.trace is not None
    assert 1 <= len(rollout.turns) == len(rollout.trace.turns) < 12


def test_an_engine_that_breaks_leaves_the_cause_and_what_was_drawn(task: Task) -> None:
    rollout = played(player_of(VoiceEngine(knowing, breaks_after=1)), task)
    assert (rollout.stopped, rollout.grade) == (StopReason.AGENT_ERROR, None)
    assert rollout.cause == "the server has gone"
    assert rollout.trace is not None
    assert len(rollout.trace.turns) == 1


def test_time_is_accounted_for(task: Task) -> None:
    rollout = played(player_of(VoiceEngine(knowing, takes_s=0.01)), task)
    assert 0.03 <= rollout.spent.engine_s < rollout.wall_s
    assert rollout.spent.sandbox_s > 0
    assert rollout.spent.sandbox_s + rollout.spent.grading_s <= rollout.environment_s + 1e-5


# --- Drawing a turn again -----------------------------------------------------------------------

ONCE_MORE = ResampleRule(resample_threshold=math.inf, max_resamples=1, accept_equal=False)


def uncertain(alternatives: Sequence[Sequence[float]]) -> float:
    return float(len(alternatives))


def babbling(seed: int) -> str:
    return block(f"ls {seed % 100}")


def redrawn(task: Task, rule: ResampleRule | None) -> FileRollout:
    player = player_of(
        VoiceEngine(lambda _, seed: babbling(seed)), replace(SAMPLING, alternatives=2)
    )
    player = replace(player, uncertainty=uncertain, resample=rule)
    return played(player, task, RolloutSettings(max_turns=3))


def test_turns_after_the_first_are_drawn_again_and_the_last_draw_is_kept(task: Task) -> None:
    rollout = redrawn(task, ONCE_MORE)
    assert rollout.trace is not None
    assert [turn.num_samples for turn in rollout.trace.turns] == [1, 2, 2]
    assert [turn.entropy for turn in rollout.trace.turns] == [
        float(len(turn.reply)) for turn in rollout.trace.turns
    ]
    seeds = [seed_of(7, task.task_id, 0, turn, draw) for turn, draw in ((0, 0), (1, 1), (2, 1))]
    assert [turn.response for turn in rollout.turns] == list(map(babbling, seeds))


def test_uncertainty_is_taken_without_drawing_again(task: Task) -> None:
    trace = redrawn(task, None).trace
    assert trace is not None
    assert [turn.num_samples for turn in trace.turns] == [1, 1, 1]
    assert all(turn.entropy for turn in trace.turns)


def test_an_agent_that_was_never_asked_has_an_empty_trace(task: Task) -> None:
    trace = EngineAgent(player_of(VoiceEngine(knowing)), task.task_id, 0).trace
    assert list(chain(trace.tokens, trace.turns)) == []
