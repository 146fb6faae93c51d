"""An environment for Harbor without Docker: bubblewrap, and the system's own Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from harbor.environments.base import BaseEnvironment, ExecResult

BWRAP = shutil.which("bwrap") or "bwrap"


class Bubblewrapped(BaseEnvironment):  # type: ignore[misc] # harbor is no dependency of ours
    """``/app``, ``/tests`` and ``/logs`` lie below `root`; all else is the system's, read-only.

    Args:
        root: an empty folder.
        app: what an agent has left in ``/app``.
        facts: those of `BaseEnvironment`.
    """

    def __init__(self, root: Path, app: Path, **facts: Any) -> None:
        self._root, self._app = root, app
        super().__init__(**facts)

    @staticmethod
    def type() -> str:
        return "bubblewrap"

    def _validate_definition(self) -> None:
        assert (self.environment_dir / "Dockerfile").is_file()

    async def start(self, force_build: bool) -> None:  # noqa: ARG002, FBT001 - Harbor's
        for name in ("tests", "logs/verifier"):
            (self._root / name).mkdir(parents=True)

    async def stop(self, delete: bool) -> None:  # noqa: FBT001 - Harbor's
        pass

    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        shutil.copy(source_path, self._place(target_path))

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        shutil.copytree(source_dir, self._place(target_dir), dirs_exist_ok=True)

    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        shutil.copy(self._place(source_path), target_path)

    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        shutil.copytree(self._place(source_dir), target_dir, dirs_exist_ok=True)

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        del cwd, user
        system = ("/usr", "/bin", "/lib", "/lib64", "/etc")
        binds = [word for path in system for word in ("--ro-bind-try", path, path)]
        own = [
            *("--bind", str(self._root / "tests"), "/tests"),
            *("--bind", str(self._root / "logs"), "/logs"),
            *("--bind", str(self._app), "/app"),
        ]
        done = subprocess.run(  # noqa: ASYNC221 - one at a time
            [BWRAP, *binds, "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", *own,
             "--unshare-all", "--chdir", "/app", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin",
             "bash", "-c", command],
            env=env, timeout=timeout_sec, capture_output=True, check=False, encoding="utf-8",
        )  # fmt: skip
        return ExecResult(stdout=done.stdout, stderr=done.stderr, return_code=done.returncode)

    def _place(self, path: str) -> Path:
        return self._root / path.lstrip("/")
