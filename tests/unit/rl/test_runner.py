from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from harness.errors import HostError
from harness.experiments.a32_34.tasks import NOTHING, ORACLE
from harness.records import SandboxKind, SandboxSpec
from harness.runtime.sandbox_server import sandbox_problem
from harness.sandbox.base import (
    CommandResult,
    Sandbox,
    SandboxUnavailable,
)
from harness.sandbox.choice import open_sandboxes
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import CommandLimits
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import (
    FileEnvironment,
    FileEpisode,
    FileSettings,
)
from harness.workloads.envs.files.protocol import ParserVersion
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.service import ServiceDied
from harness.workloads.rl.rollout import Rollout, RolloutLog, Timings
from harness.workloads.rl.runner import EnginePolicy, Policy, Runner, require_equal_errors
from tests.unit.envs_files.conftest import Make
from tests.unit.envs_files.test_agent import knowing, policy_of
from tests.unit.envs_files.test_grade import GUIDE, simple
from tests.unit.envs_files.voices import VoiceEngine


@pytest.fixture
def tasks(make: Make) -> tuple[Task, ...]:
    assertion = simple("file_exists", "manual/guide.md")
    oracle = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")
    return tuple(
        replace(make(assertion, task_id=f"synth-technical-writer-{n:02d}"), oracle=oracle)
        for n in range(12)
    )


IN_MEMORY = partial(FileEnvironment, MemorySandbox)


def log_of(path: Path) -> RolloutLog[FileEpisode]:
    return RolloutLog(path, FileEpisode)


def play_tasks(
    tasks: tuple[Task, ...],
    policy: Policy[Task],
    path: Path,
    *,
    max_concurrency: int = 4,
    environment: Callable[[], FileEnvironment] = IN_MEMORY,
    max_errors: int | None = None,
) -> tuple[Rollout[FileEpisode], ...]:
    runner = Runner(
        environment=environment,
        log=log_of(path),
        max_concurrency=max_concurrency,
    )
    return runner.run(policy, tasks, num_samples=2, max_errors=max_errors)


def timeless(rollouts: tuple[Rollout[FileEpisode], ...]) -> list[Rollout[FileEpisode]]:
    return [replace(each, timings=Timings()) for each in rollouts]


