from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HostError
from harness.experiments.a32_34.evaluation_metrics import COMPARED, EVALUATED
from harness.experiments.a32_34.evaluation_report import (
    report_comparison,
    report_parser_split,
    report_policy,
    report_replay,
    report_stopping,
)
from harness.experiments.a32_34.tasks_params import AGENT
from harness.records import SandboxKind
from harness.sandbox.choice import Sandboxes
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.files.agent import EngineFilePolicy
from harness.workloads.envs.files.corpus import NEVER_STOPPING
from harness.workloads.envs.files.evaluate import (
    PolicyEvaluation,
    compare,
    evaluate,
    parser_split,
    replayed,
    stop_turn,
)
from harness.workloads.envs.files.grade import Grade, Result
from harness.workloads.envs.files.players import NOTHING, ORACLE, FilePolicy
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileAction,
    FileActionKind,
    ParserVersion,
    Turn,
)
from harness.workloads.envs.files.rollout import (
    FileRollout,
    RolloutLog,
    RolloutSettings,
    Spent,
    StopReason,
)
from harness.workloads.envs.files.stopping import Chance, prompts, stop_probability
from harness.workloads.envs.files.task import AssertionKind, Task
from harness.workloads.inference.chat_template import ChatTemplate
from tests.unit.clawgym.conftest import Make
from tests.unit.clawgym.test_agent import knowing, player_of
from tests.unit.clawgym.test_grade import GUIDE, simple
from tests.unit.clawgym.voices import Letters, VoiceEngine, block

MEMORY = Sandboxes(kind=SandboxKind.MEMORY, make=MemorySandbox, note="")


def turn_of(response: str, kind: FileActionKind = FileActionKind.COMMAND) -> Turn:
    return Turn(response=response, action=FileAction(kind=kind))


def rollout_of(
    number: int, held: int, total: int = 4, *, turns: int = 3, stops: bool = True
) -> FileRollout:
    results = tuple(
        Result(kind=AssertionKind.EXISTS, path=str(at), passed=at < held) for at in range(total)
    )
    task_id = f"synth-technical-writer-{number:02d}"
    last = turn_of(STOP_WORD, FileActionKind.DONE) if stops else turn_of(block("ls"))
    return FileRollout(
        task_id=task_id,
        agent="x",
        parser=ParserVersion.PHASE6,
        turns=(*[turn_of(block("ls"))] * (turns - 1), last),
        stopped=StopReason.TASK_COMPLETE if stops else StopReason.MAX_TURNS,
        grade=Grade(task_id=task_id, results=results),
        wall_s=2.0,
        spent=Spent(engine_s=1.5),
    )


def of(policy: str, *rollouts: FileRollout) -> PolicyEvaluation:
    return PolicyEvaluation(policy=policy, rollouts=rollouts)


BROKEN = replace(rollout_of(9, 0), grade=None, stopped=StopReason.AGENT_ERROR, cause="gone")


def test_counts_of_one_player() -> None:
    found = of("x", rollout_of(0, 4), rollout_of(1, 2, stops=False, turns=12), BROKEN)
    assert (found.rates.tasks, found.rates.tasks_passed) == (2, 1)
    assert (found.rates.assertions, found.rates.assertions_passed) == (8, 6)
    assert found.num_errors == 1
    assert (found.stop_rate.successes, found.stop_rate.trials) == (1, 2)
    assert found.mean_turns == 7.5
    assert found.environment_share == 0.25
    assert found.stops[StopReason.AGENT_ERROR] == 1
    assert list(found.by_persona) == ["technical-writer"]
    assert {kind: each.rate for kind, each in found.by_kind.items()} == {AssertionKind.EXISTS: 0.75}
    assert found.assertions_interval.low <= 0.75 <= found.assertions_interval.high


