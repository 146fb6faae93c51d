"""What the shape alone does not show: names, units, ranges and cells that do not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.errors import Problem, nearest
from harness.records import Profile
from harness.scenario.cells import MAX_RUNS, cells_of, matches, num_cells
from harness.scenario.expectations import ArithmeticEntry, Expectation, LawEntry, RatioEntry
from harness.scenario.formula import evaluate
from harness.scenario.headline import headline_problems
from harness.scenario.positions import Document, Key
from harness.scenario.schema import PackageSet, ProfileModel, Scenario, Sweep
from harness.scenario.sections import values_of
from harness.scenario.services import service_problems
from harness.units import UNITS, same_dimension
from harness.workloads.api.declare import Better, Metric, Workload, fields_of, problems_of
from harness.workloads.api.registry import DECLARED_IN, workload
from harness.workloads.api.run_metrics import RUN_METRICS

_MISFIT = "unit does not fit the metric"

# what an environment has beside the packages of base.txt
PROVIDES: Mapping[PackageSet, frozenset[str]] = {
    PackageSet.BASE: frozenset(),
    PackageSet.TORCH: frozenset({"torch"}),
    PackageSet.MEGATRON: frozenset({"torch", "megatron-core"}),
    PackageSet.NEMO: frozenset({"torch", "nemo_toolkit"}),
    PackageSet.RL: frozenset({"torch", "transformers", "peft", "bm25s"}),
}


def scenario_problems(scenario: Scenario, document: Document) -> Iterator[Problem]:
    """Yield every mistake of a scenario whose shape is right."""
    folder = document.path.parent.name
    if scenario.scenario != folder:
        yield document.problem(
            ("scenario",),
            "the id must be the folder's name",
            value=repr(scenario.scenario),
            allowed=folder,
        )
    yield from _workload_name_problems(document, ("workload",), scenario.workload)
    seen: set[str] = set()
    for index, name in _evidence_names(document).items():
        if name in seen:
            at: Key = ("evidence", index, "file")
            yield document.problem(at, "evidence file is listed twice", value=repr(name))
        seen.add(name)
    base = _known_workload(scenario.workload)
    if base is not None:
        yield from _params_problems(document, ("params",), base, scenario.params)
        yield from _sweep_problems(document, ("sweep",), base, scenario.sweep)
    for profile, model in scenario.profiles.items():
        yield from _profile_problems(scenario, document, profile, model)
    yield from _environment_problems(scenario, document)
    yield from _report_problems(scenario, document)
    yield from headline_problems(scenario, document, metrics_of(scenario))


def _profile_problems(
    scenario: Scenario, document: Document, profile: Profile, model: ProfileModel
) -> Iterator[Problem]:
    key: Key = ("profiles", profile.value)
    if model.workload is not None:
        yield from _workload_name_problems(document, (*key, "workload"), model.workload)
    declared = _known_workload(model.workload or scenario.workload)
    if declared is None:
        return
    yield from _params_problems(document, (*key, "params"), declared, model.params)
    if model.sweep is not None:
        yield from _sweep_problems(document, (*key, "sweep"), declared, model.sweep)
    sweep = scenario.sweep_of(profile)
    for name in sorted({*sweep.product, *sweep.zip} & set(model.params)):
        yield document.problem(
            (*key, "params", name),
            "is swept, so this value is never used",
            value=repr(model.params[name]),
            allowed="a sweep of the profile's own without this axis",
        )
    yield from service_problems(scenario, document, profile, declared)
    known = list(dict.fromkeys(_evidence_names(document).values()))
    for index, name in enumerate(model.uses):
        if name not in known:
            yield document.problem(
                (*key, "uses", index),
                "unknown evidence file",
                value=repr(name),
                allowed=", ".join(known) or "none",
                nearest=nearest(name, known),
            )


def _workload_name_problems(document: Document, key: Key, name: str) -> Iterator[Problem]:
    if name not in DECLARED_IN:
        yield document.problem(
            key,
            "unknown workload",
            value=repr(name),
            allowed=", ".join(sorted(DECLARED_IN)),
            nearest=nearest(name, DECLARED_IN),
        )


def _known_workload(name: str) -> Workload | None:
    return workload(name) if name in DECLARED_IN else None


def _params_problems(
    document: Document, key: Key, declared: Workload, values: Mapping[str, Any]
) -> Iterator[Problem]:
    for problem in problems_of(declared.params, values):
        if problem.message == "parameter is required":
            continue  # a profile or a sweep may give it; the plan sees the whole
        yield placed(document, (*key, problem.key), problem)


def _sweep_problems(
    document: Document, key: Key, declared: Workload, sweep: Sweep
) -> Iterator[Problem]:
    problems = [*_axes_problems(document, key, declared, sweep)]
    yield from problems or _cells_problems(document, key, sweep)


def _cells_problems(document: Document, key: Key, sweep: Sweep) -> Iterator[Problem]:
    """Yield what only the cells show, of a sweep whose axes are right."""
    if num_cells(sweep) > MAX_RUNS:
        size = f"{num_cells(sweep)} cells"
        yield document.problem(key, "sweep is too large", value=size, allowed=str(MAX_RUNS))
        return
    cells = [*cells_of(sweep)]
    for index, rule in enumerate(sweep.exclude):
        if not any(matches(cell, rule) for cell in cells):
            yield document.problem((*key, "exclude", index), "leaves out no cell of the sweep")
    if all(any(matches(cell, rule) for rule in sweep.exclude) for cell in cells):
        yield document.problem((*key, "exclude"), "every cell of the sweep is left out")


def _axes_problems(
    document: Document, key: Key, declared: Workload, sweep: Sweep
) -> Iterator[Problem]:
    for form, axes in (("product", sweep.product), ("zip", sweep.zip)):
        for axis, values in axes.items():
            yield from _axis_problems(document, (*key, form, axis), declared, values)
    for axis in sorted(set(sweep.product) & set(sweep.zip)):
        yield document.problem((*key, "zip", axis), "axis is in both product and zip")
    if len({len(values) for values in sweep.zip.values()}) > 1:
        lengths = ", ".join(f"{axis}: {len(values)}" for axis, values in sweep.zip.items())
        yield document.problem((*key, "zip"), "zip axes must be of one length", value=lengths)
    swept = {**sweep.zip, **sweep.product}
    for index, rule in enumerate(sweep.exclude):
        for axis, value in rule.items():
            at = (*key, "exclude", index, axis)
            if axis not in swept:
                yield document.problem(
                    at,
                    "is not an axis of this sweep",
                    value=repr(axis),
                    allowed=", ".join(swept) or "none",
                    nearest=nearest(axis, swept),
                )
            elif value not in swept[axis]:
                yield document.problem(
                    at,
                    "excludes a value the axis does not take",
                    value=repr(value),
                    allowed=", ".join(repr(each) for each in swept[axis]),
                )


def _axis_problems(
    document: Document, key: Key, declared: Workload, values: list[Any]
) -> Iterator[Problem]:
    axis = str(key[-1])
    if axis not in fields_of(declared.params):
        for problem in problems_of(declared.params, {axis: values}):
            if problem.message == "unknown parameter":
                yield placed(document, key, problem)
        return
    seen: list[Any] = []
    for index, value in enumerate(values):
        at = (*key, index)
        # 1 and 1.0 are one point; True is none of them, and refused elsewhere
        if any(
            value == each and isinstance(value, bool) == isinstance(each, bool) for each in seen
        ):
            yield document.problem(at, "value occurs twice on this axis", value=repr(value))
        seen.append(value)
        for problem in problems_of(declared.params, {axis: value}):
            if problem.key == axis:
                yield placed(document, at, problem)


def _environment_problems(scenario: Scenario, document: Document) -> Iterator[Problem]:
    """Yield the problem of a workload whose packages the scenario's environment lacks.

    A `spark` profile that names an image runs in no environment, but in that image alone.
    """
    names = {
        scenario.workload_of(profile)
        for profile, model in scenario.profiles.items()
        if profile is not Profile.SPARK or model.image is None
    }
    known = [each for name in sorted(names) if (each := _known_workload(name)) is not None]
    needed_by = {package: each.name for each in known for package in each.requires}
    if lacking := sorted(set(needed_by) - PROVIDES[scenario.environment]):
        enough = [name.value for name, has in PROVIDES.items() if has >= set(needed_by)]
        yield document.problem(
            ("environment",),
            f"{needed_by[lacking[0]]} needs {', '.join(lacking)}",
            value=scenario.environment.value,
            allowed=", ".join(enough),
        )


def _evidence_names(document: Document) -> dict[int, str]:
    """Return place -> file as written, so that one that is mistaken is not also unknown."""
    listed = document.value.get("evidence")
    entries = enumerate(listed if isinstance(listed, list) else [])
    return {
        i: str(each["file"]) for i, each in entries if isinstance(each, dict) and "file" in each
    }


def _report_problems(scenario: Scenario, document: Document) -> Iterator[Problem]:
    known = metrics_of(scenario)
    named: list[tuple[Key, str]] = [
        (("report", "metrics", i), name) for i, name in enumerate(scenario.report.metrics)
    ]
    named += [(("report", "plots", i, "y"), plot.y) for i, plot in enumerate(scenario.report.plots)]
    score = scenario.report.lineage
    if score is not None:
        named.append((("report", "lineage"), score))
    for key, name in named:
        if known and name not in known:
            yield _unknown_metric(document, key, name, known)
    # the metrics of its workloads of which more is better
    rising = {metric.name for metric in _declared(scenario) if metric.better is Better.HIGHER}
    if score in known and score not in rising:
        message = "not a metric of which more is better"
        yield document.problem(("report", "lineage"), message, value=repr(score))


def placed(document: Document, key: Key, problem: Problem) -> Problem:
    """Return `problem` with the place of `key` in `document`."""
    return document.problem(
        key,
        problem.message,
        value=problem.value,
        allowed=problem.allowed,
        nearest=problem.nearest,
    )


def metrics_of(scenario: Scenario) -> dict[str, str]:
    """Return metric -> unit, over all workloads of a scenario, and what every run has."""
    return {metric.name: metric.unit for metric in (*_declared(scenario), *RUN_METRICS)}


def _declared(scenario: Scenario) -> list[Metric]:
    names = {scenario.workload_of(profile) for profile in scenario.profiles}
    known = [each for name in sorted(names) if (each := _known_workload(name)) is not None]
    return [metric for each in known for metric in each.metrics]


def ledger_problems(
    scenario: Scenario, entries: Iterable[tuple[int, Expectation]], document: Document
) -> Iterator[Problem]:
    """Yield every mistake of the ledger entries (index in the file, entry) of a scenario."""
    if document.value.get("scenario", scenario.scenario) != scenario.scenario:
        yield document.problem(
            ("scenario",),
            "the ledger is of another scenario",
            value=repr(document.value.get("scenario")),
            allowed=scenario.scenario,
        )
    table = document.value.get("given")
    for name, row in table.items() if isinstance(table, dict) else ():
        unit = row.get("unit") if isinstance(row, dict) else None
        if isinstance(unit, str) and unit not in UNITS:
            facts = {"value": repr(unit), "nearest": nearest(unit, UNITS)}
            yield document.problem(("given", name, "unit"), "unknown unit", **facts)
    units = metrics_of(scenario)
    for index, raw in enumerate(document.value["expectations"]):
        # the metric of a formula may be a name of its own, with its unit; else it is a slip
        if "formula" in raw and "unit" not in raw:
            problem = _unknown_metric(
                document, ("expectations", index, "metric"), str(raw.get("metric")), units
            )
            if problem.nearest:
                yield problem
    first: dict[str, int] = {}
    for index, entry in entries:
        key: Key = ("expectations", index)
        if entry.id in first:
            line, _ = document.place(("expectations", first[entry.id], "id")) or (1, 1)
            yield document.problem((*key, "id"), f"duplicate id, first on line {line}")
        first.setdefault(entry.id, index)
        yield from _entry_problems(scenario, entry, document, key, units)


def _entry_problems(
    scenario: Scenario,
    entry: Expectation,
    document: Document,
    key: Key,
    units: Mapping[str, str],
) -> Iterator[Problem]:
    if isinstance(entry, ArithmeticEntry):  # its metric is a name; no workload need declare it
        given = values_of(document.value.get("given"))
        try:
            evaluate(entry.formula, given)
        except ValueError as error:
            allowed = ", ".join(given) or "no names: the file has no given table"
            yield document.problem(
                (*key, "formula"), str(error), value=repr(entry.formula), allowed=allowed
            )
    else:
        yield from _metric_problems(document, (*key, "metric"), entry.metric, units)
    if entry.unit not in UNITS:
        yield document.problem(
            (*key, "unit"),
            "unknown unit",
            value=repr(entry.unit),
            nearest=nearest(entry.unit, UNITS),
        )
    elif entry.metric in units and not isinstance(entry, LawEntry):  # a law states its own relation
        unit = "x" if isinstance(entry, RatioEntry) else units[entry.metric]
        if not same_dimension(entry.unit, unit):
            yield document.problem(
                (*key, "unit"),
                "unit does not fit the ratio" if isinstance(entry, RatioEntry) else _MISFIT,
                value=entry.unit,
                allowed=f"{unit} or another unit of the same kind",
            )
    for index, profile in enumerate(entry.binds.profile):
        if profile not in scenario.profiles:
            yield document.problem(
                (*key, "binds", "profile", index),
                "the scenario has no such profile",
                value=repr(profile.value),
                allowed=", ".join(scenario.profiles),
            )
    other = getattr(entry.expect, "to", None) or getattr(entry.expect, "than", None)
    if other is not None:
        side = "to" if hasattr(entry.expect, "to") else "than"
        yield from _metric_problems(document, (*key, "expect", side, "metric"), other.metric, units)


def _metric_problems(
    document: Document, key: Key, name: str, units: Mapping[str, str]
) -> Iterator[Problem]:
    if name not in units:
        yield _unknown_metric(document, key, name, units)


def _unknown_metric(document: Document, key: Key, name: str, known: Mapping[str, str]) -> Problem:
    return document.problem(
        key,
        "unknown metric",
        value=repr(name),
        allowed=f"{len(known)} metrics: harness show",
        nearest=nearest(name, known),
    )
