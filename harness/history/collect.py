"""From the runs of a store to the rows of a history."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from harness.errors import InputError, Problem
from harness.history.rows import HistoryFigure, Night, id_of
from harness.measure import metrics_by_name
from harness.records import PROBE_UNITS, FinishedRun, Profile, Scalar, record
from harness.results.measured import measured
from harness.results.store import SPEC_FILE, RunStore
from harness.scenario.schema import Scenario
from harness.units import convert, same_dimension
from harness.workloads.api.declare import Metric
from harness.workloads.api.registry import workload
from harness.workloads.api.run_metrics import RUN_METRICS

# distributions whose version may change a speed; their names as the package index spells them
_TELLING = ("torch", "vllm", "transformers", "triton", "numpy", "peft", "flashinfer-python")


def tested_metrics(scenario: Scenario, profile: Profile) -> list[Metric]:
    """Return the metrics whose change is good or bad, which are those that are tested.

    They are the workload's own; where none of them has a direction, the run's wall clock.
    """
    own = [
        each for each in workload(scenario.workload_of(profile)).metrics if each.better is not None
    ]
    return own or [each for each in RUN_METRICS if each.name == "run.wall_time"]


def nights_of(store: RunStore, scenario: Scenario, profile: Profile) -> list[Night]:
    """Return a row for each cell of a store, or several where its code or device changed.

    Raises:
        InputError: a stored run is damaged.
    """
    metrics = {
        name: each
        for name, each in metrics_by_name(scenario).items()
        if each.better is not None or each in RUN_METRICS
    }
    groups: dict[tuple[str, ...], list[FinishedRun]] = {}
    for run in store.runs(scenario.scenario, profile):
        image = run.spec.image.digest if run.spec.image else ""
        key = (run.spec.point_id, run.outcome.device, image, run.spec.source)
        groups.setdefault(key, []).append(run)
    return [_night(runs, metrics) for runs in groups.values()]


def _night(runs: Sequence[FinishedRun], metrics: Mapping[str, Metric]) -> Night:
    runs = sorted(runs, key=lambda run: (run.outcome.started_at, run.spec.replicate))
    spec, environment = runs[0].spec, runs[0].environment
    ids = tuple(run.spec.run_id for run in runs)
    time, host = runs[0].outcome.started_at, environment.get("host", {})
    code = environment.get("code", {})
    return Night(
        id=id_of(spec.scenario, spec.profile, ids, time),
        scenario=spec.scenario,
        profile=spec.profile,
        point=spec.point_id,
        cell=spec.cell,
        seed=spec.seed,
        runs=ids,
        time=time,
        clock=next((each for each in environment.get("warnings", ()) if "clock" in each), ""),
        device=runs[0].outcome.device,
        driver=host.get("driver") or "",
        image=f"{spec.image.name}@{spec.image.digest}" if spec.image else "",
        commit=code.get("commit") or "",
        dirty=code.get("dirty"),
        source=spec.source,
        versions=_versions(environment),
        probe=_probe(runs),
        figures=tuple(_figures(runs, metrics)),
    )


def _versions(environment: Mapping[str, Any]) -> dict[str, str]:
    interpreter = environment.get("interpreter", {})
    packages = interpreter.get("packages", {})
    found = {name: packages[name] for name in _TELLING if name in packages}
    if python := interpreter.get("python"):
        found["python"] = python
    for name in ("cuda", "kernel"):
        if value := environment.get("host", {}).get(name):
            found[name] = value
    return found


def _probe(runs: Sequence[FinishedRun]) -> dict[str, float]:
    """Return the median of each figure over the probes around some runs."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for probe in run.outcome.host.probes if run.outcome.host else ():
            for name in PROBE_UNITS:
                if (value := getattr(probe, name)) is not None:
                    values.setdefault(name, []).append(float(value))
    return {name: median(each) for name, each in values.items()}


def _figures(runs: Sequence[FinishedRun], metrics: Mapping[str, Metric]) -> Iterator[HistoryFigure]:
    values: dict[tuple[str, tuple[tuple[str, Scalar], ...]], list[float]] = {}
    for run in runs:
        for each in measured(run, metrics):
            declared = metrics[each.metric].unit
            if isinstance(each.value, bool) or not isinstance(each.value, int | float):
                continue
            if same_dimension(each.unit, declared):
                key = (each.metric, tuple(sorted(each.where.items(), key=lambda item: item[0])))
                values.setdefault(key, []).append(convert(float(each.value), each.unit, declared))
    for (metric, where), found in values.items():
        yield HistoryFigure(
            metric=metric,
            unit=metrics[metric].unit,
            value=fmean(found),
            n=len(found),
            spread=stdev(found) if len(found) > 1 else None,
            where=dict(where),
        )


@record
class FoundStore:
    """A store among what was given to import.

    Attributes:
        root: its folder.
        name: as the user would name it.
    """

    root: Path
    name: str


@contextmanager
def stores_in(given: Path) -> Iterator[list[FoundStore]]:
    """Give the stores within a folder, or within the zip file of a nightly's artefact.

    Raises:
        InputError: it is neither, or holds no store.
    """
    with tempfile.TemporaryDirectory(prefix="harness-import-") as scratch:
        folder = given
        if given.is_file():
            folder = Path(scratch)
            try:
                with zipfile.ZipFile(given) as archive:
                    archive.extractall(folder)
            except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
                _refuse(given, f"is no artefact of a nightly: {error}")
        roots = sorted(
            {
                spec.parents[3]
                for spec in folder.rglob(SPEC_FILE)
                if spec.parents[1].name in set(Profile) and not spec.parent.name.startswith(".")
            }
        )
        if not roots:
            _refuse(given, "holds no finished runs")
        yield [FoundStore(root=root, name=str(given / root.relative_to(folder))) for root in roots]


def _refuse(given: Path, message: str) -> None:
    allowed = "a store of results, a folder with stores in it, or an artefact's zip file"
    raise InputError([Problem(message=message, path=given, allowed=allowed)])
