"""The nouns of the harness: frozen records that round-trip through JSON, and their ids.

Two ids, both hashes of canonical JSON: `point_id` says *what* was asked (compare it across images
and machines), `run_id` identifies what was *executed*. No path, host name or time goes into an id.
"""

from __future__ import annotations

import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum, StrEnum
from typing import Any, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

# of the records below and of the names of params, metrics and row keys; raised with either
SCHEMA_VERSION = 2

_HINTS: dict[type, dict[str, Any]] = {}

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
        gpus: number of NVIDIA GPUs.
        network: whether the workload may reach the network; it always reaches its own servers.
    """

    stall_s: float = 1800.0
    timeout_s: float = 604_800.0
    memory_gib: float | None = None
    shm_gib: float = 1.0
    gpus: int = 0
    network: bool = False


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
class RunSpec:
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

    @property
    def point_id(self) -> str:
        """Id of the question: scenario, profile, workload and params (12 hex digits)."""
        return digest([self.scenario, self.profile, self.workload, self.params])[:12]

    @property
    def run_id(self) -> str:
        """Id of the run: point, images, source, evidence, seed, replicate, schema (16 hex)."""
        image = self.image.digest if self.image else None
        parts = [self.point_id, image, self.source, self.evidence, self.seed, self.replicate]
        parts.append(self.schema_version)
        if self.sandbox is not None and self.sandbox.image is not None:
            parts.append(self.sandbox.image.digest)
        return digest(parts)[:16]

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
        kind: ``started``, ``measured``, ``step``, ``note``, ``artefact`` or ``finished``.
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
class RunOutcome:
    """How one execution went.

    Attributes:
        cause: for any status but finished, one line saying why.
        log_tail: last lines of standard error, kept for a run that broke.
        device: the device the workload said it computed on.
        runtime: ``local`` or ``docker``.
    """

    status: Status
    runtime: str
    device: str
    usage: Usage
    exit_code: int | None = None
    cause: str = ""
    log_tail: tuple[str, ...] = ()
    started_at: str = ""
    schema_version: int = SCHEMA_VERSION


@record
class FinishedRun:
    """A stored run, as `results` gives it back: right of this, no Docker and no GPU is needed."""

    spec: RunSpec
    outcome: RunOutcome
    measurements: tuple[Measurement, ...]
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
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        message = f"{value} has no JSON form; say why the figure is absent instead"
        raise ValueError(message)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


def from_json(cls: type[T], document: object) -> T:
    """Build the record `cls` from what `to_json` made of it.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    return typing.cast("T", _decode(cls, document, cls.__name__ if is_dataclass(cls) else "value"))


def _decode(kind: Any, value: Any, place: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return value  # what a type variable stands for, the caller decodes
    if origin in (Union, types.UnionType):
        return _decode_union(args, value, place)
    if is_dataclass(kind):
        return _decode_record(typing.cast("type", kind), value, place)
    if origin is tuple:
        _require(isinstance(value, list), place, "a list", value)
        return tuple(_decode(args[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin in (Mapping, dict):
        _require(isinstance(value, dict), place, "an object", value)
        return {key: _decode(args[1], item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        allowed = [each.value for each in kind]
        _require(value in allowed, place, f"one of {', '.join(allowed)}", value)
        return kind(value)
    if kind is float:
        _require(
            isinstance(value, int | float) and not isinstance(value, bool), place, "float", value
        )
        return float(value)
    _require(type(value) is kind, place, kind.__name__, value)
    return value


def _decode_union(options: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in options:
        return None
    plain = [option for option in options if option is not type(None)]
    for option in plain:
        if type(value) is option:
            return value
    for option in plain:
        try:
            return _decode(option, value, place)
        except ValueError:
            continue
    message = f"{place}: {value!r} is not one of {options}"
    raise ValueError(message)


def _decode_record(cls: type, value: Any, place: str) -> Any:
    _require(isinstance(value, dict), place, "an object", value)
    hints = _HINTS.get(cls) or _HINTS.setdefault(cls, get_type_hints(cls))
    known = {f.name for f in fields(cls)}
    if extra := sorted(set(value) - known):
        message = f"{place}: unknown field {extra[0]!r}; known: {', '.join(sorted(known))}"
        raise ValueError(message)
    decoded = {name: _decode(hints[name], item, f"{place}.{name}") for name, item in value.items()}
    try:
        return cls(**decoded)
    except TypeError as error:
        message = f"{place}: {error}"
        raise ValueError(message) from None


def _require(holds: bool, place: str, wanted: str, value: object) -> None:  # noqa: FBT001 - the condition itself
    if not holds:
        message = f"{place}: wanted {wanted}, got {value!r}"
        raise ValueError(message)


def canonical_json(value: object) -> str:
    """Return one spelling of `value`: sorted keys, no spaces, UTF-8 as it is."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """Return the sha256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
