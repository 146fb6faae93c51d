from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from harness.errors import HostError
from harness.experiments.a32_34.evaluation import (
    FileRollout,
    PolicyEvaluation,
    StopChance,
    compare,
    parser_split,
    prompts,
    reparsed,
    stop_probability,
    stop_turn,
)
from harness.experiments.a32_34.evaluation_report import (
    report_comparison,
    report_parser_split,
    report_policy,
    report_reparsed,
    report_stopping,
)
from harness.experiments.a32_34.metrics import AGENT, COMPARED, EVALUATED
from harness.experiments.a32_34.sft_data import NEVER_STOPPING
from harness.experiments.a32_34.tasks import NOTHING, ORACLE
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import FileEnvironment, FileEpisode
from harness.workloads.envs.files.grade import Grade, Result
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileAction,
    FileActionKind,
    ParserVersion,
    Turn,
)
from harness.workloads.envs.files.task import AssertionKind, Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.rl.rollout import Rollout, Timings
from harness.workloads.rl.runner import Policy, Runner
from tests.unit.envs_files.conftest import Make
from tests.unit.envs_files.test_agent import knowing, policy_of
from tests.unit.envs_files.test_grade import GUIDE, simple
from tests.unit.envs_files.voices import Letters, VoiceEngine, block


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
    return Rollout(
        task_id=task_id,
        policy="x",
        stop_reason=StopReason.TASK_COMPLETE if stops else StopReason.MAX_TURNS,
        reward=1.0,
        episode=FileEpisode(
            turns=(*[turn_of(block("ls"))] * (turns - 1), last),
            grade=Grade(task_id=task_id, results=results),
        ),
        timings=Timings(total_s=2.0, engine_s=1.5),
    )


def of(policy: str, *rollouts: FileRollout) -> PolicyEvaluation:
    return PolicyEvaluation(policy=policy, rollouts=rollouts)


BROKEN = replace(
    rollout_of(9, 0),
    episode=FileEpisode(turns=()),
    stop_reason=StopReason.ERROR,
    reward=None,
    error="gone",
)


def test_counts_of_one_player() -> None:
    found = of("x", rollout_of(0, 4), rollout_of(1, 2, stops=False, turns=12), BROKEN)
    assert (found.rates.tasks, found.rates.tasks_passed) == (2, 1)
    assert (found.rates.assertions, found.rates.assertions_passed) == (8, 6)
    assert found.num_errors == 1
    assert (found.task_complete.successes, found.task_complete.trials) == (1, 2)
    assert found.mean_turns == 7.5
    assert found.environment_share == 0.25
    assert found.stops[StopReason.ERROR] == 1
    assert list(found.by_persona) == ["technical-writer"]
    assert {kind: each.rate for kind, each in found.by_kind.items()} == {AssertionKind.EXISTS: 0.75}
    assert found.assertions_interval.low <= 0.75 <= found.assertions_interval.high


def test_a_comparison_is_made_task_by_task() -> None:
    better = of(
        "a",
        *(rollout_of(n, 4) for n in range(8)),
        rollout_of(8, 1, turns=12, stops=False),
        replace(BROKEN, task_id="synth-technical-writer-10"),
    )
    worse = of(
        "b", *(rollout_of(n, 2, turns=5) for n in range(8)), rollout_of(8, 1, turns=5), BROKEN
    )
    found = compare(better, worse)
    assert found.tasks == 9
    assert found.task_pass.value == pytest.approx(8 / 9)
    assert found.task_pass.p == pytest.approx(2 / 2**8)  # all eight discordant pairs one way
    assert found.assertions.value == pytest.approx((33 - 17) / 36)
    assert found.task_complete.value == pytest.approx(-1 / 9)
    assert found.task_complete.p == 1.0
    assert found.turns.value == pytest.approx((8 * 3 + 12) / 9 - 5)
    for difference in (found.task_pass, found.assertions, found.task_complete, found.turns):
        assert difference.interval.low <= difference.value <= difference.interval.high
    assert found.assertions.interval.low > 0
    assert found.by_persona == pytest.approx({"technical-writer": (33 - 17) / 36})
    # a paired t-test over the nine tasks: eight differ by two assertions, one by none
    assert found.assertions.p == pytest.approx(stats.ttest_1samp([2] * 8 + [0], 0).pvalue)
    assert found.turns.p == pytest.approx(stats.ttest_1samp([3 - 5] * 8 + [12 - 5], 0).pvalue)


def test_where_more_rollouts_broke_of_one_player_nothing_is_compared() -> None:
    whole, broken = rollout_of(0, 4), of("b", rollout_of(0, 2), BROKEN)
    with pytest.raises(HostError, match="0 of a, 1 of b"):
        compare(of("a", whole), broken)


def test_a_difference_turns_its_sign_when_the_players_are_swapped() -> None:
    one = of("a", *(rollout_of(n, n % 5, turns=1 + n % 4) for n in range(10)))
    other = of("b", *(rollout_of(n, 4 - n % 3, turns=2) for n in range(10)))
    there, back = compare(one, other), compare(other, one)
    for name in ("task_pass", "assertions", "task_complete", "turns"):
        assert getattr(there, name).value == pytest.approx(-getattr(back, name).value)
        assert getattr(there, name).p == pytest.approx(getattr(back, name).p)


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


