"""Systems without /proc: what must work there works, and says what it cannot know.

Where this user may, /proc is really hidden, by a mount namespace; Linux's own calls are taken out
of the standard library. That is not macOS, but what of it can be had here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HIDE = 'mount -t tmpfs none /proc && exec "$@"'
PROGRAM = """\
import os, select, signal, socket, sys
for module, names in (
    (os, "pidfd_open memfd_create O_PATH sched_getaffinity unshare setns eventfd pipe2"),
    (signal, "pidfd_send_signal"), (select, "epoll"), (socket, "SO_PEERCRED"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
from harness.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_proc(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    hidden = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", HIDE, "sh")
    if subprocess.run([*hidden, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may make no mount namespace")
    return subprocess.run(
        [*hidden, sys.executable, "-c", PROGRAM, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def words(project_root: Path, tmp_path: Path) -> list[str]:
    return ["--project", str(project_root), "--store", str(tmp_path / "store")]


@pytest.mark.parametrize("command", ["list", "show a24", "plan a24 --profile cpu"])
def test_what_runs_nothing_works(command: str, words: list[str], tmp_path: Path) -> None:
    done = without_proc(*command.split(), *words, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_doctor_says_what_it_cannot_know(words: list[str]) -> None:
    done = without_proc("doctor", "-v", *words)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "limited  system" in done.stdout
    assert "available memory is unknown" in done.stdout
    assert "that needs Linux, whose /proc is absent here" in done.stdout
    assert "unknown about this machine: boot_id: boot_id: No such file" in done.stderr


def test_an_arithmetic_scenario_runs_and_is_checked(words: list[str]) -> None:
    done = without_proc("run", "a24", "--profile", "cpu", "--all", *words)
    assert done.returncode == 0, done.stderr
    assert "83 REPRODUCED" in done.stdout
    again = without_proc("run", "a24", "--profile", "cpu", *words)
    assert "3 runs were finished before" in again.stderr
    assert without_proc("check", "a24", *words).returncode == 0
