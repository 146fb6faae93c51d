"""The environment of each run: this machine's facts, and the Python that executes the workload."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HostError
from harness.execution.prepare import Preparation
from harness.reading import read_json
from harness.records import Limits, RunSpec, Status, canonical_json, from_json, to_json
from harness.results.environment import capture
from harness.results.interpreter import Interpreter
from harness.runtime.base import SPEC_FILE, STDOUT_FILE, Launch

_IDENTIFY = ("-m", "harness.results.interpreter")


class EnvironmentRecorder:
    """Gives the environment of a run; asks an image for its Python once."""

    def __init__(self, ready: Preparation) -> None:
        self._ready = ready
        self._inside: Interpreter | None = None

    def __call__(self, spec: RunSpec) -> Mapping[str, Any]:
        """Return the environment of a run that has just been executed."""
        if spec.image is not None and self._inside is None:
            self._inside = self._ask(spec)
        ready = self._ready
        environment: Mapping[str, Any] = to_json(
            capture(spec, ready.host, project=ready.project.root, interpreter=self._inside)
        )
        return environment

    def _ask(self, spec: RunSpec) -> Interpreter:
        """Return the Python inside the image.

        Raises:
            HostError: the image cannot say.
        """
        plain = replace(spec, limits=Limits(timeout_s=120.0))
        with tempfile.TemporaryDirectory(prefix="harness-interpreter-") as scratch:
            folder = Path(scratch)
            (folder / SPEC_FILE).write_text(canonical_json(plain), encoding="utf-8")
            launch = Launch(spec=plain, run_dir=folder, program=_IDENTIFY, label="interpreter")
            outcome = self._ready.choice.runtime.run(launch)
            if outcome.status is not Status.FINISHED:
                message = f"the image's Python cannot be asked for its packages: {outcome.cause}"
                raise HostError(message)
            answer = read_json((folder / STDOUT_FILE).read_bytes())
        return from_json(Interpreter, answer)
