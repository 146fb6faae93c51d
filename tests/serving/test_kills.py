"""kill -9 of each process of article 34 beside vLLM: a cause of its own, and nothing stays.

The same command, typed again, goes on with what was finished. vLLM starts five times.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.conftest import bubblewrap
from tests.rl.killing import A34, Command

pytestmark = [pytest.mark.serving, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_a_file_agents_run_ends_with_each_of_its_processes_and_goes_on(tmp_path: Path) -> None:
    bubblewrap()  # or skip
    command = Command("a34", tmp_path, **A34, engine="vllm", sandbox="bubblewrap")
    played = 0
    for victim, causes in {
        "engine": ("host-failed", "service vllm-"),
        "server": ("host-failed", "service vllm-"),
        "workload": ("failed", "SIGKILL"),
    }.items():
        code, said = command.kill(victim, command.at_work("engine", "sandbox"))
        status, cause = command.last_cause
        assert (code, status) == (3, causes[0]), said
        assert causes[1] in cause
        assert command.num_rollouts > played, "what was played is lost"
        played = command.num_rollouts
    assert command.kill("harness", command.at_work("engine", "sandbox"))[0] == -9
    code, said = command.run()
    assert code == 4, said  # parts of the experiment are left out
    assert "ended: killed" in said
    assert len(command.finished.outcome.segments) > 1
