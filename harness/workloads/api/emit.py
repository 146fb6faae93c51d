"""The event writer: a workload's only output channel.

Events go to ``events.jsonl``, one JSON object a line, flushed as they are written, so that a kill
loses at most the line being written. Kinds and their payloads:

=========  =====================================================================
started    device, and what the workload wants known of where it runs
measured   metric, value, unit, where, count, absent: one figure
step       step, values: one point of the series that a derivation will reduce
note       text: something a reader should know
artefact   name, path, sha256, bytes: a file left in the output folder
begun      name, key, keeps: a step that is being made; whether a part of it can be gone on with
stored     a finished step (`harness.records.StepTaken`): made now, or taken
finished   empty: the workload ended normally
=========  =====================================================================

Events that are written while a step is made are kept with the step too, and come again where
another run takes it (`harness.workloads.api.steps`).
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from harness.appended import whole_lines
from harness.errors import nearest
from harness.reading import read_json
from harness.records import Event, Scalar, StepTaken, from_json, to_json
from harness.workloads.api.declare import Metric

EVENTS_FILE = "events.jsonl"
_MAX_BYTES = 2**30


class EventWriter:
    """Writes the events of one run; use it as a context manager.

    Args:
        path: the file; it is created, and must not exist.
        metrics: the metrics this workload declares; any other name is refused.
    """

    def __init__(self, path: Path, metrics: tuple[Metric, ...]) -> None:
        self._path = path
        self._metrics = {metric.name: metric for metric in metrics}
        self._began = time.monotonic()
        self._copy: TextIO | None = None
        self.device = "unknown"

    def __enter__(self) -> Self:
        self._file = self._path.open("x", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._write("finished", {})
        self._file.close()

    def started(self, device: str, **facts: Scalar) -> None:
        """Say which device the work is done on, e.g. ``NVIDIA GB10`` or a CPU's model name."""
        self.device = device
        self._write("started", {"device": device, "facts": facts})

    def measured(
        self,
        metric: str,
        value: Scalar,
        *,
        where: Mapping[str, Scalar] | None = None,
        count: int = 1,
        absent: str = "",
    ) -> None:
        """Report one figure, in the unit that the metric declares.

        A NaN or infinite value is recorded as absent, with that as the reason.

        Raises:
            ValueError: the workload declares no such metric.
        """
        declared = self._declared(metric)
        if isinstance(value, float) and not math.isfinite(value):
            value, absent = None, str(value)
        if value is None and not absent:
            message = f"{metric}: an absent figure needs a reason"
            raise ValueError(message)
        figure = {"metric": metric, "value": value, "unit": declared.unit, "where": where or {}}
        self._write("measured", {**figure, "count": count, "absent": absent})

    def step(self, step: int, **values: float) -> None:
        """Record one point of a series; non-finite values are kept as text."""
        finite = {k: v if math.isfinite(v) else str(v) for k, v in values.items()}
        self._write("step", {"step": step, "values": finite})

    def note(self, text: str) -> None:
        """Tell a reader of the result something that the figures do not say."""
        self._write("note", {"text": text})

    def artefact(self, name: str, path: Path) -> None:
        """Record a file left in the output folder, by its content."""
        content = path.read_bytes()
        self._write(
            "artefact",
            {
                "name": name,
                "path": path.name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
            },
        )

    def step_begun(self, name: str, key: str, *, keeps: bool) -> None:
        """Record a step that is going to be made."""
        self._write("begun", {"name": name, "key": key, "keeps": keeps})

    def step_finished(self, step: StepTaken) -> None:
        """Record a step that this run has made or taken."""
        self._write("stored", to_json(step))

    @contextmanager
    def copied_to(self, path: Path) -> Iterator[None]:
        """Write the events of the block into another file as well."""
        with path.open("w", encoding="utf-8") as file:
            self._copy = file
            try:
                yield
            finally:
                self._copy = None

    def replay(self, path: Path) -> None:
        """Write the events of a file that `copied_to` wrote, as of now."""
        for event in read_events(path):
            self._write(event.kind, event.payload)

    def _declared(self, metric: str) -> Metric:
        if metric not in self._metrics:
            close = nearest(metric, self._metrics)
            message = f"undeclared metric {metric!r}; nearest: {close or 'none'}"
            raise ValueError(message)
        return self._metrics[metric]

    def _write(self, kind: str, payload: Mapping[str, object]) -> None:
        event = Event(kind=kind, at_s=round(time.monotonic() - self._began, 6), payload=payload)
        line = json.dumps(to_json(event), ensure_ascii=False) + "\n"
        for file in (self._file, self._copy):
            if file is not None:
                file.write(line)
                file.flush()


def read_events(path: Path) -> tuple[Event, ...]:
    """Return the events of a run; a torn tail (the run was killed) is left out.

    Raises:
        ValueError: a whole line is damaged; names file and line.
    """
    return tuple(_events(path))


def _events(path: Path) -> Iterator[Event]:
    for number, line in enumerate(whole_lines(path, max_bytes=_MAX_BYTES), 1):
        try:
            yield from_json(Event, read_json(line))
        except ValueError as error:
            message = f"{path}:{number}: damaged event: {error}"
            raise ValueError(message) from None
