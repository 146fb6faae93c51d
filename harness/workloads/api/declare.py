"""How a workload declares itself: its parameters, its metrics and where its code is.

Declarations load no torch and no pydantic, so that planning and checking stay quick. A parameter
record is a frozen dataclass whose fields carry their documentation and their allowed values::

    @record
    class EnvelopeParams:
        num_layers: int = param(24, doc="transformer layers", low=1)
        precision: str = param("bf16", doc="arithmetic of the matmuls", choices=("bf16", "fp8"))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, field
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from harness.errors import Problem, nearest
from harness.records import SandboxSpec, record
from harness.units import UNITS


class Better(StrEnum):
    """Which direction is an improvement."""

    HIGHER = "higher"
    LOWER = "lower"


@record
class Metric:
    """A number that a workload can report.

    Attributes:
        name: dotted, from the general to the particular: ``step_time.mean``.
        unit: a unit of `harness.units`.
        doc: what it is and how it is measured, in one line.
        better: the direction of improvement; None where neither is.
        timing: it depends on the clock or the machine's load, so two runs of one spec may differ.
        resolution: its smallest step; a tolerance is never smaller.
        is_loss: it counts what a run had to leave out of its other figures, so those of two runs
            are compared only where both left out as much.
        flop: of a throughput, ``module:function`` from the params of a run to the floating-point
            operations that one unit of it takes; tables then show how much of the machine's rate of
            matrix products it is. It must import without torch.
    """

    name: str
    unit: str
    doc: str
    better: Better | None = None
    timing: bool = False
    resolution: float | None = None
    is_loss: bool = False
    flop: str = ""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            message = f"metric {self.name}: unit {self.unit!r} is not in harness.units"
            raise ValueError(message)


@record
class Law:
    """A formula that a workload's figures follow, whatever the size of the run.

    Attributes:
        name: as a ledger asks for it.
        doc: what is expected, in words; ``{name}`` is replaced by a param of the law.
        params: the frozen dataclass of what a ledger may tell it.
        unit: of what the formula gives.
        formula: ``module:function`` from such a record and the keys of a row (the params of its run
            and its row keys) to the figure. It must import without torch, and raises ValueError
            where the keys describe nothing that it is about.
    """

    name: str
    doc: str
    params: type
    unit: str
    formula: str


@record
class ServiceParams:
    """The params by which a workload asks a model that somebody else serves.

    Attributes:
        role: what the run wants of it, e.g. ``proposer``.
        address: the param with the server's address.
        model: the param with the model's name there.
        is_asked: given all params, whether a run asks that server.
    """

    role: str
    address: str
    model: str
    is_asked: Callable[[Any], bool]


@record
class StepMemory:
    """What one step of a run holds at its worst moment, GiB; the parts add up.

    Attributes:
        step: its name.
        weights_gib: of the model that answers.
        kv_cache_gib: keys and values of that model's replies.
        trainer_gib: weights, adapters, optimizer states and activations of the model that learns.
        workspace_gib: what frameworks take beside that on a GPU: contexts, graphs, gaps.
        processes_gib: what programs take of the processors' memory.
        beside_gib: what the run is told that another server takes, such as a retriever's index.
    """

    step: str
    weights_gib: float = 0.0
    kv_cache_gib: float = 0.0
    trainer_gib: float = 0.0
    workspace_gib: float = 0.0
    processes_gib: float = 0.0
    beside_gib: float = 0.0

    @property
    def gpu_gib(self) -> float:
        """What it takes of a GPU that has a memory of its own."""
        return self.weights_gib + self.kv_cache_gib + self.trainer_gib + self.workspace_gib

    @property
    def total_gib(self) -> float:
        """What it takes of one memory."""
        return self.gpu_gib + self.processes_gib + self.beside_gib

    def __str__(self) -> str:
        parts = (
            ("weights", self.weights_gib),
            ("cache", self.kv_cache_gib),
            ("trainer", self.trainer_gib),
            ("workspace", self.workspace_gib),
            ("processes", self.processes_gib),
            ("other servers", self.beside_gib),
        )
        listed = ", ".join(f"{name} {size:.1f}" for name, size in parts if size)
        return f"{self.step} {self.total_gib:.1f} GiB ({listed})"


@record
class Workload:
    """A program that turns a spec into events.

    Attributes:
        name: ``group.program``, e.g. ``pretrain.envelope``.
        doc: what it does, in one line.
        params: the frozen dataclass of its parameters.
        metrics: everything it, or the derivation for it, can report.
        entry: ``module:function``; the function takes one `harness.workloads.api.context.Context`.
        derivation: ``module:function`` turning step events into measurements, or empty where the
            workload reports every figure itself. It must import without torch.
        requires: distributions that must be installed where it runs.
        sandbox: of a workload that executes commands of a model: given its params, where. None for
            any other.
        laws: the formulas that its figures follow; a ledger may ask whether they do.
        services: the model servers that its runs may ask and do not start.
        memory: given all params, what each step takes; none where that is not known.
    """

    name: str
    doc: str
    params: type
    metrics: tuple[Metric, ...]
    entry: str
    derivation: str = ""
    requires: tuple[str, ...] = ()
    sandbox: Callable[[Any], SandboxSpec] | None = None
    laws: tuple[Law, ...] = ()
    services: tuple[ServiceParams, ...] = ()
    memory: Callable[[Any], tuple[StepMemory, ...]] | None = None


def param(
    default: Any = MISSING,
    *,
    doc: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
) -> Any:
    """Declare one parameter: its default (none means it must be given) and what it allows."""
    facts = {"doc": doc, "unit": unit, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=facts)


def override(params: type, name: str, default: Any, *, doc: str = "") -> Any:
    """Declare a parameter of a base again, with another default and, where given, meaning."""
    declared = next(each for each in dataclasses.fields(params) if each.name == name)
    return field(default=default, metadata=declared.metadata | ({"doc": doc} if doc else {}))


@cache
def fields_of(params: type) -> Mapping[str, tuple[Any, dataclasses.Field[Any]]]:
    """Return name -> (type, field) of a parameter record."""
    hints = get_type_hints(params)
    return {f.name: (hints[f.name], f) for f in dataclasses.fields(params)}


def defaults_of(params: type) -> dict[str, Any]:
    """Return the parameters that have a default, as JSON types."""
    return {
        name: list(f.default) if isinstance(f.default, tuple) else f.default
        for name, (_, f) in fields_of(params).items()
        if f.default is not MISSING
    }


def problems_of(params: type, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every mistake in `values`: unknown, missing, of another type, not allowed.

    Each problem's `key` is the parameter's name; the caller adds file, line and column.
    """
    known = fields_of(params)
    for name in values:
        if name not in known:
            yield Problem(
                message="unknown parameter",
                key=name,
                value=repr(values[name]),
                allowed=", ".join(known),
                nearest=nearest(name, known),
            )
    for name, (kind, declared) in known.items():
        if name in values:
            yield from _value_problems(name, kind, declared.metadata, values[name])
        elif declared.default is MISSING:
            doc = declared.metadata["doc"]
            yield Problem(message="parameter is required", key=name, allowed=doc)


