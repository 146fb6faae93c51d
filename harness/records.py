"""The nouns of the harness: frozen records that round-trip through JSON, and their ids.

Two ids, both hashes of canonical JSON: `point_id` says *what* was asked (compare it across images
and machines), `run_id` identifies what was *executed*. No path, host name or time goes into an id.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum, StrEnum
from typing import (
    Any,
    NoReturn,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from harness.reading import shown

# of the records below and of the names of params, metrics and row keys; raised with either
SCHEMA_VERSION = 2

Scalar = str | int | float | bool | None
T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only, slotted dataclass."""
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


class Profile(StrEnum):
    """Where, and at what size, a scenario is asked."""

    SPARK = "spark"  # the article's own experiment, on a DGX Spark
    CUDA = "cuda"  # the same shapes on any one NVIDIA GPU
    CPU = "cpu"  # the same code, small, for real
    EVIDENCE = "evidence"  # the published raw data, recomputed


class Status(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    FAILED = "failed"  # the workload exited with an error
    STALLED = "stalled"  # no sign of life for its stall limit
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"  # the kernel, the container limit or the watchdog ended it
    HOST_FAILED = "host-failed"  # the daemon, the image or a server broke, not the workload
    INTERRUPTED = "interrupted"


class ProbeMoment(StrEnum):
    """When the machine was probed."""

    BEFORE = "before"  # a run
    AFTER = "after"  # a run
    ALONE = "alone"  # without one: `harness doctor --probe`


class VerdictKind(StrEnum):
    """The result of comparing a measurement with its expectation."""

    REPRODUCED = "REPRODUCED"
    OUTSIDE = "OUTSIDE"
    INCONCLUSIVE = "INCONCLUSIVE"  # too few samples, or the interval straddles the bound
    MISSING = "MISSING"  # the metric was not measured
    OTHER_PROFILE = "OTHER PROFILE"  # applies in another profile or on another device only
    ARTICLE_DIFFERS = "ARTICLE DIFFERS"  # the claim differs, as the entry declares
    UNEXPECTED_MATCH = "UNEXPECTED MATCH"  # a declared difference is not there
    RUN_FAILED = "RUN FAILED"  # the run failed, or its figures cannot be used
    HOST_DEGRADED = "HOST DEGRADED"  # a timing of a machine that was not itself
    REPORTED = "REPORTED"  # shown, not counted, cannot fail
    ARITHMETIC = "ARITHMETIC"  # follows from printed numbers alone, without a run


@record
class ImageRef:
    """A locked container image: its name in ``images.lock.yaml`` and what that resolved to."""

    name: str
    digest: str


@record
class Limits:
    """What one run may use.

    Attributes:
        stall_s: end a run after this long without event, line of output or written file, s. A slow
            machine is slow, not broken: this is the limit that ends a run which hangs.
        timeout_s: wall clock, seconds; the far fence behind `stall_s`.
        memory_gib: memory budget, GiB; None for no limit.
        shm_gib: size of ``/dev/shm`` in a container, GiB.
        gpus: number of NVIDIA GPUs, on each node.
        nodes: machines that the engine of the run spreads over; the other limits are of each.
        cores: how many cores it keeps busy; None where nobody has measured. It is not held to
            them: ``--jobs`` counts with them.
        network: whether the workload may reach the network; it always reaches its own servers.
    """

    stall_s: float = 1800.0
    timeout_s: float = 604_800.0
    memory_gib: float | None = None
    shm_gib: float = 1.0
    gpus: int = 0
    nodes: int = 1
    network: bool = False
    cores: int | None = None


class SandboxKind(StrEnum):
    """What isolates the commands that a model writes; see docs/sandbox.md."""

    AUTO = "auto"  # bubblewrap where it works, else containers, else memory where that suffices
    BUBBLEWRAP = "bubblewrap"
    CONTAINERS = "containers"
    MEMORY = "memory"  # no processes: knows a few file commands only


@record
class SandboxSpec:
    """Where a run executes the commands that a model writes.

    Attributes:
        kind: the requested kind.
        memory_suffices: whether the memory sandbox knows every command that this model writes.
        image: the image of `SandboxKind.CONTAINERS`; None where none is locked for this machine.
    """

    kind: SandboxKind
    memory_suffices: bool = False
    image: ImageRef | None = None

    @property
    def may_use_memory(self) -> bool:
        """Whether the run may go on without a sandbox that has processes."""
        is_auto = self.kind is SandboxKind.AUTO and self.memory_suffices
        return is_auto or self.kind is SandboxKind.MEMORY


@record
class Rehearsal:
    """How a run is rehearsed; see docs/rehearsing.md.

    Attributes:
        passes: how many passes of each loop are made, at least.
        dies: whether the run kills itself once, so that the next attempt must go on from there.
    """

    passes: int = 2
    dies: bool = False


class _Ids:
    """Where a spec keeps its ids: each is a hash over all params, asked for again and again."""

    __slots__ = ("_point_id", "_run_id")
    _point_id: str
    _run_id: str


@record
class RunSpec(_Ids):
    """One fully decided run; everything a workload needs to know.

    Attributes:
        scenario: the scenario's id, which is its folder's name.
        params: every parameter of the workload, defaults included.
        axes: the names of the params that the sweep varies, in the order it varies them.
        seed: the seed of this replicate.
        replicate: 0-based.
        image: the container image, or None where the run needs none.
        sandbox: where it executes commands of a model; None where it executes none.
        source: digest of the workload's source code.
        evidence: published file (relative path) -> sha256 of its contents.
        ledger: expectation -> fingerprint, as the ledger stood when the run was decided. It
            decides nothing of the run, and is in neither of its ids.
        position: its turn among the runs of its plan, from 1 (`harness.plan.order`); None where
            nobody wrote it down. It decides nothing of the run: it is in neither of its ids, and
            two specs that differ only in it are equal.
        rehearsal: how it is rehearsed; None for a run, which makes every pass. That it dies is in
            no id, so that the next attempt is one at the same run.
    """

    scenario: str
    profile: Profile
    workload: str
    params: Mapping[str, Any]
    axes: tuple[str, ...] = ()
    seed: int = 0
    replicate: int = 0
    image: ImageRef | None = None
    sandbox: SandboxSpec | None = None
    source: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)
    ledger: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    schema_version: int = SCHEMA_VERSION
    position: int | None = field(default=None, compare=False)
    rehearsal: Rehearsal | None = None

    @property
    def point_id(self) -> str:
        """Id of the question: scenario, profile, workload and params (12 hex digits)."""
        try:
            return self._point_id
        except AttributeError:
            point_id = digest([self.scenario, self.profile, self.workload, self.params])[:12]
            object.__setattr__(self, "_point_id", point_id)
            return point_id

    @property
    def run_id(self) -> str:
        """Id of the run: point, images, source, evidence, seed, replicate, schema (16 hex)."""
        try:
            return self._run_id
        except AttributeError:
            pass
        image = self.image.digest if self.image else None
        parts = [self.point_id, image, self.source, self.evidence, self.seed, self.replicate]
        parts.append(self.schema_version)
        if self.sandbox is not None and self.sandbox.image is not None:
            parts.append(self.sandbox.image.digest)
        if self.rehearsal is not None:
            parts.append(f"rehearsal of {self.rehearsal.passes} passes")
        run_id = digest(parts)[:16]
        object.__setattr__(self, "_run_id", run_id)
        return run_id

    @property
    def cell(self) -> dict[str, Any]:
        """The swept params and their values here."""
        return {axis: self.params[axis] for axis in self.axes}

    @property
    def label(self) -> str:
        """A short name for people: the swept values, and the replicate where there are several."""
        parts = [f"{axis}={value}" for axis, value in self.cell.items()]
        return " ".join([*parts, f"replicate={self.replicate}"] if self.replicate else parts) or "-"