def test_rollouts_come_in_order_and_are_the_same_at_any_number_of_threads(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    found = []
    for threads in (1, 5):
        engine = VoiceEngine(knowing, takes_s=0.001)
        path = tmp_path / f"{threads}.jsonl"
        rollouts = play_tasks(tasks, policy_of(engine), path, max_concurrency=threads)
        found.append(timeless(rollouts))
        assert engine.most_at_once <= threads
        assert {each.key for each in log_of(path).read()} == {each.key for each in rollouts}
    assert found[0] == found[1]
    assert [(each.task_id, each.sample) for each in found[0]] == [
        (task.task_id, sample) for task in tasks for sample in range(2)
    ]


def test_replies_are_awaited_together(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    engine = VoiceEngine(knowing, takes_s=0.01)
    play_tasks(tasks, policy_of(engine), tmp_path / "log.jsonl", max_concurrency=8)
    assert engine.most_at_once > 4


def test_what_the_log_holds_is_not_played_again(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first = play_tasks(tasks, policy_of(VoiceEngine(knowing)), path)
    engine = VoiceEngine(knowing)
    assert play_tasks(tasks, policy_of(engine), path) == first
    assert engine.prompts == []


def test_other_weights_and_another_parser_play_again(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    play_tasks(tasks, policy_of(VoiceEngine(knowing)), path)
    engine = VoiceEngine(knowing)
    engine.refresh(Path("step-001"))
    assert {each.served for each in play_tasks(tasks, policy_of(engine), path)} == {"step-001"}
    settings = FileSettings(parser=ParserVersion.PHASE5)
    environment = partial(FileEnvironment, MemorySandbox, settings)
    again = play_tasks(tasks, policy_of(engine), path, environment=environment)
    assert {each.settings for each in again} == {"phase5 article"}


def test_an_engine_that_dies_ends_the_run_with_its_cause_and_loses_nothing(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(HostError, match=r"[12] of 24 rollouts of voice broke.*server has gone"):
        play_tasks(tasks, policy_of(VoiceEngine(knowing, breaks_after=20)), path, max_concurrency=2)
    kept = log_of(path).read()
    broken = [each for each in kept if each.is_error]
    assert 1 <= len(broken) <= 2  # one more may have been under way
    assert 0 < len(kept) - len(broken) <= 6
    again = VoiceEngine(knowing)
    rollouts = play_tasks(tasks, policy_of(again), path)
    assert len(rollouts) == 24
    assert all(each.episode.grade is not None and each.episode.grade.passed for each in rollouts)
    assert len(again.prompts) == 3 * (24 - (len(kept) - len(broken)))


def test_a_server_that_has_ended_ends_the_run_at_once(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    died = ServiceDied("the server ended with 1", ("out of memory",))
    engine = VoiceEngine(knowing, breaks_after=20, breaks_with=died)
    with pytest.raises(ServiceDied, match="the server ended with 1"):
        play_tasks(tasks, policy_of(engine), path, max_concurrency=2)
    kept = log_of(path).read()
    assert 5 <= len(kept) <= 6
    assert not any(each.is_error for each in kept)


class Fragile(MemorySandbox):
    """A box that breaks at its fourth command."""

    def __init__(self) -> None:
        super().__init__()
        self._commands = 0

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008
        self._commands += 1
        if self._commands > 3:
            message = "the box is gone"
            raise SandboxUnavailable(message)
        return super().run(command, limits)


def test_an_agent_that_breaks_its_sandbox_has_failed_and_the_next_one_has_another(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    rollouts = play_tasks(
        tasks,
        ORACLE,
        tmp_path / "log.jsonl",
        max_concurrency=1,
        environment=partial(FileEnvironment, Fragile),
    )
    failed = [each for each in rollouts if each.stop_reason is StopReason.TOOL_BROKEN]
    assert len(failed) == 12  # every second one
    assert not any(each.is_error for each in rollouts)
    grades = [each.episode.grade for each in failed]
    assert [grade.num_passed for grade in grades if grade] == [0] * 12
    assert sum(each.reward or 0 for each in failed) < 0


def test_a_machine_that_breaks_is_no_agents_doing_and_the_cause_is_kept(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    made: list[Sandbox] = []

    def make() -> Sandbox:
        made.append(Fragile())
        if len(made) % 2 == 0:  # whenever a broken one is to be replaced
            message = "no sandbox can be made"
            raise SandboxUnavailable(message)
        return made[-1]

    path = tmp_path / "log.jsonl"
    rollouts = play_tasks(
        tasks,
        ORACLE,
        path,
        max_concurrency=1,
        environment=partial(FileEnvironment, make),
        max_errors=12,
    )
    broken = [each for each in rollouts if each.is_error]
    assert len(broken) == 12  # every second one
    assert {each.error for each in broken} == {"no sandbox can be made"}
    assert {each.reward for each in broken} == {None}
    assert len(made) == 24


class FragileOnce(MemorySandbox):
    """A box that breaks at the first command, and a machine that then makes no other at once."""

    made = 0

    def __enter__(self) -> Self:
        FragileOnce.made += 1
        if FragileOnce.made == 2:
            message = "no sandbox can be made"
            raise SandboxUnavailable(message)
        return super().__enter__()

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008
        if FragileOnce.made == 1:
            message = "the box is gone"
            raise SandboxUnavailable(message)
        return super().run(command, limits)


@pytest.mark.parametrize(("num_tasks", "is_tolerated"), [(49, False), (50, True)])
def test_one_rollout_in_a_hundred_may_break_and_no_more(
    tasks: tuple[Task, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_tasks: int,
    is_tolerated: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(FragileOnce, "made", 0)
    many = tuple(
        replace(tasks[0], task_id=f"synth-technical-writer-{n:02d}") for n in range(num_tasks)
    )
    path = tmp_path / "log.jsonl"
    if not is_tolerated:
        with pytest.raises(HostError, match="1 of 98 rollouts of oracle broke, and 0 may"):
            play_tasks(
                many,
                ORACLE,
                path,
                max_concurrency=1,
                environment=partial(FileEnvironment, FragileOnce),
            )
        return
    rollouts = play_tasks(
        many, ORACLE, path, max_concurrency=1, environment=partial(FileEnvironment, FragileOnce)
    )
    assert sum(each.is_error for each in rollouts) == 1


def test_policies_of_which_not_as_many_rollouts_broke_are_not_compared() -> None:
    require_equal_errors({})
    require_equal_errors({"grpo": 1, "full": 1})
    with pytest.raises(HostError, match="0 of grpo, 1 of full"):
        require_equal_errors({"grpo": 0, "full": 1})


def test_a_box_that_cannot_be_made_ends_the_run(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    def make() -> Sandbox:
        message = "no namespaces"
        raise SandboxUnavailable(message)

    with pytest.raises(SandboxUnavailable, match="no namespaces"):
        play_tasks(
            tasks, NOTHING, tmp_path / "log.jsonl", environment=partial(FileEnvironment, make)
        )


def test_doing_nothing_and_knowing_the_way(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    idle = play_tasks(tasks, NOTHING, tmp_path / "log.jsonl")
    wise = play_tasks(tasks, ORACLE, tmp_path / "log.jsonl")
    assert {len(each.episode.turns) for each in idle} == {1}
    assert not any(each.episode.grade and each.episode.grade.passed for each in idle)
    assert all(each.episode.grade and each.episode.grade.passed for each in wise)


def test_no_attempts_are_no_rollouts(tmp_path: Path) -> None:
    assert play_tasks((), NOTHING, tmp_path / "log.jsonl") == ()


_PLAYS_FOR_EVER = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.unit.envs_files.conftest import task_document
from tests.unit.envs_files.test_agent import knowing, policy_of
from tests.unit.rl.test_runner import play_tasks
from tests.unit.envs_files.voices import VoiceEngine
from harness.workloads.envs.files.task_json import parse_task
tasks = tuple(
    parse_task(task_document(task_id=f"synth-technical-writer-{n:02d}"))
    for n in range(100)
)
play_tasks(tasks, policy_of(VoiceEngine(knowing, takes_s=0.01)), Path(sys.argv[1]))
"""


def test_a_run_that_was_killed_goes_on_where_it_was(
    tasks: tuple[Task, ...], tmp_path: Path, project_root: Path
) -> None:
    path = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", _PLAYS_FOR_EVER, str(path)]
    with subprocess.Popen(command, cwd=project_root, env=dict(os.environ)) as process:
        deadline = time.monotonic() + 20
        while not path.exists() or path.stat().st_size < 50_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = {each.key: each for each in log_of(path).read()}
    assert kept
    engine = VoiceEngine(knowing)
    rollouts = play_tasks(tasks, policy_of(engine), path)
    assert all(kept.get(each.key, each) == each for each in rollouts)
    assert len(engine.prompts) == 3 * sum(each.key not in kept for each in rollouts)


# --- sandboxes ------------------------------------------------------------------------------------


def test_memory_is_said_to_be_what_it_is() -> None:
    with open_sandboxes(SandboxSpec(kind=SandboxKind.MEMORY)) as sandboxes:
        assert sandboxes.kind is SandboxKind.MEMORY
        assert "without processes" in sandboxes.note
        with sandboxes.make() as sandbox:
            assert sandbox.run("ls").exit_code == 0


def test_without_bubblewrap_and_image_auto_is_memory_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.sandbox.bubblewrap._PATH", "/nowhere")
    auto = SandboxSpec(kind=SandboxKind.AUTO, memory_suffices=True)
    with open_sandboxes(auto) as sandboxes:
        assert sandboxes.kind is SandboxKind.MEMORY
        assert "there is no bwrap here" in sandboxes.note
    with (
        pytest.raises(SandboxUnavailable, match="there is no bwrap here"),
        open_sandboxes(SandboxSpec(kind=SandboxKind.BUBBLEWRAP)),
    ):
        pass


def test_where_no_sandbox_works_a_model_that_writes_any_command_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.sandbox.bubblewrap._PATH", "/nowhere")
    spec = SandboxSpec(kind=SandboxKind.AUTO)
    with pytest.raises(SandboxUnavailable) as refused, open_sandboxes(spec):
        pass
    assert "bubblewrap: there is no bwrap here; containers: " in refused.value.message
    assert refused.value.remedy == "sudo apt-get install bubblewrap"
    problem = sandbox_problem(spec)
    assert problem is not None
    assert refused.value.message in problem.message
    assert sandbox_problem(replace(spec, memory_suffices=True)) is None


def test_containers_need_an_image() -> None:
    spec = SandboxSpec(kind=SandboxKind.CONTAINERS)
    with pytest.raises(SandboxUnavailable, match="has not been built") as refused:
        open_sandboxes(spec).__enter__()
    assert refused.value.remedy == "harness build sandbox"


def test_policies_are_what_the_runner_needs() -> None:
    policies: list[Policy[Task]] = [NOTHING, ORACLE, policy_of(VoiceEngine(knowing))]
    assert [each.name for each in policies] == ["nothing", "oracle", "voice"]
    assert isinstance(policies[2], EnginePolicy)
