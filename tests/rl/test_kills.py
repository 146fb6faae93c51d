"""kill -9 of each process of a run that trains an agent: it is broken, or says so; nothing stays.

The runs are small ones of articles 33 (whose trainer is that of 34) and 36, as a runtime starts
them.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("peft", reason="needs peft: use nox -s rl")

from harness.appended import whole_lines
from harness.records import RunOutcome, Status, to_json
from harness.runtime.base import Launch
from harness.runtime.local import LocalRuntime
from harness.sandbox.config import WORKSPACE
from harness.workloads.envs.base import StopReason
from tests.contract.conftest import bubblewrap
from tests.rl.killing import A34, A36, Command, figures
from tests.rl.test_faults import FILES, SEARCH, metrics, spec

START_S = 240.0  # importing torch and loading a model, on a busy machine


def until(holds: Callable[[], Any], running: Future[RunOutcome]) -> None:
    deadline = time.monotonic() + START_S
    while not holds():
        assert not running.done(), running.result().log_tail
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.05)


def children(word: str) -> list[psutil.Process]:
    """The processes below this one with a word in their arguments."""
    found: list[psutil.Process] = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if word in " ".join(each.cmdline()):
                found.append(each)
    return found


def command_of(process: psutil.Process) -> str:
    """The command that a sandbox is at; empty where it has ended."""
    with suppress(psutil.NoSuchProcess, IndexError):
        return process.cmdline()[-1]
    return ""


def rollouts(run_dir: Path) -> list[dict[str, Any]]:
    logs = sorted((run_dir / ".artefacts").glob("*/files/rollouts.jsonl"))
    return [json.loads(line) for log in logs for line in whole_lines(log)]


def launch(name: str, params: dict[str, Any], tmp_path: Path) -> Launch:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    asked = spec(name, params)
    (run_dir / "spec.json").write_text(json.dumps(to_json(asked)), encoding="utf-8")
    return Launch(spec=asked, run_dir=run_dir)


@pytest.mark.parametrize("victim", ["retriever_server", "harness.workloads search"])
def test_a_search_agents_run_ends_with_each_of_its_processes(victim: str, tmp_path: Path) -> None:
    params = {**SEARCH, "num_eval_examples": 200, "max_concurrency": 2}
    asked = launch("search.a2tgpo", params, tmp_path)
    with LocalRuntime() as runtime, ThreadPoolExecutor(1) as thread:
        running = thread.submit(runtime.run, asked)
        until(lambda: len(rollouts(asked.run_dir)) > 2, running)
        (killed,) = children(victim)
        killed.send_signal(signal.SIGKILL)
        outcome = running.result(timeout=START_S)
    if victim == "retriever_server":
        assert outcome.status is Status.HOST_FAILED
        assert "service retriever ended with exit code -9" in outcome.log_tail
    else:
        assert outcome.status is Status.FAILED
    assert "search.exact_match" not in metrics(asked.run_dir)
    assert children("retriever_server") == children("harness.workloads") == []


def test_a_file_agents_run_outlives_a_sandbox_and_no_sandbox_outlives_the_run(
    tmp_path: Path,
) -> None:
    bubblewrap()  # or skip
    params = {**FILES, "sandbox": "bubblewrap", "num_eval_examples": 40}
    asked = launch("agent.grpo", params, tmp_path)

    def broken() -> set[str]:
        ends = {each["stop_reason"] for each in rollouts(asked.run_dir)}
        return ends & {StopReason.TOOL_BROKEN, StopReason.ERROR}

    def broke() -> bool:
        """Kill a supervisor whose sandbox is at work for the agent, until a rollout says so.

        One that is killed after the last command of an evaluation is never missed.
        """
        if any(command_of(each) not in {"", ":"} for each in children(WORKSPACE)):
            for each in children("sys.modules"):
                with suppress(psutil.NoSuchProcess):
                    if each.name() != "unshare":  # below what made its namespaces
                        each.kill()
        return bool(broken())

    with LocalRuntime() as runtime, ThreadPoolExecutor(1) as thread:
        running = thread.submit(runtime.run, asked)
        until(broke, running)
        played = len(rollouts(asked.run_dir))
        until(lambda: len(rollouts(asked.run_dir)) > played, running)
        assert broken() == {StopReason.TOOL_BROKEN}
        (workload,) = children("harness.workloads agent.grpo")
        workload.send_signal(signal.SIGKILL)
        outcome = running.result(timeout=START_S)
    assert outcome.status is Status.FAILED
    assert children("sys.modules") == children("harness.workloads") == []


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("scenario", "params"), [("a34", A34), ("a36", A36)])
def test_a_run_that_is_killed_twice_ends_with_the_same_figures(
    scenario: str, params: dict[str, Any], tmp_path: Path
) -> None:
    where = {"a34": {"sandbox": "memory"}, "a36": {}}[scenario]
    given = {**params, **where, "engine": "transformers"}
    whole, killed = (Command(scenario, tmp_path / name, **given) for name in ("whole", "killed"))
    code, said = whole.run()
    assert code == 4, said  # parts of the experiment are left out
    for number, victim in enumerate(("workload", "harness"), 1):
        wanted = number * whole.num_steps // 3
        code, said = killed.kill(victim, killed.has_steps(wanted))
        assert code == {"workload": 3, "harness": -signal.SIGKILL}[victim], said
    code, said = killed.run()
    assert code == 4, said
    assert figures(killed.finished) == figures(whole.finished)
    assert len(killed.finished.outcome.segments) == 3
