"""The environment of each run: this machine's facts, and the Python that executes the workload."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from harness.errors import HostError, InputError
from harness.execution.prepare import Preparation
from harness.reading import read_json
from harness.records import Limits, RunSpec, Status, canonical_json, from_json, to_json
from harness.results.environment import capture, clock_warning
from harness.results.interpreter import Interpreter
from harness.runtime.base import SPEC_FILE, STDOUT_FILE, Launch

_IDENTIFY = ("-m", "harness.results.interpreter")


class EnvironmentRecorder:
    """Gives the environment of a run; asks an image for its Python once."""

    def __init__(self, ready: Preparation) -> None:
        self._ready = ready
        self._inside: Interpreter | None = None
        self._asking = Lock()
        newest = ""
        with suppress(InputError):  # a damaged run is named by who needs it
            stored = ready.store.runs(ready.loaded.scenario.scenario, ready.profile)
            newest = max((run.outcome.started_at for run in stored), default="")
        warning = clock_warning(datetime.now(UTC), newest)
        self._warnings = (warning,) if warning else ()
        if warning:
            ready.options.console.say(f"warning: {warning}")

    def __call__(self, spec: RunSpec, node: str) -> Mapping[str, Any]:
        """Return the environment of a run that has just ended, on the node that is named."""
        with self._asking:  # of runs side by side one asks
            if spec.image is not None and self._inside is None:
                self._inside = self._ask(spec)
        ready = self._ready
        there = ready.cluster.facts[node] if ready.cluster and node else None
        environment: Mapping[str, Any] = to_json(
            capture(
                spec,
                there.host if there else ready.host,
                project=ready.project.root,
                interpreter=self._inside or (there.interpreter if there else None),
                warnings=self._warnings,
            )
        )
        return environment

    def _ask(self, spec: RunSpec) -> Interpreter:
        """Return the Python inside the image, which is the same on every node: asked here.

        Raises:
            HostError: the image cannot say.
        """
        plain = replace(spec, limits=Limits(timeout_s=120.0))
        with tempfile.TemporaryDirectory(prefix="harness-interpreter-") as scratch:
            folder = Path(scratch)
            (folder / SPEC_FILE).write_text(canonical_json(plain), encoding="utf-8")
            launch = Launch(spec=plain, run_dir=folder, program=_IDENTIFY, label="interpreter")
            cluster = self._ready.cluster
            entered = nullcontext(self._ready.choice.runtime) if cluster is None else cluster.inner
            with entered as runtime:
                outcome = runtime.run(launch)
            if outcome.status is not Status.FINISHED:
                message = f"the image's Python cannot be asked for its packages: {outcome.cause}"
                raise HostError(message)
            answer = read_json((folder / STDOUT_FILE).read_bytes())
        return from_json(Interpreter, answer)
