"""The program of a cell that does nothing, started as a user would without the harness."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.records import ImageRef
from harness.runtime.container import RUN_DIR, SOURCE_DIR
from harness.runtime.images import built
from tests.bench.cost import ROOT, Program, cpu_s

_PROGRAM = ("-m", "harness.workloads", "noop")
# what the harness tells the engine as well
_OPTIONS = (
    *("--rm", "--init", "--read-only", "--network=none", "--cap-drop=ALL", "--shm-size=1g"),
    *("--security-opt=no-new-privileges:true", "--log-driver=none", "--user=65534:65534"),
    *("--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777", f"--workdir={RUN_DIR}"),
    *(f"--env=PYTHONPATH={SOURCE_DIR}", "--env=PYTHONDONTWRITEBYTECODE=1"),
    f"--mount=type=bind,source={ROOT / 'harness'},target={SOURCE_DIR}/harness,readonly",
)


def program_cpu_s(spec: Path) -> float:
    """Run the program of a spec.json on this machine; return its CPU time, seconds."""
    with tempfile.TemporaryDirectory() as out:
        command = (sys.executable, *_PROGRAM, str(spec), out)
        return cpu_s(Program(arguments=command), Path(out) / "printed")


def container_wall_s(image: ImageRef, spec: Path) -> float:
    """Run the program of a spec.json in a container of `image`; return how long it took, s."""
    with tempfile.TemporaryDirectory() as out:
        Path(out).chmod(0o777)  # the container's user is another
        mounts = (
            f"--mount=type=bind,source={out},target={RUN_DIR}",
            f"--mount=type=bind,source={spec},target={RUN_DIR}/spec.json,readonly",
        )
        program = ("python3", *_PROGRAM, "spec.json", ".")
        command = ("docker", "run", *_OPTIONS, *mounts, image.digest, *program)
        began_s = time.monotonic()
        subprocess.run(command, check=True)
        return time.monotonic() - began_s


def locked_image() -> ImageRef:
    """Return the image that the container cells run in.

    Raises:
        HostError: there is no engine, or it has no such image; says what to type.
    """
    return built(ROOT / "containers", "cpu")