def test_a_comparison_is_made_task_by_task() -> None:
    better = of("a", *(rollout_of(n, 4) for n in range(8)), rollout_of(8, 1, turns=12, stops=False))
    worse = of(
        "b", *(rollout_of(n, 2, turns=5) for n in range(8)), rollout_of(8, 1, turns=5), BROKEN
    )
    found = compare(better, worse)
    assert found.tasks == 9
    assert found.pass_rate.value == pytest.approx(8 / 9)
    assert found.pass_rate.p == pytest.approx(2 / 2**8)  # all eight discordant pairs one way
    assert found.assertion_pass_rate.value == pytest.approx((33 - 17) / 36)
    assert found.stop_rate.value == pytest.approx(-1 / 9)
    assert found.stop_rate.p == 1.0
    assert found.turns.value == pytest.approx((8 * 3 + 12) / 9 - 5)
    for difference in (found.pass_rate, found.assertion_pass_rate, found.stop_rate, found.turns):
        assert difference.interval.low <= difference.value <= difference.interval.high
    assert found.assertion_pass_rate.interval.low > 0


def test_a_difference_turns_its_sign_when_the_players_are_swapped() -> None:
    one = of("a", *(rollout_of(n, n % 5, turns=1 + n % 4) for n in range(10)))
    other = of("b", *(rollout_of(n, 4 - n % 3, turns=2) for n in range(10)))
    there, back = compare(one, other), compare(other, one)
    for name in ("pass_rate", "assertion_pass_rate", "stop_rate", "turns"):
        assert getattr(there, name).value == pytest.approx(-getattr(back, name).value)
        assert getattr(there, name).p == getattr(back, name).p


def test_resampling_tasks_is_wider_than_resampling_assertions() -> None:
    # all assertions of a task hold together, or none does
    clustered = of("x", *(rollout_of(n, 10 * (n % 2), 10) for n in range(20)))
    spread = of("x", *(rollout_of(n, 5, 10) for n in range(20)))
    wide, narrow = clustered.assertions_interval, spread.assertions_interval
    assert wide.high - wide.low > 0.3
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_players_without_a_common_task_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no task was finished by both a and b"):
        compare(of("a", rollout_of(0, 1)), of("b", rollout_of(1, 1)))


# --- Players on tasks ---------------------------------------------------------------------------


@pytest.fixture
def tasks(make: Make) -> tuple[Task, ...]:
    assertions = (simple("file_exists", "manual/guide.md"), simple("file_not_exists", GUIDE))
    oracle = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")
    return tuple(
        replace(make(*assertions, task_id=f"synth-technical-writer-{n:02d}"), oracle=oracle)
        for n in range(6)
    )


def evaluated(player: FilePolicy, tasks: tuple[Task, ...], folder: Path) -> PolicyEvaluation:
    log = RolloutLog(folder / f"{player.name}.jsonl")
    return evaluate(player, tasks, MEMORY, log, rules=RolloutSettings(), threads=3)