@record
class Event:
    """One fact that a workload wrote.

    Attributes:
        kind: ``started``, ``measured``, ``step``, ``note``, ``artefact``, ``begun``, ``stored`` or
            ``finished``.
        at_s: seconds since the workload started.
        payload: the fields of this kind (see `harness.workloads.api.emit`).
    """

    kind: str
    at_s: float
    payload: Mapping[str, Any]


@record
class Measurement:
    """A named number with its unit.

    Attributes:
        metric: a name the workload declares.
        value: a finite number, text or flag; None where it could not be measured.
        unit: a unit of `harness.units`.
        where: what distinguishes it from others of the same metric in this run,
            e.g. ``{"checkpoint": 50}``.
        count: how many samples it covers.
        absent: why `value` is None (``nan``, ``out of memory``, ``not supported``).
    """

    metric: str
    value: Scalar
    unit: str
    where: Mapping[str, Scalar] = field(default_factory=dict)
    count: int = 1
    absent: str = ""


@record
class Usage:
    """What the operating system says a run used; None where it does not say."""

    wall_s: float
    cpu_s: float | None = None
    max_rss_gib: float | None = None


@record
class StepTaken:
    """A step of a run: one of its expensive parts, which is kept and can be taken again.

    Attributes:
        name: as the workload calls it.
        key: its address in the store of finished steps.
        made_by: the run that made it (scenario, profile, id); empty for this one.
        made_now: by the attempt that tells of it.
        across_changes: other code than the present made it, and the user asked to go on with it.
        wall_s: what making it took, seconds.
    """

    name: str
    key: str
    made_by: str = ""
    made_now: bool = True
    across_changes: bool = False
    wall_s: float = 0.0


