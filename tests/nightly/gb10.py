"""The program on a simulated DGX Spark: its GB10 computes nothing, and says how fast it was.

``python -m tests.nightly.gb10 ARGUMENTS`` is `harness` where runs take no time. The speed of a run
is that of a GB10 whose nights differ by 0.5 %, and of the commit: a tree that has a file ``SLOW``
loses what that says, in per cent. With each night in the history a day has passed.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import harness.commands.doctor
import harness.commands.regress
import harness.execution.prepare
import harness.execution.versions
from harness import cli
from harness.execution.environment import EnvironmentRecorder
from harness.execution.versions import AskedCell, Version
from harness.records import Event, ImageRef, RunOutcome, canonical_json
from harness.results.interpreter import this_interpreter
from harness.runtime.base import Launch
from harness.runtime.choice import Choice
from harness.runtime.fake import FakeRuntime, ended, play
from harness.runtime.host import Gpu, Host, probe_host
from harness.workloads.api.declare import Metric

GB10 = Gpu(
    name="NVIDIA GB10",
    memory_gib=None,
    compute_capability="12.1",
    power_limit_w=None,
    absent={"memory_gib": "unified memory", "power_limit_w": "not supported"},
)
_FIRST = datetime(2026, 3, 1, 1, tzinfo=UTC)
_TOKENS_PER_S = 14_000.0
_IMAGE = ImageRef(name="nemo", digest=f"sha256:{0:064x}")


def main() -> int:
    """Answer as `harness` would on the simulated machine."""
    night = _nights()
    host = spark()
    for module in (harness.commands.doctor, harness.execution.prepare):
        module.probe_host = lambda: host  # type: ignore[attr-defined]

    def script(launch: Launch) -> RunOutcome:
        root = Path(os.environ.get("HARNESS_PROJECT", "."))
        rate = _rate(root, f"{night} {launch.spec.run_id}", launch.spec.params)
        events = (
            Event(kind="started", at_s=0.0, payload={"device": GB10.name}),
            *_steps(launch.spec.params, rate),
            Event(kind="finished", at_s=1.0, payload={}),
        )
        play(launch, events)
        started = (_FIRST + timedelta(days=night)).isoformat()
        return replace(ended(), runtime="docker", device=str(GB10.name), started_at=started)

    def choose(*_: object) -> Choice:
        return Choice(runtime=FakeRuntime(script), image=_IMAGE, reason="simulated")

    def executor(cell: AskedCell, metrics: Mapping[str, Metric], _timeout_s: float) -> Any:
        counted = iter(range(10_000))

        def execute(version: Version) -> dict[tuple[str, str], float]:
            rate = _rate(version.root, f"{night} {next(counted)}", cell.cell)
            figures = {"tokens_per_second": rate, "step_time.mean": 1e6 / rate}
            return {(each, canonical_json({})): figures.get(each, 1.0) for each in metrics}

        return execute

    for of, name, simulated in (
        (harness.execution.prepare, "choose", choose),
        (harness.commands.regress, "executor", executor),
        (EnvironmentRecorder, "_ask", lambda *_: this_interpreter()),
        (harness.execution.versions, "_require", lambda _: None),
    ):
        setattr(of, name, simulated)
    return cli.main()


def _nights() -> int:
    """Return how many nights the history has."""
    folder = Path(os.environ.get("HARNESS_HISTORY", "results/history"))
    lines = [line for file in folder.rglob("*.jsonl") for line in file.read_text().splitlines()]
    return sum('"kind":"night"' in line for line in lines)


def spark() -> Host:
    """Return this machine with a GB10 in it."""
    host = probe_host()
    absent = {name: why for name, why in host.absent.items() if name not in {"gpus", "driver"}}
    return replace(host, gpus=(GB10,), driver="580.95.05", memory_total_gib=119.7, absent=absent)


def _steps(params: Mapping[str, Any], rate: float) -> list[Event]:
    """Return the events of the steps of a cell, so many tokens a second fast."""
    tokens = params["batch_size"] * params["seq_len"]
    values = {
        "loss": 10.0,
        "tokens": tokens,
        "step_s": tokens / rate,
        "batch_s": 0.0,
        "whole_s": tokens / rate,
        "learning_rate": params["learning_rate"],
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.95,
    }
    return [
        Event(kind="step", at_s=1.0, payload={"step": at, "values": {**values, "batch": f"{at}"}})
        for at in range(params["max_steps"])
    ]


def _rate(root: Path, seed: str, params: Mapping[str, Any]) -> float:
    """Return tokens a second."""
    slow = root / "SLOW"
    loss = float(slow.read_text(encoding="utf-8")) / 100 if slow.is_file() else 0.0
    noise = 1 + random.Random(seed).gauss(0, 0.005)  # noqa: S311 - noise
    size = float(params.get("batch_size", 1))
    return _TOKENS_PER_S * size / (size + 1) * (1 - loss) * noise


if __name__ == "__main__":
    sys.exit(main())
