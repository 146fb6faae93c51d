"""The limits of one run: whether the machine can give them, and holding the run to them.

The memory of the machine as a whole is watched by `harness.runtime.memory`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from harness.errors import HostError
from harness.records import Limits
from harness.runtime.base import Stop
from harness.runtime.boxes import box_problem
from harness.runtime.host import ON_CPU, Host
from harness.runtime.memory import memory_problem

_LOOK_S = 0.5


class Watch:
    """Looks at a run twice a second and says when it must be stopped.

    For its memory it is stopped when two looks in a row find too much.

    Args:
        limits: what the run may use.
        memory_gib: reads how much memory it uses; None where the container holds that limit.
        each_look: called at every look.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        memory_gib: Callable[[], float] | None = None,
        each_look: Callable[[], None] | None = None,
    ) -> None:
        self._limits = limits
        self._memory_gib = memory_gib
        self._each_look = each_look
        self._deadline = time.monotonic() + limits.timeout_s
        self._next_look = time.monotonic() + _LOOK_S
        self._was_over = False

    def wait_s(self) -> float:
        """Return how long nothing needs to be looked at, seconds."""
        return max(0.0, min(self._deadline, self._next_look) - time.monotonic())

    def reason(self) -> Stop | None:
        """Return why the run must be stopped now; None while it need not."""
        now = time.monotonic()
        if now >= self._deadline:
            return Stop.TIME
        if now >= self._next_look:
            self._next_look = now + _LOOK_S
            return self._look()
        return None

    def _look(self) -> Stop | None:
        if self._each_look is not None:
            self._each_look()
        limit = self._limits.memory_gib
        is_over = limit is not None and self._memory_gib is not None and self._memory_gib() > limit
        # a program that is being started has its parent's memory for a moment, which counts twice
        stop = Stop.MEMORY if is_over and self._was_over else None
        self._was_over = is_over
        return stop


def host_problems(limits: Limits, host: Host) -> Iterator[HostError]:
    """Yield what a run's limits ask for and this machine cannot give."""
    if problem := memory_problem(limits, host):
        yield problem
    if limits.gpus > len(host.gpus):
        reason = host.absent.get("gpus", "the driver shows no more")
        yield HostError(
            f"the run needs {limits.gpus} NVIDIA GPU, {len(host.gpus)} seen: {reason}",
            "nvidia-smi" if host.driver else ON_CPU,
        )
    if limits.boxes and (problem := box_problem()):
        yield problem