def test_every_player_is_measured_the_same_way(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    model = player_of(VoiceEngine(knowing))
    found = [evaluated(player, tasks, tmp_path) for player in (NOTHING, ORACLE, model)]
    assert [each.rates.tasks_passed for each in found] == [0, 6, 6]
    assert [each.mean_turns for each in found] == [1, 3, 3]
    assert compare(found[2], found[1]).pass_rate.value == 0
    assert compare(found[1], found[0]).pass_rate.p == pytest.approx(2 / 2**6)


def test_an_evaluation_of_which_nothing_is_left_is_no_evaluation(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    player = player_of(VoiceEngine(knowing, breaks_after=0))
    with pytest.raises(HostError, match="the server has gone"):
        evaluated(player, tasks[:1], tmp_path)


# --- Two parsers --------------------------------------------------------------------------------


def said(*replies: str, stopped: StopReason = StopReason.MAX_TURNS) -> FileRollout:
    turns = tuple(turn_of(reply) for reply in replies)
    return replace(rollout_of(0, 1), turns=turns, stopped=stopped)


ECHO = block('echo "Task complete"')


def test_stored_rollouts_are_read_by_the_other_parser() -> None:
    rollouts = [
        said(block("ls"), ECHO, ECHO, ECHO),  # stops two turns earlier
        said(block("ls"), block("ls")),
        said("no block", STOP_WORD, stopped=StopReason.TASK_COMPLETE),
    ]
    new = replayed(rollouts, ParserVersion.PHASE6)
    assert (new.rollouts, new.stopped, new.earlier, new.turns_saved) == (3, 2, 1, 2)
    assert new.continued == 0
    old = replayed(rollouts, ParserVersion.PHASE5)
    assert (old.stopped, old.turns_saved) == (1, 0)


def test_a_stop_that_the_other_parser_does_not_see_is_kept_and_counted() -> None:
    found = replayed([said(ECHO, stopped=StopReason.TASK_COMPLETE)], ParserVersion.PHASE5)
    assert (found.stopped, found.continued, found.turns_saved) == (1, 1, 0)
    assert stop_turn(said(ECHO), ParserVersion.PHASE6) == 1


def test_the_articles_rise_splits_into_parser_and_training() -> None:
    found = parser_split(0 / 158, 69 / 158, 154 / 158)
    assert 100 * found.by_parser == pytest.approx(43.7, abs=0.05)
    assert 100 * found.by_training == pytest.approx(53.8, abs=0.05)


# --- The probability of stopping ----------------------------------------------------------------


def test_stopping_is_asked_for_at_every_turn(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    engine = VoiceEngine(knowing)
    player: EngineFilePolicy = player_of(engine)
    rollouts = evaluated(player, tasks[:2], tmp_path).graded
    traces = [each.trace for each in rollouts if each.trace is not None]
    assert [tuple(prompts(trace)) for trace in traces] != []
    assert {prompt for trace in traces for prompt in prompts(trace)} == set(engine.prompts)
    chat_template = ChatTemplate(Letters())
    found = stop_probability(engine, chat_template, [Chance(trace=each, work=2) for each in traces])
    assert (found.num_early, found.num_late) == (4, 2)
    prompt = tuple(prompts(traces[0]))[2]
    late = engine.score((*prompt, *chat_template.stop_word))[-len(chat_template.stop_word) :]
    assert found.late == pytest.approx(math.exp(sum(late)))
    assert found.early != found.late


def test_without_late_turns_there_is_no_late_probability(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    engine = VoiceEngine(knowing)
    trace = evaluated(player_of(engine), tasks[:1], tmp_path).graded[0].trace
    assert trace is not None
    found = stop_probability(engine, ChatTemplate(Letters()), [Chance(trace=trace, work=99)])
    assert (found.late, found.num_late, found.num_early) == (None, 0, 3)


# --- Figures ------------------------------------------------------------------------------------


def figures(path: Path) -> Mapping[str, Any]:
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    measured = [event["payload"] for event in events if event["kind"] == "measured"]
    return {
        " ".join([each["metric"], *map(str, each["where"].values())]): each["value"]
        for each in measured
    }


def test_figures_have_the_names_that_are_declared(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    stays, stops = (evaluated(each, tasks, tmp_path) for each in (NEVER_STOPPING, ORACLE))
    engine = VoiceEngine(knowing)
    metrics = (*AGENT, *EVALUATED, *COMPARED)
    with EventWriter(tmp_path / "events.jsonl", metrics) as emit:
        report_policy(emit, stays)
        report_policy(emit, stops)
        report_comparison(emit, "oracle", "never-stopping", compare(stops, stays))
        report_replay(
            emit, stays, ParserVersion.PHASE5, replayed(stays.graded, ParserVersion.PHASE5)
        )
        report_parser_split(emit, "replay", parser_split(0.0, 0.25, 1.0))
        report_stopping(emit, "oracle", stop_probability(engine, ChatTemplate(Letters()), []))
    found = figures(tmp_path / "events.jsonl")
    assert found["agent.pass_rate oracle"] == 100
    assert found["agent.mean_turns never-stopping"] == 12
    assert found["agent.stop_reason never-stopping max_turns"] == 100
    assert found["agent.stop_rate never-stopping"] == 0
    assert found["agent.turns_difference oracle never-stopping"] == -9
    assert found["agent.stop_rate_difference_low oracle never-stopping"] == 100
    assert found["agent.reparsed_turns never-stopping phase5"] == 12
    assert found["agent.pass_rate_by_persona oracle technical-writer"] == 100
    assert found["agent.assertion_pass_rate_by_kind oracle file_exists"] == 100
    assert found["stop.by_training replay"] == 75
    assert found["agent.stop_late oracle"] is None
    assert len({metric.name for metric in metrics}) == len(metrics)