@record
class Segment:
    """One attempt at a run; a run that was ended half-way has several.

    Attributes:
        began: UTC.
        ended: UTC; of one that nobody could end properly, the last sign of life.
        boot_id: of the machine, so that a restart between two segments can be seen.
        cause: why it ended; empty for the one that finished the run.
        steps: how many steps it finished.
        wall_s: how long it was at work, seconds.
        shared_with: how many other runs of this harness may have been at work meanwhile.
        node: of a cluster, that it was at work on; empty for the machine of the harness.
    """

    began: str
    ended: str
    boot_id: str
    cause: str = ""
    steps: int = 0
    wall_s: float = 0.0
    shared_with: int = 0
    node: str = ""


@record
class HostProbe:
    """What the machine could do when nothing of ours was at work on it; see docs/machine-state.md.

    A figure is None where it could not be measured, with the reason in `absent`.

    Attributes:
        when: before or after a run.
        at: UTC, when it began.
        device: the exact name of the GPU, else of the processor.
        took_s: the time that the products and the copy were given, seconds.
        threads: of the processor that computed; None on a GPU.
        matmul_tflop_s: rate of a product of two square matrices (bf16 on a GPU, else fp32).
        matvec_gb_s: rate at which a product of a matrix and a vector reads the matrix; it is bound
            by memory, as decoding is.
        copy_gb_s: rate of a copy within memory, bytes read and written together.
        gpu_clock_mhz: clock of the multiprocessors, median during the matrix product.
        gpu_power_w: power of the GPU, median during the matrix product.
        gpu_temperature_c: of the GPU, the highest during the matrix product.
        gpu_utilisation_before_pct: share of the time in which a kernel ran before ours did.
        gpu_processes: how many other processes compute on the GPU.
        gpu_throttle: reasons that the driver gave for a lowered clock during the matrix product.
        cpu_clock_mhz: clock of the fastest core, the highest that was seen.
        host_temperature_c: the hottest thermal zone.
        other_cores: how many cores the processes of others kept busy meanwhile.
        cores: how many the machine has.
        absent: field -> why it is None.
    """

    when: ProbeMoment
    at: str
    device: str
    took_s: float
    threads: int | None = None
    matmul_tflop_s: float | None = None
    matvec_gb_s: float | None = None
    copy_gb_s: float | None = None
    gpu_clock_mhz: float | None = None
    gpu_power_w: float | None = None
    gpu_temperature_c: float | None = None
    gpu_utilisation_before_pct: float | None = None
    gpu_processes: int | None = None
    gpu_throttle: tuple[str, ...] = ()
    cpu_clock_mhz: float | None = None
    host_temperature_c: float | None = None
    other_cores: float | None = None
    cores: int | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


