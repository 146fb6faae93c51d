from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import pytest

from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import FileEnvironment, FileEpisode, FileSettings
from harness.workloads.envs.files.protocol import STOP_WORD, PromptStyle
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.rl.algorithms.t2po import ResampleRule, TurnResampler
from harness.workloads.rl.rollout import NOT_TRAINED, Rollout
from harness.workloads.rl.runner import (
    EngineAgent,
    EnginePolicy,
    TurnFilter,
    run_episode,
    seed_of,
)
from tests.unit.envs_files.conftest import Make
from tests.unit.envs_files.test_grade import GUIDE, simple
from tests.unit.envs_files.voices import END_TOKEN, Letters, VoiceEngine, block

COMMANDS = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")
SAMPLING = SamplingParams(temperature=0.8, max_new_tokens=400, seed=7)


@pytest.fixture
def task(make: Make) -> Task:
    return make(simple("file_exists", "manual/guide.md"), simple("file_not_exists", GUIDE))


def knowing(prompt: str, _: int) -> str:
    """Do the task, by how many commands have been answered."""
    turn = prompt.count("exit code:") + prompt.count("exit 0")
    return block(COMMANDS[turn]) if turn < len(COMMANDS) else STOP_WORD


def policy_of(engine: VoiceEngine, sampling: SamplingParams = SAMPLING) -> EnginePolicy:
    return EnginePolicy(
        name="voice", engine=engine, chat_template=ChatTemplate(Letters()), sampling=sampling
    )


def played(
    policy: EnginePolicy,
    task: Task,
    settings: FileSettings = FileSettings(),  # noqa: B008
) -> Rollout[FileEpisode]:
    with FileEnvironment(MemorySandbox, settings) as environment:
        return run_episode(policy, environment, task)


@pytest.mark.parametrize("prompt_style", list(PromptStyle))
def test_a_model_plays_and_its_trace_is_what_it_was_shown(
    task: Task, prompt_style: PromptStyle
) -> None:
    engine = VoiceEngine(knowing)
    rollout = played(policy_of(engine), task, FileSettings(prompt_style=prompt_style))
    assert rollout.stop_reason is StopReason.TASK_COMPLETE
    assert rollout.episode.grade is not None
    assert rollout.episode.grade.passed
    trace = rollout.trace
    assert trace is not None
    assert (rollout.engine, rollout.served) == ("voice 1", "base")
    assert len(trace.turns) == len(rollout.episode.turns) == len(engine.prompts) == 3
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
    trace = played(policy_of(engine), task).trace
    assert trace is not None
    assert trace.turns[0].reply == (*map(ord, block("ls")), END_TOKEN)
    assert engine.prompts[1][len(engine.prompts[0]) :][:-1] != engine.prompts[1]
    assert (
        trace.turns[0].reply == engine.prompts[1][len(engine.prompts[0]) :][: len(block("ls")) + 1]
    )


def test_a_reply_that_is_cut_is_ended_for_the_model(task: Task) -> None:
    engine = VoiceEngine(lambda *_: "abcdefgh")
    rollout = played(
        policy_of(engine, replace(SAMPLING, max_new_tokens=4)), task, FileSettings(max_turns=2)
    )
    assert [turn.response for turn in rollout.episode.turns] == ["abcd", "abcd"]
    assert rollout.trace is not None
    first, second = rollout.trace.turns
    assert first.reply == tuple(map(ord, "abcd"))
    assert second.context[0] == END_TOKEN


def test_every_reply_has_a_seed_of_its_own_and_always_the_same(task: Task) -> None:
    engines = [VoiceEngine(knowing), VoiceEngine(knowing)]
    for engine in engines:
        played(policy_of(engine), task)
    assert engines[0].seeds == engines[1].seeds
    assert len(set(engines[0].seeds)) == 3
    assert engines[0].seeds[0] == seed_of(7, task.task_id, 0, 0, 0)
    assert all(0 <= seed < 2**63 for seed in engines[0].seeds)


def test_a_full_context_ends_the_rollout_and_is_graded(task: Task) -> None:
    engine = VoiceEngine(lambda *_: block("cat " + GUIDE), max_model_len=2800)
    rollout = played(policy_of(engine), task)
    assert rollout.stop_reason is StopReason.CONTEXT_FULL
    assert rollout.episode.grade is not None
    assert rollout.trace is not None
    assert 1 <= len(rollout.episode.turns) == len(rollout.trace.turns) < 12


def test_an_engine_that_breaks_leaves_the_cause_and_what_was_drawn(task: Task) -> None:
    rollout = played(policy_of(VoiceEngine(knowing, breaks_after=1)), task)
    assert (rollout.stop_reason, rollout.episode.grade) == (StopReason.ERROR, None)
    assert (rollout.reward, rollout.error) == (None, "the server has gone")
    assert rollout.trace is not None
    assert len(rollout.trace.turns) == 1


def test_time_is_accounted_for(task: Task) -> None:
    rollout = played(policy_of(VoiceEngine(knowing, takes_s=0.01)), task)
    spent = rollout.timings
    assert 0.03 <= spent.engine_s < spent.total_s
    assert spent.tool_s > 0
    assert spent.tool_s + spent.grading_s <= spent.environment_s + 1e-5


# --- Drawing a turn again -----------------------------------------------------------------------

ONCE_MORE = ResampleRule(threshold=math.inf, max_resamples=1, accept_equal=False)
NEVER = ResampleRule(max_resamples=0)


def uncertain(alternatives: Sequence[Sequence[float]]) -> float:
    return float(len(alternatives))


def babbling(seed: int) -> str:
    return block(f"ls {seed % 100}")


def resampled(task: Task, rule: ResampleRule) -> Rollout[FileEpisode]:
    def turn_filter() -> TurnFilter:
        return TurnResampler(uncertain, rule)

    policy = policy_of(
        VoiceEngine(lambda _, seed: babbling(seed)), replace(SAMPLING, alternatives=2)
    )
    return played(replace(policy, turn_filter=turn_filter), task, FileSettings(max_turns=3))


def test_turns_after_the_first_are_drawn_again_and_the_last_draw_is_kept(task: Task) -> None:
    rollout = resampled(task, ONCE_MORE)
    assert rollout.trace is not None
    assert [turn.draws for turn in rollout.trace.turns] == [1, 2, 2]
    assert [turn.entropy for turn in rollout.trace.turns] == [
        float(len(turn.reply)) for turn in rollout.trace.turns
    ]
    seeds = [seed_of(7, task.task_id, 0, turn, draw) for turn, draw in ((0, 0), (1, 1), (2, 1))]
    assert [turn.response for turn in rollout.episode.turns] == list(map(babbling, seeds))


def test_uncertainty_is_taken_without_drawing_again(task: Task) -> None:
    trace = resampled(task, NEVER).trace
    assert trace is not None
    assert [turn.draws for turn in trace.turns] == [1, 1, 1]
    assert all(turn.entropy for turn in trace.turns)


def test_an_agent_that_was_never_asked_has_an_empty_trace(task: Task) -> None:
    trace = EngineAgent(policy_of(VoiceEngine(knowing)), task.task_id, 0).trace
    assert list(chain(trace.tokens, trace.turns)) == []
