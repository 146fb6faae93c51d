"""Runs that are at work, written by hand into a store's staging folder."""

from __future__ import annotations

import fcntl
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.probes.channels import Channel
from harness.records import (
    FinishedRun,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    Usage,
    to_json,
)
from harness.results.store import RunStore
from harness.telemetry.log import HEADER

BEGAN = 1_700_000_000.0
MakeRun = Callable[..., Path]


def spec(seed: int = 1, **facts: Any) -> RunSpec:
    return RunSpec(
        scenario="a99-example",
        profile=Profile.CPU,
        workload="noop",
        params={"value": 3},
        seed=seed,
        **facts,
    )


def line(
    at_s: float, phase: str, step: int | None = None, of: int | None = None, **more: Any
) -> str:
    inner = more.pop("detail", None)
    document = {
        "at": BEGAN + at_s,
        "phase": phase,
        "step": step,
        "of": of,
        "unit": "step",
        "detail": inner,
        "values": more,
    }
    return json.dumps(document)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "store")


@pytest.fixture
def begin(store: RunStore) -> MakeRun:
    """Return what begins a run: its staging folder, with what it has told so far."""

    def make(of: RunSpec | None = None, lines: Iterator[str] | list[str] = ()) -> Path:  # type: ignore[assignment]
        run = of or spec()
        folder = store.root / ".staging" / f"{run.scenario}.{run.profile}.{run.run_id}"
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(to_json(run)), encoding="utf-8")
        os.utime(folder / "spec.json", (BEGAN, BEGAN))
        (folder / "progress.jsonl").write_text(
            "".join(f"{each}\n" for each in lines), encoding="utf-8"
        )
        return folder

    return make


@contextmanager
def held(store: RunStore, of: RunSpec) -> Iterator[None]:
    """Hold the lock that a harness at work holds."""
    path = store.root / ".staging" / f"{of.scenario}.{of.profile}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def finish(store: RunStore, folder: Path, of: RunSpec, status: Status = Status.FINISHED) -> None:
    store.commit(
        folder,
        FinishedRun(
            spec=of,
            outcome=RunOutcome(
                status=status,
                runtime="local",
                device="box",
                usage=Usage(wall_s=100.0),
                cause="" if status is Status.FINISHED else "exit code 1",
                started_at="2026-11-29T00:00:00+00:00",
            ),
            measurements=(),
        ),
    )


def eighteen_hours(folder: Path) -> None:
    """Write the progress and telemetry of a long run, with a torn tail in both."""
    rng = random.Random(1)  # noqa: S311 - figures
    with (folder / "progress.jsonl").open("w", encoding="utf-8") as file:
        for at_s in range(0, 18 * 3600, 6):
            step = at_s // 1300
            reward = rng.random() if at_s != 30_000 else 99.0
            file.write(line(at_s, f"train {step // 10}", step % 10, 10, reward=reward) + "\n")
        file.write('{"at": 17000')
    with (folder / "telemetry.csv").open("w", encoding="utf-8") as file:
        file.write(",".join(HEADER) + "\n")
        for at_s in range(18 * 3600):
            cells = {"at_s": at_s, Channel.MEMORY_USED_GIB: 70 + rng.random()}
            file.write(",".join(str(cells.get(name, "")) for name in HEADER) + "\n")
        file.write("64800,\0\0\0")
