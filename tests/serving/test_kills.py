"""kill -9 of each process of articles 34 and 36 beside vLLM: nothing is lost, nothing stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import bubblewrap
from tests.rl.killing import A34, A36, Command

pytestmark = [pytest.mark.serving, pytest.mark.slow, pytest.mark.timeout(3600)]
DONE = {0, 4}  # a smaller experiment is not judged


@pytest.mark.parametrize(
    ("scenario", "params", "beside"),
    [
        ("a34", {**A34, "engine": "vllm", "sandbox": "bubblewrap"}, "sandbox"),
        ("a36", {**A36, "engine": "vllm"}, "retriever"),
    ],
)
def test_a_run_outlives_each_of_its_processes_and_keeps_what_was_played(
    tmp_path: Path, scenario: str, params: dict[str, Any], beside: str
) -> None:
    bubblewrap()  # or skip
    command = Command(scenario, tmp_path, **params)
    victims = {
        "engine": (3, "host-failed", "service vllm-"),
        "server": (3, "host-failed", "service vllm-"),
        "retriever": (3, "host-failed", "service retriever"),
        "workload": (3, "failed", "SIGKILL"),
        "harness": (-9, "", ""),
    }
    if beside != "retriever":
        del victims["retriever"]
    played = 0
    for victim, (expected, status, cause) in victims.items():
        code, said = command.kill(victim, command.at_work("engine", beside))
        assert code == expected, said
        if status:
            ended, why = command.last_cause
            assert ended == status
            assert cause in why
        assert command.num_rollouts > played, "what was played is lost"
        played = command.num_rollouts
    code, said = command.run()
    assert code in DONE, said
    assert len(command.finished.outcome.segments) > 1
    assert not [*(tmp_path / ".staging").glob("*/")]
