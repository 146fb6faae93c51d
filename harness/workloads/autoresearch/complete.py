"""A search loop as a process of its own, brought to its end; killed on the way where asked for.

The loop goes on where it was killed; with `kills` this process kills it itself, as a power cut
would.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from harness.errors import HarnessError, HostError
from harness.records import to_json
from harness.workloads.autoresearch.loop import TRAJECTORY_FILE, Session
from harness.workloads.autoresearch.loop_process import REFUSAL_FILE, SESSION_FILE

_LOOP = "harness.workloads.autoresearch.loop_process"
_POLL_S = 0.01
_LATEST_S = 0.5  # a kill comes up to so much after the line that it waits for


def complete(session: Session, folder: Path, corpus: str = "") -> int:
    """Bring the loop in a folder to its end, and return how often it was killed on the way.

    Args:
        session: what is to be done.
        folder: where it stands.
        corpus: folder of a packed corpus; empty draws tokens from a source.

    Raises:
        HostError: the loop cannot be done here.
        HarnessError: it broke.
    """
    (folder / SESSION_FILE).write_text(json.dumps(to_json(session)), encoding="utf-8")
    command = [sys.executable, "-m", _LOOP, str(folder), *([corpus] if corpus else [])]
    random = Random(session.seed)  # noqa: S311 - moments, not secrets
    kills = 0
    for number in range(1, session.params.kills + 1):
        line = 1 + number * session.params.iterations // (session.params.kills + 1)
        kills += _killed(command, folder / TRAJECTORY_FILE, line, random.uniform(0.0, _LATEST_S))
    with _started(command) as process:
        code = process.wait()
    if code:
        raise _failure(folder / REFUSAL_FILE, code)
    return kills


def _failure(refusal: Path, code: int) -> HarnessError:
    """Return what the loop said before it gave up; what broke it stands on standard error."""
    if refusal.exists():
        return HostError(**json.loads(refusal.read_text(encoding="utf-8")))
    return HarnessError(f"the loop exited with {code}")


def _killed(command: list[str], path: Path, line: int, delay_s: float) -> bool:
    """Start the loop and kill it soon after it has written so many lines; False: it was faster."""
    with _started(command) as process:
        while process.poll() is None and _num_lines(path) < line:
            time.sleep(_POLL_S)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        code = process.wait()
    return code == -signal.SIGKILL


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
