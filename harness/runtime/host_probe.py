"""Probe the machine around runs, on which they are at work.

A probe is a program of its own in the run's runtime (`harness.probes.benchmark`), before the run's
clock and telemetry start and after they have stopped: no figure of the run holds any of it.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import HostError, first_line
from harness.probes.benchmark import Benchmark
from harness.probes.machine_state import REMEDIES, SickSign, state_of
from harness.probes.nvml import NvmlGpu, first_gpu
from harness.probes.reading import NotSupported, Reading, Reasons
from harness.probes.thermal import hottest_zone_c
from harness.reading import read_json, read_regular_file
from harness.records import (
    HostProbe,
    Limits,
    ProbeMoment,
    RunSpec,
    Status,
    VerdictKind,
    from_json,
    record,
)
from harness.runtime import machine
from harness.runtime.base import Launch, Runtime

_PROBE_S = {True: 10.0, False: 2.0}  # whether a run has a GPU -> how long a probe computes
WORTH = 20  # a probe is taken once in so many of its own lengths, so it costs 5 % at most
_LIMITS = Limits(stall_s=120.0, timeout_s=300.0)
_OUT = "benchmark.json"
_LOOK_S = 0.25
_IDLE_S = 1.5  # NVML's utilisation is of the last second
_RAMP = 0.3  # of the matrix product, in which the clock rises


def seconds_for(spec: RunSpec) -> float:
    """Return how long a probe around a run computes."""
    return _PROBE_S[spec.limits.gpus > 0]


class HostProber:
    """Takes probes around runs, one run at a time.

    Args:
        skipped: why none is taken.
        say: tells people of a machine that is not itself.
        clock: of seconds that only rise.
    """

    def __init__(
        self,
        skipped: str = "",
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.skipped = skipped
        self._say = say
        self._clock = clock
        self._last: HostProbe | None = None
        self._told: dict[str, SickSign | None] = {}  # by node
        self._last_s = 0.0

    def before(self, launch: Launch, runtime: Runtime) -> tuple[HostProbe, ...]:
        """Return the machine before a run: as it is, or as the last probe of late found it."""
        if self.skipped:
            return ()
        if self._last is None or self._is_due(launch.spec):
            return (self._take(launch, runtime, ProbeMoment.BEFORE),)
        return (replace(self._last, when=ProbeMoment.BEFORE),)

    def after(self, launch: Launch, runtime: Runtime) -> tuple[HostProbe, ...]:
        """Return the machine after a run; nothing where the last probe is of late."""
        if self.skipped or not self._is_due(launch.spec):
            return ()
        return (self._take(launch, runtime, ProbeMoment.AFTER),)

    def _is_due(self, spec: RunSpec) -> bool:
        return self._clock() - self._last_s >= WORTH * seconds_for(spec)

    def _take(self, launch: Launch, runtime: Runtime, when: ProbeMoment) -> HostProbe:
        self._last = probe(runtime, launch, when)
        self._last_s = self._clock()
        self.tell(self._last)
        return self._last

    def tell(self, found: HostProbe, node: str = "") -> None:
        """Tell people of a machine that is not itself, once; of a node of a cluster its name."""
        state = state_of(found)
        if state.signature is not None and state.signature is not self._told.get(node):
            where = f"node {node}: " if node else ""
            said = f"{where}{VerdictKind.HOST_DEGRADED}: {state.sentence}"
            self._say(f"{said}; no timing of the run counts")
            self._say(f"  next: {REMEDIES[state.signature]}")
        self._told[node] = state.signature


def probe(
    runtime: Runtime,
    launch: Launch,
    when: ProbeMoment,
    *,
    root: Path = Path("/"),
    nvml_api: Any = None,
) -> HostProbe:
    """Return what the machine does now, with nothing of ours at work on it.

    A probe that does not end well has reasons in place of figures, and breaks no run.

    Args:
        runtime: an entered one.
        launch: of the run: its image, its GPU, its folder, its stop.
        when: before or after that run.
        root: the file system's root.
        nvml_api: what to ask instead of the ``pynvml`` module.
    """
    spec, why = launch.spec, Reasons()
    on_gpu, at = spec.limits.gpus > 0, datetime.now(UTC).isoformat(timespec="seconds")
    folder = launch.run_dir / ".host_probe"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    limits = replace(_LIMITS, gpus=spec.limits.gpus, shm_gib=spec.limits.shm_gib)
    kind, seconds = "cuda" if on_gpu else "cpu", seconds_for(spec)
    with _watched(nvml_api, on=on_gpu) as watch:
        try:
            ended = runtime.run(
                Launch(
                    spec=replace(spec, limits=limits, sandbox=None),
                    run_dir=folder,
                    program=("-m", "harness.probes.benchmark", kind, f"{seconds:g}", _OUT),
                    label="host probe",
                    stop=launch.stop,
                )
            )
            cause = "" if ended.status is Status.FINISHED else ended.cause or ended.status
        except HostError as error:
            cause = first_line(error)
    found = _read(folder / _OUT, cause)
    shutil.rmtree(folder, ignore_errors=True)
    gpu = watch.said(found if isinstance(found, Benchmark) else None)
    known: dict[str, Any] = {}
    for name in ("matmul_tflop_s", "matvec_gb_s", "copy_gb_s", "cpu_clock_mhz", "other_cores"):
        if isinstance(found, NotSupported):
            known[name] = why.known(name, found)
        else:
            known[name] = getattr(found, name)
            if name in found.absent:
                why[name] = found.absent[name]
    for name, value in gpu.items() if on_gpu else ():
        known[name] = why.known(name, value)
    processors = machine.cpu_model(root)
    device = watch.name or (found.device if isinstance(found, Benchmark) else "")
    return HostProbe(
        when=when,
        at=at,
        device=device or (processors if isinstance(processors, str) else "unknown processor"),
        took_s=seconds,
        threads=found.threads if isinstance(found, Benchmark) else None,
        gpu_throttle=watch.throttle,
        host_temperature_c=why.known("host_temperature_c", hottest_zone_c(root)),
        cores=None if isinstance(count := machine.cores(root), NotSupported) else count,
        absent=dict(why),
        **known,
    )


def _read(path: Path, cause: str) -> Benchmark | NotSupported:
    try:
        return from_json(Benchmark, read_json(read_regular_file(path)))
    except (OSError, ValueError):
        return NotSupported(reason=f"the probe did not end well: {cause or 'it wrote nothing'}")


@record
class _Look:
    """What the driver said at one moment; `at_s` is on the monotonic clock."""

    at_s: float
    clock_mhz: Reading
    power_w: Reading
    temperature_c: Reading
    utilisation_pct: Reading
    throttle: tuple[str, ...] | NotSupported


class _GpuWatch:
    """Looks at the GPU four times a second, in a thread of its own: a driver may hang."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._stop, self._idle = threading.Event(), threading.Event()
        self._looks: list[_Look] = []
        self._idle_until_s = 0.0
        self._processes: Reading = NotSupported(reason="not asked")
        self._refusal = NotSupported(reason="the GPU was not looked at")
        self.name = ""
        self.throttle: tuple[str, ...] = ()
        self.thread = threading.Thread(target=self._follow, name="host-probe", daemon=True)

    def end(self) -> None:
        self._stop.set()
        self.thread.join(_IDLE_S)

    def wait_idle(self) -> None:
        """Wait until what the GPU did before us has been looked at."""
        self._idle.wait(2 * _IDLE_S)
        self._idle_until_s = time.monotonic()

    def _follow(self) -> None:
        with first_gpu(self._api) as gpu:
            if isinstance(gpu, NotSupported):
                self._refusal = gpu
                self._idle.set()
                return
            name = gpu.name()
            self.name = "" if isinstance(name, NotSupported) else name
            self._processes = gpu.num_compute_processes()
            began_s = time.monotonic()
            while not self._stop.is_set():
                self._looks.append(_look(gpu))
                if time.monotonic() - began_s >= _IDLE_S:
                    self._idle.set()
                self._stop.wait(_LOOK_S)

    def said(self, ran: Benchmark | None) -> dict[str, Reading]:
        """Return the fields of a `HostProbe` that the driver knows."""
        busy = [each for each in self._looks if ran is not None and _is_within(each.at_s, ran)]
        idle = [each for each in self._looks if each.at_s < self._idle_until_s]
        held = [each.throttle for each in busy if not isinstance(each.throttle, NotSupported)]
        # what held the clock for a moment only, as a limit of power does, is no state
        names = dict.fromkeys(name for each in held for name in each)
        self.throttle = tuple(
            name for name in names if 2 * sum(name in each for each in held) > len(held)
        )
        return {
            "gpu_clock_mhz": self._of([each.clock_mhz for each in busy], median),
            "gpu_power_w": self._of([each.power_w for each in busy], median),
            "gpu_temperature_c": self._of([each.temperature_c for each in busy], max),
            "gpu_utilisation_before_pct": self._of([each.utilisation_pct for each in idle], min),
            "gpu_processes": self._processes
            if isinstance(self._processes, NotSupported)
            else int(self._processes),
        }

    def _of(self, readings: list[Reading], reduce: Callable[[list[float]], float]) -> Reading:
        known = [each for each in readings if not isinstance(each, NotSupported)]
        refused = [each for each in readings if isinstance(each, NotSupported)]
        return reduce(known) if known else (refused or [self._refusal])[0]


def _is_within(at_s: float, ran: Benchmark) -> bool:
    ramp_s = _RAMP * (ran.matmul_ended_s - ran.began_s)
    return ran.began_s + ramp_s <= at_s <= ran.matmul_ended_s


def _look(gpu: NvmlGpu) -> _Look:
    return _Look(
        at_s=time.monotonic(),
        clock_mhz=gpu.clock_mhz(),
        power_w=gpu.power_w(),
        temperature_c=gpu.temperature_c(),
        utilisation_pct=gpu.utilisation_pct(),
        throttle=gpu.throttle_reasons(),
    )


@contextmanager
def _watched(api: Any, *, on: bool) -> Iterator[_GpuWatch]:
    watch = _GpuWatch(api)
    if not on:
        yield watch
        return
    watch.thread.start()
    watch.wait_idle()
    try:
        yield watch
    finally:
        watch.end()