def build(params: type, values: Mapping[str, Any]) -> Any:
    """Return the parameter record; `values` must have no problems.

    Raises:
        ValueError: the first problem, if there is one.
    """
    for problem in problems_of(params, values):
        raise ValueError(str(problem))
    known = fields_of(params)
    return params(**{name: _coerce(known[name][0], value) for name, value in values.items()})


def _value_problems(
    name: str, kind: Any, facts: Mapping[str, Any], value: Any
) -> Iterator[Problem]:
    if not _fits(kind, value):
        yield Problem(message="wrong type", key=name, value=repr(value), allowed=_type_name(kind))
        return
    for item in value if get_origin(kind) is tuple else (value,):
        yield from _range_problems(name, facts, item)


def _range_problems(name: str, facts: Mapping[str, Any], value: Any) -> Iterator[Problem]:
    choices, low, high = facts["choices"], facts["low"], facts["high"]
    if choices and value not in choices:
        yield Problem(
            message="not an allowed value",
            key=name,
            value=repr(value),
            allowed=", ".join(str(choice) for choice in choices),
            nearest=nearest(value, [str(choice) for choice in choices]),
        )
    if value is None or isinstance(value, str | bool):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = ("" if low is None else f"{low:g} <= ") + "value"
        bounds += "" if high is None else f" <= {high:g}"
        yield Problem(message="out of range", key=name, value=repr(value), allowed=bounds)


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(get_args(kind)[0], v) for v in value)
    if get_origin(kind) is Mapping:
        held = get_args(kind)[1]
        return isinstance(value, Mapping) and all(_fits(held, v) for v in value.values())
    if options := get_args(kind):
        return any(_fits(option, value) for option in options)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    if kind is type(None):
        return value is None
    return type(value) is kind


def _coerce(kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        return tuple(_coerce(get_args(kind)[0], item) for item in value)
    return float(value) if kind is float else value


_IN_WORDS = {
    float: "a number",
    int: "a whole number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def _type_name(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list of {_type_name(get_args(kind)[0])}"
    if get_origin(kind) is Mapping:
        return f"a mapping to {_type_name(get_args(kind)[1])}"
    if options := get_args(kind):
        return " or ".join(_type_name(option) for option in options)
    return _IN_WORDS.get(kind) or str(kind.__name__)
