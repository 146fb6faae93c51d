"""File tasks as an environment of verifiers: an agent changes files, and assertions grade them.

`harness export --to verifiers` copies this module beside the tasks and their grader. The grader
runs where the files are, with the Python 3.11 or newer of the image.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import verifiers.v1 as vf

__all__ = ["FileTaskset"]

_HERE = Path(__file__).parent
_IMAGE = "python:3.12-slim-bookworm"
# -I and -P: what the agent left in its folder is not loaded in the grader's place
_GRADE = """\
set -e
workspace=$PWD
cd "$1"
python3 -I -m zipfile -e grader.zip .
PYTHONPATH=$1 python3 -P -B grade.py "$workspace" reward.json >&2
"""


class FileTasksetConfig(vf.TasksetConfig):
    """What may be set on the command line."""

    contained: bool = True
    """Whether tasks ask for a container; without one, commands run on this machine."""


class FileTask(vf.Task[vf.TaskData]):
    """One task, which lies in a folder of its id."""

    @property
    def folder(self) -> Path:
        """Where its files, its assertions and its author's commands lie."""
        return _HERE / "tasks" / str(self.data.id)

    async def setup(self, runtime: vf.Runtime) -> None:
        """Put the files into the working folder."""
        files = self.folder / "files"
        for path in sorted(files.rglob("*")):
            if path.is_file():
                await runtime.write(path.relative_to(files).as_posix(), path.read_bytes())

    @vf.reward
    async def passed(self, trace: vf.Trace, runtime: vf.Runtime) -> float:
        """Return 1 if all assertions hold; the share that does is a metric."""
        reward = await self._graded(runtime)
        trace.record_metric("assertion_pass_rate", reward["assertion_pass_rate"])
        return reward["reward"]

    async def validate(self, runtime: vf.Runtime) -> bool | None:
        """Say whether the author's commands solve the task."""
        solution = self.folder / "solve.sh"
        if not solution.is_file():
            return None
        await runtime.run(["bash", "-c", solution.read_text("utf-8")], {})
        return (await self._graded(runtime))["reward"] == 1.0

    async def _graded(self, runtime: vf.Runtime) -> dict[str, float]:
        made = await runtime.run(["mktemp", "-d"], {})
        place = made.stdout.strip()
        await runtime.write(f"{place}/grader.zip", self._grader())
        done = await runtime.run(["sh", "-c", _GRADE, "sh", place], {})
        if done.exit_code:
            message = f"the grader failed: {done.stderr[-2000:]}"
            raise RuntimeError(message)
        reward: dict[str, float] = json.loads(await runtime.read(f"{place}/reward.json", 1000))
        await runtime.run(["rm", "-rf", place], {})
        return reward

    def _grader(self) -> bytes:
        grader, packed = _HERE / "grader", io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(grader.rglob("*.py")):
                archive.write(path, path.relative_to(grader).as_posix())
            archive.write(self.folder / "task.json", "task.json")
        return packed.getvalue()


class FileTaskset(vf.Taskset[FileTask, FileTasksetConfig]):
    """Every task of the package, in the order of their ids."""

    def load(self) -> Iterator[FileTask]:
        """Yield the tasks."""
        box: dict[str, Any] = {"image": _IMAGE, "workdir": "/app", "network_allow": []}
        for folder in sorted((_HERE / "tasks").iterdir()):
            prompt = (folder / "instruction.md").read_text("utf-8")
            data = vf.TaskData(
                id=folder.name, prompt=prompt, **(box if self.config.contained else {})
            )
            yield FileTask(data, self.config.task)
