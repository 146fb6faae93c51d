"""Every scenario answers its question in one screen, at every profile and width."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

import pytest

from harness.check.samples import ComparedFigure, samples_by_entry
from harness.measure import metrics_by_name
from harness.plan.expand import Plan, expand
from harness.plan.overrides import Overrides
from harness.records import (
    FinishedRun,
    HostLog,
    HostProbe,
    Measurement,
    ProbeMoment,
    Profile,
    RunOutcome,
    RunSpec,
    Scalar,
    Status,
    Usage,
    VerdictKind,
)
from harness.report import clean
from harness.report.dossier import ScenarioReport, assemble
from harness.report.files import tables_text
from harness.report.headline import headline_rows
from harness.report.last_screen import MAX_LINES, last_screen, next_steps
from harness.report.page import Page
from harness.results.store import RunStore
from harness.scenario.expectations import (
    BoundEntry,
    Expectation,
    Expectations,
    OrderingEntry,
)
from harness.scenario.folders import find, folders
from harness.scenario.load import Loaded, load
from harness.scenario.schema import HeadlineTable
from harness.session.selection import open_ledger
from harness.statistics import ALPHA, POWER, t_power
from harness.workloads.api.declare import Better

ROOT = Path(__file__).parents[2]
SCENARIOS = folders(ROOT / "scenarios")
GIVEN = {"experiment": ["--set=engine=vllm"], "place": ["--store=/tmp/x"], "runtime": []}
PROBE = HostProbe(when=ProbeMoment.BEFORE, at="", device="box", took_s=2.0, matmul_tflop_s=0.1)
_UNKNOWN = ("first", "second", "third")  # values of a row key that only a run knows


@cache
def loaded_of(folder: Path) -> Loaded:
    return load(folder)


@cache
def ledger_of(folder: Path) -> Expectations:
    return open_ledger(loaded_of(folder))


@cache
def nothing_run(folder: Path, profile: Profile) -> ScenarioReport:
    store = RunStore(Path("/nowhere"))
    return assemble(loaded_of(folder), ledger_of(folder), planned(folder, profile), store)


def planned(folder: Path, profile: Profile, replicates: int | None = None) -> Plan:
    return expand(loaded_of(folder), profile, Overrides(replicates=replicates))


def screen(dossier: ScenarioReport, width: int, *, whole: bool = False) -> list[str]:
    steps = next_steps([dossier], GIVEN)
    store = RunStore(Path("/nowhere"))
    place = f"results/local/{dossier.scenario.scenario}/{dossier.profile}"
    return last_screen(
        [dossier], store, steps, width=width, took_s=3.0, place=place, whole=whole
    ).splitlines()


def invented(folder: Path, spec: RunSpec, rng: random.Random) -> FinishedRun:
    """Return a run that measured something in every cell of its headline table."""
    scenario = loaded_of(folder).scenario
    headline = scenario.headline
    assert headline is not None
    return FinishedRun(
        spec=spec,
        outcome=RunOutcome(
            status=Status.FINISHED,
            runtime="local",
            device="box",
            usage=Usage(wall_s=1.0),
            host=HostLog(probes=(PROBE,)),
        ),
        measurements=tuple(
            figures(folder, headline.table_of(spec.profile), spec, rng),
        ),
    )


def figures(
    folder: Path, table: HeadlineTable, spec: RunSpec, rng: random.Random
) -> Iterator[Measurement]:
    metrics = metrics_by_name(loaded_of(folder).scenario)
    keys = [key for key in table.rows if key not in spec.params]
    values: list[tuple[Scalar, ...]] = [
        tuple(table.only[key]) if key in table.only else _UNKNOWN for key in keys
    ]
    seen = set()
    for column in table.columns:
        ends = column.interval if isinstance(column.interval, list) else []
        for place in product(*values):
            where = {key: value for key, value in column.where.items() if key not in spec.params}
            where = {**dict(zip(keys, place, strict=True)), **where}
            for name in (column.metric, *ends):
                unit = metrics[name].unit
                value: Scalar = rng.uniform(-2000, 2000)
                value = (
                    "a text" if unit == "text" else rng.random() < 0.5 if unit == "flag" else value
                )
                key = (name, tuple(where.items()))
                if key not in seen:
                    yield Measurement(metric=name, value=value, unit=unit, where=where, count=48)
                seen.add(key)


EVERY = [
    pytest.param(folder, profile, id=f"{folder.name.partition('-')[0]}-{profile}")
    for folder in SCENARIOS
    for profile in load(folder).scenario.profiles
]


@pytest.mark.parametrize(("folder", "profile"), EVERY)
def test_tables_are_made_of_runs_on_a_probed_machine_and_begin_with_the_answer(
    folder: Path, profile: Profile
) -> None:
    rng = random.Random(1)  # noqa: S311
    runs = [invented(folder, spec, rng) for spec in planned(folder, profile, 1).runs]
    dossier = replace(nothing_run(folder, profile), runs=tuple(runs))
    text = tables_text([Page(dossier=dossier, plots=())])
    head, _, rest = text.partition("## All figures and claims\n")
    assert rest.count("\n### ") > 0
    headline = dossier.scenario.headline
    assert headline is not None
    for said in (dossier.scenario.question, headline.table_of(profile).title):
        assert clean.markdown(said) in head, "the answer comes first"


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_every_scenario_declares_its_answer(folder: Path) -> None:
    headline = loaded_of(folder).scenario.headline
    assert headline is not None
    assert Profile.CPU in headline.limits
    judged = {
        entry.id: entry.binds.profile for entry in open_ledger(loaded_of(folder)).expectations
    }
    profiles = {each for part in headline.answer for each in judged[part.claim] or Profile}
    assert {Profile.CPU, Profile.EVIDENCE} <= profiles, "each has a part of the answer"


@pytest.mark.parametrize(("folder", "profile"), EVERY)
def test_a_screen_fits_before_anything_has_run(folder: Path, profile: Profile) -> None:
    for width in (80, 100, 200):
        lines = screen(nothing_run(folder, profile), width)
        assert len(lines) <= MAX_LINES
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("replicates", [1, 2, 5])
@pytest.mark.parametrize(("folder", "profile"), EVERY)
def test_a_screen_fits_whatever_was_measured(
    folder: Path, profile: Profile, replicates: int
) -> None:
    rng = random.Random(f"{folder.name} {profile} {replicates}")  # noqa: S311 - figures
    plan = planned(folder, profile, replicates)
    runs = tuple(invented(folder, spec, rng) for spec in plan.runs)
    dossier = replace(nothing_run(folder, profile), runs=runs, plan=replace(plan, changed=False))
    table = headline_rows(dossier)
    assert table is not None
    assert table.rows
    assert not any(note.startswith("no ") for note in table.notes), table.notes
    for width in (80, 132):
        lines = screen(dossier, width)
        assert len(lines) <= MAX_LINES
        assert max(map(len, lines)) <= width
        assert any(lines[at].startswith("ANSWER") for at in range(1, 6))
        assert sum(line.startswith("exit ") for line in lines[-2:]) == 1
    assert len(screen(dossier, 80, whole=True)) >= len(table.rows)


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_published_results_end_in_one_screen(folder: Path) -> None:
    """The published runs of this schema; those of an older one have no figures to show."""
    store = RunStore(ROOT / "results")
    loaded = loaded_of(folder)
    for profile in loaded.scenario.profiles:
        ledger, plan = ledger_of(folder), planned(folder, profile)
        dossier = assemble(loaded, ledger, plan, store)
        lines = screen(dossier, 80)
        assert len(lines) <= MAX_LINES
        assert max(map(len, lines)) <= 80
        if store.profiles(folder.name) and profile in store.profiles(folder.name):
            table = headline_rows(dossier)
            assert table is not None
            assert table.rows


# --- enough replicates ----------------------------------------------------------------------------

REPLICATED = ("a25", "a33", "a34", "a35", "a36")  # answers that rest on several seeds


def distances(
    entry: Expectation, samples: tuple[ComparedFigure, ...], sign: float
) -> list[float] | None:
    """Return how far each replicate lies on the right side; None for kinds that test by themselves.

    Those answer INCONCLUSIVE where the replicates are too few.
    """
    if isinstance(entry, BoundEntry) and entry.expect.noise is None:
        low, high = entry.expect.interval
        return [
            min(each.value - low, high - each.value)
            for each in samples
            if isinstance(each.value, int | float)
        ]
    if not isinstance(entry, OrderingEntry):
        return None
    one, other = (
        {
            each.run_id: float(each.value)
            for each in samples
            if each.metric == cell.metric and cell.where.items() <= each.where.items()
            if isinstance(each.value, int | float)
        }
        for cell in (entry, entry.expect.than)
    )
    assert one.keys() == other.keys()
    return [sign * (one[run] - other[run]) - entry.expect.margin for run in one]


def power(found: list[float]) -> float:
    """Return the power of a one-sided t-test with as many replicates of this mean and spread."""
    if len(found) == 1:
        return 0.0
    error = stdev(found) / len(found) ** 0.5
    return t_power(fmean(found) / error, len(found) - 1, ALPHA) if error else 1.0


def underpowered(folder: Path, store: RunStore) -> list[str]:
    """Return the claims of the answer that are reproduced by too few replicates at cpu."""
    loaded, ledger = loaded_of(folder), ledger_of(folder)
    dossier = assemble(loaded, ledger, planned(folder, Profile.CPU), store)
    metrics = metrics_by_name(loaded.scenario)
    samples = samples_by_entry(ledger, dossier.runs, Profile.CPU, metrics)
    shown = {each.expectation for each in dossier.verdicts if each.kind is VerdictKind.REPRODUCED}
    headline = loaded.scenario.headline
    assert headline is not None
    asked = {part.claim for part in headline.answer} & shown
    few = []
    for entry in ledger.expectations:
        if entry.id in asked and samples[entry.id]:
            sign = -1.0 if metrics[entry.metric].better is Better.LOWER else 1.0
            found = distances(entry, samples[entry.id], sign)
            if found is not None and power(found) < POWER:
                few.append(f"{entry.id}: power {power(found):.2f} of {len(found)} replicates")
    return few


@pytest.mark.parametrize("name", REPLICATED)
def test_an_answer_has_the_replicates_that_it_needs(name: str) -> None:
    folder, store = find(ROOT / "scenarios", name), RunStore(ROOT / "results")
    assert not underpowered(folder, store)


def test_too_few_replicates_are_seen_as_such() -> None:
    assert power([5.0]) == 0
    assert power([5.0, 9.0]) < POWER < power([5.0, 9.0, 6.0, 8.0])
    assert power([0.1, 5.0, -2.0]) < POWER
