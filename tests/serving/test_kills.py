"""kill -9 of vLLM's processes beside article 34: the run says so, nothing stays, and it goes on.

Those of the workload and of the harness are killed in tests/rl/test_kills.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.conftest import bubblewrap
from tests.rl.killing import A34, Command

pytestmark = [pytest.mark.serving, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_a_file_agents_run_ends_with_its_server_and_keeps_what_was_played(tmp_path: Path) -> None:
    bubblewrap()  # or skip
    command = Command("a34", tmp_path, **A34, engine="vllm", sandbox="bubblewrap")
    played = 0
    for victim in ("engine", "server"):
        code, said = command.kill(victim, command.at_work("engine", "sandbox"))
        status, cause = command.last_cause
        assert (code, status) == (3, "host-failed"), said
        assert "service vllm-" in cause
        assert command.num_rollouts > played, "what was played is lost"
        played = command.num_rollouts