def evaluated(policy: Policy[Task], tasks: tuple[Task, ...]) -> PolicyEvaluation:
    runner = Runner(environment=partial(FileEnvironment, MemorySandbox), max_concurrency=3)
    return PolicyEvaluation(policy=policy.name, rollouts=runner.run(policy, tasks))


def test_every_player_is_measured_the_same_way(tasks: tuple[Task, ...]) -> None:
    model = policy_of(VoiceEngine(knowing))
    found = [evaluated(policy, tasks) for policy in (NOTHING, ORACLE, model)]
    assert [each.rates.tasks_passed for each in found] == [0, 6, 6]
    assert [each.mean_turns for each in found] == [1, 3, 3]
    assert compare(found[2], found[1]).task_pass.value == 0
    assert compare(found[1], found[0]).task_pass.p == pytest.approx(2 / 2**6)


def test_an_evaluation_of_which_nothing_is_left_is_no_evaluation(
    tasks: tuple[Task, ...],
) -> None:
    policy = policy_of(VoiceEngine(knowing, breaks_after=0))
    with pytest.raises(HostError, match="the server has gone"):
        evaluated(policy, tasks[:1])


# --- Two parsers --------------------------------------------------------------------------------


def said(*replies: str, stopped: StopReason = StopReason.MAX_TURNS) -> FileRollout:
    found = rollout_of(0, 1)
    episode = replace(found.episode, turns=tuple(turn_of(reply) for reply in replies))
    return replace(found, episode=episode, stop_reason=stopped)


ECHO = block('echo "Task complete"')


def test_stored_rollouts_are_read_by_the_other_parser() -> None:
    rollouts = [
        said(block("ls"), ECHO, ECHO, ECHO),  # stops two turns earlier
        said(block("ls"), block("ls")),
        said("no block", STOP_WORD, stopped=StopReason.TASK_COMPLETE),
    ]
    new = reparsed(rollouts, ParserVersion.PHASE6)
    assert (new.rollouts, new.complete, new.earlier, new.turns_saved) == (3, 2, 1, 2)
    assert new.continued == 0
    old = reparsed(rollouts, ParserVersion.PHASE5)
    assert (old.complete, old.turns_saved) == (1, 0)


def test_a_stop_that_the_other_parser_does_not_see_is_kept_and_counted() -> None:
    found = reparsed([said(ECHO, stopped=StopReason.TASK_COMPLETE)], ParserVersion.PHASE5)
    assert (found.complete, found.continued, found.turns_saved) == (1, 1, 0)
    assert stop_turn(said(ECHO), ParserVersion.PHASE6) == 1


def test_the_articles_rise_splits_into_parser_and_training() -> None:
    found = parser_split(0 / 158, 69 / 158, 154 / 158)
    assert 100 * found.by_parser == pytest.approx(43.7, abs=0.05)
    assert 100 * found.by_training == pytest.approx(53.8, abs=0.05)


# --- The probability of stopping ----------------------------------------------------------------


def test_stopping_is_asked_for_at_every_turn(tasks: tuple[Task, ...]) -> None:
    engine = VoiceEngine(knowing)
    policy = policy_of(engine)
    rollouts = evaluated(policy, tasks[:2]).graded
    traces = [each.trace for each in rollouts if each.trace is not None]
    assert [tuple(prompts(trace)) for trace in traces] != []
    assert {prompt for trace in traces for prompt in prompts(trace)} == set(engine.prompts)
    template = ChatTemplate(Letters())
    found = stop_probability(engine, template, [StopChance(trace=each, work=2) for each in traces])
    assert (found.num_early, found.num_late) == (4, 2)
    prompt = tuple(prompts(traces[0]))[2]
    stop_word = template.exactly(STOP_WORD)
    late = engine.score((*prompt, *stop_word))[-len(stop_word) :]
    assert found.late == pytest.approx(math.exp(sum(late)))
    assert found.early != found.late


def test_without_late_turns_there_is_no_late_probability(
    tasks: tuple[Task, ...],
) -> None:
    engine = VoiceEngine(knowing)
    trace = evaluated(policy_of(engine), tasks[:1]).graded[0].trace
    assert trace is not None
    found = stop_probability(engine, ChatTemplate(Letters()), [StopChance(trace=trace, work=99)])
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
    stays, stops = (evaluated(each, tasks) for each in (NEVER_STOPPING, ORACLE))
    engine = VoiceEngine(knowing)
    metrics = (*AGENT, *EVALUATED, *COMPARED)
    with EventWriter(tmp_path / "events.jsonl", metrics) as emit:
        report_policy(emit, stays)
        report_policy(emit, stops)
        report_comparison(emit, "oracle", "never-stopping", compare(stops, stays))
        report_reparsed(
            emit, stays, ParserVersion.PHASE5, reparsed(stays.graded, ParserVersion.PHASE5)
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
