"""An engine of a test's own beside the machine's, which it may kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.records import record

START_S = 60.0


@record
class Daemon:
    """An engine, by its process."""

    folder: Path

    @property
    def host(self) -> str:
        """What clients call it by."""
        return f"unix://{self.folder}/socket"

    @property
    def root(self) -> Path:
        """Where it keeps its images."""
        return self.folder / "data-root"

    def answers(self) -> bool:
        """Whether it has started."""
        with socket.socket(socket.AF_UNIX) as asking:
            return asking.connect_ex(f"{self.folder}/socket") == 0

    def kill(self) -> None:
        """End it so that it can clean nothing up."""
        os.kill(int((self.folder / "pid").read_text(encoding="ascii")), signal.SIGKILL)


def until(holds: Callable[[], bool], timeout_s: float = START_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.05)


@contextmanager
def own_engine(root_bytes: int | None = None) -> Iterator[Daemon]:
    """Start an engine without images, and end it and all that it has started.

    Args:
        root_bytes: the size of its disk; None for the machine's.
    """
    program = shutil.which("dockerd")
    if program is None or os.geteuid() != 0:
        pytest.skip("a second engine needs dockerd, and root: use .ci/engine")
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        daemon = Daemon(folder=folder)
        if root_bytes is not None:
            daemon.root.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={root_bytes}", "tmpfs", str(daemon.root)]
            subprocess.run(mount, check=True)
        arguments = [f"--host={daemon.host}", f"--pidfile={folder}/pid", "--bridge=none"]
        arguments += [f"--data-root={daemon.root}", f"--exec-root={folder}/exec-root"]
        arguments += [f"--{each}=false" for each in ("iptables", "ip6tables", "ip-forward")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, *arguments], stdout=log, stderr=log, start_new_session=True
            )
        try:
            until(daemon.answers)
            yield daemon
        finally:
            process.kill()
            process.wait()
            _end_rest(folder)


def _end_rest(folder: Path) -> None:
    """End what a killed engine leaves: it names the engine's folder in its arguments."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (each / "cmdline").read_bytes():
                os.kill(int(each.name), signal.SIGKILL)
    with Path("/proc/self/mounts").open(encoding="utf-8") as mounts:
        for place in [line.split()[1] for line in mounts if str(folder) in line][::-1]:
            subprocess.run([shutil.which("umount") or "umount", "--lazy", place], check=False)
