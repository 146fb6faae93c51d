from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HostError
from harness.records import SandboxKind, SandboxSpec
from harness.runtime.sandbox_server import sandbox_problem
from harness.sandbox.base import (
    CommandResult,
    Sandbox,
    SandboxUnavailable,
)
from harness.sandbox.choice import Sandboxes, open_sandboxes
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import CommandLimits
from harness.workloads.envs.files.agent import EngineFilePolicy
from harness.workloads.envs.files.players import (
    NOTHING,
    ORACLE,
    EpisodeSpec,
    FilePolicy,
    run_episodes,
)
from harness.workloads.envs.files.protocol import ParserVersion
from harness.workloads.envs.files.rollout import (
    FileRollout,
    RolloutLog,
    RolloutSettings,
    Spent,
    StopReason,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.service import ServiceDied
from tests.unit.clawgym.conftest import Make
from tests.unit.clawgym.test_agent import knowing, player_of
from tests.unit.clawgym.test_grade import GUIDE, simple
from tests.unit.clawgym.voices import VoiceEngine

MEMORY = Sandboxes(kind=SandboxKind.MEMORY, make=MemorySandbox, note="")


@pytest.fixture
def tasks(make: Make) -> tuple[Task, ...]:
    assertion = simple("file_exists", "manual/guide.md")
    oracle = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")
    return tuple(
        replace(make(assertion, task_id=f"synth-technical-writer-{n:02d}"), oracle=oracle)
        for n in range(12)
    )


def play_tasks(
    tasks: tuple[Task, ...],
    player: FilePolicy,
    path: Path,
    *,
    threads: int = 4,
    boxes: Sandboxes = MEMORY,
    rules: RolloutSettings = RolloutSettings(),  # noqa: B008
) -> tuple[FileRollout, ...]:
    attempts = [EpisodeSpec(task=task, sample=sample) for task in tasks for sample in range(2)]
    return run_episodes(
        attempts, player, boxes, RolloutLog(path), rules=rules, max_concurrency=threads
    )


def timeless(rollouts: tuple[FileRollout, ...]) -> list[FileRollout]:
    return [replace(each, wall_s=0.0, spent=Spent()) for each in rollouts]


def test_rollouts_come_in_order_and_are_the_same_at_any_number_of_threads(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    found = []
    for threads in (1, 5):
        engine = VoiceEngine(knowing, takes_s=0.001)
        path = tmp_path / f"{threads}.jsonl"
        rollouts = play_tasks(tasks, player_of(engine), path, threads=threads)
        found.append(timeless(rollouts))
        assert engine.most_at_once <= threads
        assert {each.key for each in RolloutLog(path).read()} == {each.key for each in rollouts}
    assert found[0] == found[1]
    assert [(each.task_id, each.sample) for each in found[0]] == [
        (task.task_id, sample) for task in tasks for sample in range(2)
    ]


def test_replies_are_awaited_together(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    engine = VoiceEngine(knowing, takes_s=0.01)
    play_tasks(tasks, player_of(engine), tmp_path / "log.jsonl", threads=8)
    assert engine.most_at_once > 4


def test_what_the_log_holds_is_not_played_again(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first = play_tasks(tasks, player_of(VoiceEngine(knowing)), path)
    engine = VoiceEngine(knowing)
    assert play_tasks(tasks, player_of(engine), path) == first
    assert engine.prompts == []


def test_other_weights_and_another_parser_play_again(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    play_tasks(tasks, player_of(VoiceEngine(knowing)), path)
    engine = VoiceEngine(knowing)
    engine.refresh(Path("step-001"))
    assert {each.served for each in play_tasks(tasks, player_of(engine), path)} == {"step-001"}
    rules = RolloutSettings(parser=ParserVersion.PHASE5)
    again = play_tasks(tasks, player_of(engine), path, rules=rules)
    assert {each.parser for each in again} == {ParserVersion.PHASE5}


def test_an_engine_that_dies_ends_the_run_with_its_cause_and_loses_nothing(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(HostError, match=r"3 rollouts in a row broke.*the server has gone"):
        play_tasks(tasks, player_of(VoiceEngine(knowing, breaks_after=20)), path, threads=2)
    kept = RolloutLog(path).read()
    broken = [each for each in kept if each.stopped is StopReason.AGENT_ERROR]
    assert 3 <= len(broken) <= 4  # one more may have been under way
    assert 0 < len(kept) - len(broken) <= 6
    again = VoiceEngine(knowing)
    rollouts = play_tasks(tasks, player_of(again), path)
    assert len(rollouts) == 24
    assert all(each.grade is not None and each.grade.passed for each in rollouts)
    assert len(again.prompts) == 3 * (24 - (len(kept) - len(broken)))


def test_a_server_that_has_ended_ends_the_run_at_once(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    died = ServiceDied("the server ended with 1", ("out of memory",))
    engine = VoiceEngine(knowing, breaks_after=20, breaks_with=died)
    with pytest.raises(ServiceDied, match="the server ended with 1"):
        play_tasks(tasks, player_of(engine), path, threads=2)
    kept = RolloutLog(path).read()
    assert 5 <= len(kept) <= 6
    assert all(each.grade is not None for each in kept)


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


def test_a_box_that_breaks_is_replaced_and_its_rollout_kept_with_the_cause(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    made: list[Sandbox] = []

    def make() -> Sandbox:
        made.append(Fragile())
        return made[-1]

    boxes = replace(MEMORY, make=make)
    rollouts = play_tasks(tasks, ORACLE, tmp_path / "log.jsonl", threads=1, boxes=boxes)
    broken = [each for each in rollouts if each.grade is None]
    assert len(broken) == 12  # every second one
    assert {each.cause for each in broken} == {"the box is gone"}
    assert len(made) == 12


def test_a_box_that_cannot_be_made_ends_the_run(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    def make() -> Sandbox:
        message = "no namespaces"
        raise SandboxUnavailable(message)

    with pytest.raises(SandboxUnavailable, match="no namespaces"):
        play_tasks(tasks, NOTHING, tmp_path / "log.jsonl", boxes=replace(MEMORY, make=make))


def test_doing_nothing_and_knowing_the_way(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    idle = play_tasks(tasks, NOTHING, tmp_path / "log.jsonl")
    wise = play_tasks(tasks, ORACLE, tmp_path / "log.jsonl")
    assert {len(each.turns) for each in idle} == {1}
    assert not any(each.grade and each.grade.passed for each in idle)
    assert all(each.grade and each.grade.passed for each in wise)


def test_no_attempts_are_no_rollouts(tmp_path: Path) -> None:
    assert play_tasks((), NOTHING, tmp_path / "log.jsonl") == ()


_PLAYS_FOR_EVER = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.unit.clawgym.conftest import task_document
from tests.unit.clawgym.test_agent import knowing, player_of
from tests.unit.clawgym.test_players import play_tasks
from tests.unit.clawgym.voices import VoiceEngine
from harness.workloads.envs.files.task_json import parse_task
tasks = tuple(
    parse_task(task_document(task_id=f"synth-technical-writer-{n:02d}"))
    for n in range(100)
)
play_tasks(tasks, player_of(VoiceEngine(knowing, takes_s=0.01)), Path(sys.argv[1]))
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
    kept = {each.key: each for each in RolloutLog(path).read()}
    assert kept
    engine = VoiceEngine(knowing)
    rollouts = play_tasks(tasks, player_of(engine), path)
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


def test_a_player_is_what_the_players_need() -> None:
    players: list[FilePolicy] = [NOTHING, ORACLE, player_of(VoiceEngine(knowing))]
    assert [each.name for each in players] == ["nothing", "oracle", "voice"]
    assert isinstance(players[2], EngineFilePolicy)
