"""Curves in other tools: written where those are installed, else an error that names the extra."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.follow import curves
from harness.follow.curves import TensorBoard, Trackio, run_name
from harness.follow.told import Progress
from harness.installed import to_install
from tests.unit.follow.conftest import BEGAN, line, spec


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_an_extra_that_is_missing_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=re.escape(to_install(name))):
        TensorBoard(spec(), tmp_path) if name == "tensorboard" else Trackio(spec())


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs the extra `tensorboard`")
def test_event_files_hold_every_figure_at_its_step(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import (  # noqa: PLC0415 - an extra
        event_accumulator,
    )

    lines = [line(at_s, "train full", at_s, 3, reward=at_s / 4) for at_s in range(4)]
    inner = {"what": "rollouts", "step": 1, "of": 2}
    lines.append(line(5, "train full", 3, 3, detail=inner, tokens_per_second=7.0))
    (tmp_path / "progress.jsonl").write_text("".join(f"{each}\n" for each in lines), "utf-8")
    progress = Progress(tmp_path, BEGAN)
    progress.update()
    writer = TensorBoard(spec(), tmp_path / "events")
    for each in progress.lines:
        writer.add(each)
    writer.close()
    read = event_accumulator.EventAccumulator(str(tmp_path / "events" / run_name(spec())))
    read.Reload()
    points = [(each.step, each.value) for each in read.Scalars("train-full/reward")]
    assert points == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    assert [each.value for each in read.Scalars("rollouts/tokens_per_second")] == [7.0]


@pytest.mark.skipif(find_spec("trackio") is None, reason="needs the extra `trackio`")
def test_trackio_gets_every_figure_at_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lines = [line(at_s, "train", at_s, 3, reward=at_s / 4) for at_s in range(4)]
    (tmp_path / "progress.jsonl").write_text("".join(f"{each}\n" for each in lines), "utf-8")
    progress = Progress(tmp_path, BEGAN)
    progress.update()
    writer = Trackio(spec())
    for each in progress.lines:
        writer.add(each)
    writer.close()
    (database,) = (tmp_path / "trackio").glob("a99-example*.db")
    with closing(sqlite3.connect(database)) as read:
        rows = read.execute("select step, metrics from metrics order by step").fetchall()
    assert [(step, json.loads(each)) for step, each in rows] == [
        (number, {"train/reward": number / 4}) for number in range(4)
    ]