# figure of a `HostProbe` -> its unit
PROBE_UNITS: Mapping[str, str] = {
    "matmul_tflop_s": "TFLOP/s",
    "matvec_gb_s": "GB/s",
    "copy_gb_s": "GB/s",
    "gpu_clock_mhz": "MHz",
    "gpu_power_w": "W",
    "gpu_temperature_c": "degC",
    "gpu_utilisation_before_pct": "%",
    "gpu_processes": "count",
    "cpu_clock_mhz": "MHz",
    "host_temperature_c": "degC",
    "other_cores": "count",
}


@record
class HostLog:
    """What is known of the machine that a run had.

    Attributes:
        probes: in the order of time, of all segments.
        skipped: why the machine was not probed; empty where it was.
        gpu_temperature_c: at the start of the run, by its telemetry; None where it does not say.
        gpu_clock_mhz: likewise.
        host_temperature_c: likewise, of the hottest thermal zone.
    """

    probes: tuple[HostProbe, ...] = ()
    skipped: str = ""
    gpu_temperature_c: float | None = None
    gpu_clock_mhz: float | None = None
    host_temperature_c: float | None = None


@record
class RunOutcome:
    """How one execution went.

    Attributes:
        cause: for any status but finished, one line saying why.
        log_tail: last lines of standard error, kept for a run that broke.
        device: the device the workload said it computed on.
        runtime: ``local`` or ``docker``.
        usage: of all segments together.
        segments: the attempts that it took, in their order, without those that left nothing to go
            on from; the last one is that of this outcome.
        steps: made or taken.
        shared_with: the most other runs that this harness had under way meanwhile, in any segment.
        host: the machine meanwhile; None for a run that an older harness stored.
        node: of a cluster, that the last segment was at work on; empty for the harness's machine.
    """

    status: Status
    runtime: str
    device: str
    usage: Usage
    exit_code: int | None = None
    cause: str = ""
    log_tail: tuple[str, ...] = ()
    started_at: str = ""
    segments: tuple[Segment, ...] = ()
    steps: tuple[StepTaken, ...] = ()
    schema_version: int = SCHEMA_VERSION
    shared_with: int = 0
    host: HostLog | None = None
    node: str = ""


@record
class FinishedRun:
    """A stored run, as `results` gives it back: right of this, no Docker and no GPU is needed."""

    spec: RunSpec
    outcome: RunOutcome
    measurements: Sequence[Measurement]
    environment: Mapping[str, Any] = field(default_factory=dict)


@record
class Verdict:
    """The comparison of one expectation with the measurements.

    Attributes:
        expectation: its id in expectations.yaml.
        kind: the verdict.
        metric: the metric's name.
        where: which cell or row.
        expected: the figure and tolerance, formatted with unit.
        measured: the measured value, formatted with unit; empty if there is none.
        detail: why, in one line; for INCONCLUSIVE the effect that could have been seen.
        sees: the smallest effect that the comparison would have seen with power 0.8, formatted;
            empty where it has seen one, or compared nothing.
        changed: the expectation was changed, written or removed after the results that it judges.
        claim: the printed claim against the ledger's own truth; None: no claim or no truth.
        claim_detail: the disagreement, in one line.
    """

    expectation: str
    kind: VerdictKind
    metric: str
    where: Mapping[str, Scalar] = field(default_factory=dict)
    expected: str = ""
    measured: str = ""
    detail: str = ""
    sees: str = ""
    changed: bool = False
    claim: VerdictKind | None = None
    claim_detail: str = ""


# --- JSON ---------------------------------------------------------------------------------------


def to_json(value: object) -> Any:
    """Return `value` as plain JSON types; records become objects, enums their values.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a type that JSON has no form for.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # nearly everything
        return value
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if kind is dict or isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in typing.cast("Any", value).items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        message = f"{value} has no JSON form; say why the figure is absent instead"
        raise ValueError(message)
    if isinstance(value, str | int | float | bool):
        return value
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


class _Misfit(Exception):  # noqa: N818 - `from_json` makes a ValueError of it
    """A value that is not of the declared type; every level it leaves puts its name in front."""

    place = ""


def from_json(cls: type[T], document: object) -> T:
    """Build the record `cls` from what `to_json` made of it.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    try:
        return typing.cast("T", _decoder(typing.cast("Any", cls))(document))
    except _Misfit as misfit:
        root = cls.__name__ if is_dataclass(cls) else "value"
        message = f"{root}{misfit.place}: {misfit}"
        raise ValueError(message) from None


