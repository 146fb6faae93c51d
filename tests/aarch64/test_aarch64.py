"""The program on aarch64, as a DGX Spark has it: emulated by qemu, below a Debian of its own.

`.ci/aarch64` makes that once. What needs namespaces cannot be emulated, so nothing here opens a
sandbox; torch and vLLM are not installed in it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NEEDS = ("qemu-aarch64-static", "mmdebstrap", "unshare")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def emulated(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on aarch64."""
    if missing := [each for each in _NEEDS if not shutil.which(each)]:
        pytest.skip(f"aarch64 is not emulated without {', '.join(missing)}")
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
