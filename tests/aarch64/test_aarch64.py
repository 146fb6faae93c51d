"""The program on aarch64, as a DGX Spark has it: emulated by qemu, below a Debian of its own.

`.ci/aarch64` makes that once. What needs namespaces cannot be emulated, so nothing here opens a
sandbox; torch and vLLM are not installed in it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
_NEEDS = ("qemu-aarch64-static", "mmdebstrap", "setpriv", "unshare")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(autouse=True)
def emulator() -> None:
    if missing := [each for each in _NEEDS if not shutil.which(each)]:
        pytest.skip(f"aarch64 is not emulated without {', '.join(missing)}")


def emulated(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on aarch64."""
    return subprocess.run(
        [ROOT / ".ci/aarch64", *command], check=False, capture_output=True, text=True
    )


def harness(*arguments: str) -> str:
    """Run the program on aarch64; return what it printed."""
    done = emulated("python3", "-m", "harness", *arguments)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout


def test_it_is_aarch64() -> None:
    done = emulated("python3", "-c", "import platform; print(platform.machine())")
    assert done.stdout.strip() == "aarch64", done.stderr[-2000:]


def test_scenarios_are_valid() -> None:
    assert "13 scenarios valid" in harness("validate")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_what_it_runs_ends_with_it(number: signal.Signals) -> None:
    command: list[str | Path] = [ROOT / ".ci/aarch64", "sh", "-c", "echo begun; sleep 3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "begun\n"
        emulator = psutil.Process(started.pid).children(recursive=True)
        assert emulator
        started.send_signal(number)
        started.wait()
        _, running = psutil.wait_procs(emulator, timeout=60)
    assert not running
