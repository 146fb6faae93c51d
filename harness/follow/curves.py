"""CurveWriter of a run in the tools that people have open: trackio, TensorBoard. Extras, both.

Each follows the same file as everything else here. What has been written is not written again,
so that a follower may be started late, and a run be followed by several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from harness.errors import InputError, Problem
from harness.follow.told import ProgressLine
from harness.installed import to_install
from harness.records import RunSpec

Write = Callable[[int, Mapping[str, float], float], None]


class CurveWriter(Protocol):
    """Where curves go."""

    def add(self, told: ProgressLine) -> None:
        """Add the figures of one line."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class _Points:
    """From lines to points: a figure of a phase at a step, each once."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._number = 0

    def add(self, told: ProgressLine) -> None:
        """Write the figures of one line."""
        if not told.values:
            return
        self._number += 1
        own = told.detail is None and told.phase.step is not None
        step = told.phase.step if own else self._number
        assert step is not None
        group = told.phase.what if own else told.detail.what if told.detail else told.phase.what
        group = group.replace(" ", "-")
        self._write(
            step, {f"{group}/{key}": value for key, value in told.values.items()}, told.clock
        )


class TensorBoard(_Points):
    """Event files for TensorBoard.

    Args:
        spec: the run.
        folder: gets a folder of the run's name.
    """

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        _require("tensorboard", "tensorboard")
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - an extra
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
        from tensorboard.summary.writer.event_file_writer import (  # noqa: PLC0415
            EventFileWriter,
        )

        writer: Any = EventFileWriter(str(folder / run_name(spec)))

        def write(step: int, values: Mapping[str, float], clock: float) -> None:
            points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
            writer.add_event(Event(wall_time=clock, step=step, summary=Summary(value=points)))

        super().__init__(write)
        self.close = writer.close


class Trackio(_Points):
    """A project of trackio, which is named as the scenario."""

    def __init__(self, spec: RunSpec) -> None:
        _require("trackio", "trackio")
        import trackio  # noqa: PLC0415 - an extra, and slow to load

        run: Any = trackio.init(
            project=spec.scenario, name=run_name(spec), config={"params": dict(spec.params)}
        )

        def write(step: int, values: Mapping[str, float], clock: float) -> None:
            del clock
            run.log(dict(values), step=step)

        super().__init__(write)
        self.close = run.finish


def run_name(spec: RunSpec) -> str:
    """Return the name that a run has there."""
    return f"{spec.profile}-seed-{spec.seed}-{spec.run_id[:8]}"


def _require(package: str, extra: str) -> None:
    if find_spec(package) is None:
        message = f"{package} is not installed"
        raise InputError([Problem(message=message, key=f"--{extra}", allowed=to_install(extra))])
