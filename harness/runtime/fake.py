"""A runtime for tests: it plays runs from a script, starts nothing and takes no time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from harness.errors import HostError
from harness.records import Event, RunOutcome, RunSpec, Status, Usage, to_json
from harness.runtime.base import Launch, Leftover
from harness.workloads.api.emit import EVENTS_FILE

Script = Callable[[Launch], RunOutcome]


class FakeRuntime:
    """Answers every launch by a script.

    Args:
        script: says how each run goes; it may write events, see `run_episode`.
        problems: what the machine is short of.
        leftovers: what `reap` finds, once.

    Attributes:
        launched: every launch so far, in order.
    """

    name = "fake"
    is_here = True

    def __init__(
        self,
        script: Script,
        problems: Sequence[HostError] = (),
        leftovers: Sequence[Leftover] = (),
    ) -> None:
        self.launched: list[Launch] = []
        self._script = script
        self._problems = tuple(problems)
        self._leftovers = tuple(leftovers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def problems(self, spec: RunSpec) -> Iterator[HostError]:  # noqa: ARG002 - the protocol's
        """Yield the problems it was given."""
        yield from self._problems

    def run(self, launch: Launch) -> RunOutcome:
        """Play one run."""
        self.launched.append(launch)
        return self._script(launch)

    def reap(self) -> tuple[Leftover, ...]:
        """Return the leftovers it was given; there are none afterwards."""
        found, self._leftovers = self._leftovers, ()
        return found


def ended(status: Status = Status.FINISHED, cause: str = "") -> RunOutcome:
    """Return the outcome of a run that took no time."""
    code = 0 if status is Status.FINISHED else 1
    return RunOutcome(
        status=status,
        runtime=FakeRuntime.name,
        device="",
        usage=Usage(wall_s=0.0),
        exit_code=code,
        cause=cause,
    )


def play(launch: Launch, events: Sequence[Event]) -> None:
    """Write the events that a workload would have written."""
    lines = [json.dumps(to_json(event)) + "\n" for event in events]
    (launch.run_dir / EVENTS_FILE).write_text("".join(lines), encoding="utf-8")