_Decode = Callable[[Any], Any]


@functools.cache
def _decoder(kind: Any) -> _Decode:
    """Return what turns JSON into `kind`: a type is looked at once, not for every value."""
    origin, args = get_origin(kind), get_args(kind)
    if kind in (Any, object) or isinstance(kind, TypeVar):
        return lambda value: value  # what a type variable stands for, the caller decodes
    if origin in (Union, types.UnionType):
        return _union_decoder(args)
    if is_dataclass(kind):
        return _record_decoder(typing.cast("type", kind))
    if origin in (tuple, Sequence):
        return _tuple_decoder(_decoder(args[0]))
    if origin in (Mapping, dict):
        return _mapping_decoder(_decoder(args[1]))
    return _scalar_decoder(kind)


def _scalar_decoder(kind: type) -> _Decode:
    if issubclass(kind, Enum):
        allowed = [each.value for each in kind]
        return lambda value: (
            kind(value) if value in allowed else _refuse(f"one of {', '.join(allowed)}", value)
        )
    if kind is float:
        return lambda value: float(value) if _is_finite(value) else _refuse("float", value)
    return lambda value: value if type(value) is kind else _refuse(kind.__name__, value)


def _is_finite(value: Any) -> bool:
    return type(value) in (float, int) and abs(value) <= sys.float_info.max


def _refuse(wanted: str, value: object) -> NoReturn:
    message = f"wanted {wanted}, got {shown(value)}"
    raise _Misfit(message)


def _tuple_decoder(item_of: _Decode) -> _Decode:
    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            _refuse("a list", value)
        decoded: list[Any] = []
        try:
            for item in value:
                decoded.append(item_of(item))  # noqa: PERF401 - its length says where it went wrong
        except _Misfit as misfit:
            misfit.place = f"[{len(decoded)}]" + misfit.place
            raise
        return tuple(decoded)

    return decode


def _mapping_decoder(item_of: _Decode) -> _Decode:
    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            _refuse("an object", value)
        decoded = {}
        for key, item in value.items():
            try:
                decoded[key] = item_of(item)
            except _Misfit as misfit:
                misfit.place = f".{key}" + misfit.place
                raise
        return decoded

    return decode


def _union_decoder(options: tuple[Any, ...]) -> _Decode:
    plain = [option for option in options if option is not type(None)]
    is_optional = len(plain) < len(options)
    decoders = [_decoder(option) for option in plain]

    def decode(value: Any) -> Any:
        if (value is None and is_optional) or type(value) in plain:
            return value
        for each in decoders:
            try:
                return each(value)
            except _Misfit:
                continue
        message = f"{shown(value)} is not one of {options}"
        raise _Misfit(message)

    return decode


def _record_decoder(cls: type) -> _Decode:
    decoders: dict[str, _Decode] = {}  # filled when first used: a record may hold its own kind

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            _refuse("an object", value)
        if not decoders:
            hints = get_type_hints(cls)
            decoders.update((f.name, _decoder(hints[f.name])) for f in fields(cls))
        if not value.keys() <= decoders.keys():
            extra, known = min(set(value) - set(decoders)), ", ".join(sorted(decoders))
            message = f"unknown field {shown(extra)}; known: {known}"
            raise _Misfit(message)
        decoded = {}
        for name, item in value.items():
            try:
                decoded[name] = decoders[name](item)
            except _Misfit as misfit:
                misfit.place = f".{name}" + misfit.place
                raise
        try:
            return cls(**decoded)
        except TypeError as error:
            raise _Misfit(str(error)) from None

    return decode


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(value: object) -> str:
    """Return one spelling of `value`: sorted keys, no spaces, UTF-8 as it is."""
    return _CANONICAL.encode(to_json(value))


def digest(value: object) -> str:
    """Return the sha256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
