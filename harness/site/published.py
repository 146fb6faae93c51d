"""A published profile as pages need it, whichever harness published it.

This is the one place that knows how published results are stored. Runs of this harness are judged
and drawn anew. What an older harness published is shown as that harness rendered it: its table of
claims, its table of cells and its plots, and a note that says so.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import InputError, Problem
from harness.measure import metrics_by_name
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.reading import read_json, read_regular_file
from harness.records import Profile, Verdict, VerdictKind, record
from harness.report import facts
from harness.report.dossier import ScenarioReport, assemble
from harness.report.files import files_of
from harness.report.page import OlderResults, Page, RunLine
from harness.report.plots import RenderedPlot, draw_all
from harness.report.tables import Align, Column, RowGroup, Table, TableCell
from harness.results.store import (
    ENVIRONMENT_FILE,
    MEASUREMENTS_FILE,
    OUTCOME_FILE,
    SPEC_FILE,
    RunStore,
    said_of,
)
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded
from harness.scenario.schema import Plot
from harness.units import counted, duration
from harness.workloads.api.emit import EVENTS_FILE
from harness.workloads.api.registry import workload

RUN_FILES = (SPEC_FILE, OUTCOME_FILE, MEASUREMENTS_FILE, ENVIRONMENT_FILE, EVENTS_FILE)
# the verdicts of older harnesses, by today's names
_OLD_VERDICTS = {
    "NOT_COMPARABLE": VerdictKind.OTHER_PROFILE,
    "KNOWN_DIVERGENCE": VerdictKind.ARTICLE_DIFFERS,
    "INVALID": VerdictKind.RUN_FAILED,
}
_PLACE = re.compile(r"(?P<metric>[^ (]+)(?: \((?P<where>.*)\))?")


@record
class StoredRun:
    """A run's folder, read without asking which harness wrote it.

    Attributes:
        spec: what was decided, as stored.
        outcome: how it ended, as stored.
        environment: where it ran, as stored.
    """

    id: str
    profile: Profile
    folder: Path
    spec: Mapping[str, Any]
    outcome: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def began(self) -> str:
        """When it began, UTC."""
        return str(self.outcome.get("started_at", ""))[:16].replace("T", " ")

    @property
    def commit(self) -> str:
        """The short commit of its code; says so where it is not recorded."""
        return facts.commit(self.environment) or "not recorded"

    @property
    def what(self) -> str:
        """The swept params, and the seed."""
        params = self.spec.get("params", {})
        axes = [f"{axis}={params.get(axis)}" for axis in self.spec.get("axes", ())]
        return ", ".join([*axes, f"seed {self.spec.get('seed', '?')}"])


@record
class ClaimResult:
    """What one profile says of a claim.

    Attributes:
        metric: as its runs named it.
        where: the keys of the figure, likewise.
    """

    metric: str
    where: Mapping[str, str]
    verdict: Verdict


@record
class PublishedProfile:
    """One profile of a scenario.

    Attributes:
        files: name -> content of what may be downloaded beside the page.
    """

    page: Page
    runs: tuple[StoredRun, ...]
    claims: Mapping[str, ClaimResult]
    files: Mapping[str, bytes]

    @property
    def profile(self) -> Profile:
        """Which."""
        return self.page.dossier.profile


def published(loaded: Loaded, ledger: Expectations, root: Path) -> tuple[PublishedProfile, ...]:
    """Return the profiles of a scenario that are published under `root` (``results/``)."""
    store, name = RunStore(root), loaded.scenario.scenario
    of_this = {each.profile: each for each in stored(loaded, ledger, store, is_published=True)}
    found = []
    for profile in loaded.scenario.profiles:
        if profile in of_this:
            found.append(of_this[profile])
        elif (root / name / f"{profile}.ledger.csv").is_file():
            found.append(_of_older(loaded, ledger, store, profile))
    return tuple(found)


def stored(
    loaded: Loaded,
    ledger: Expectations,
    store: RunStore,
    changes: Mapping[Profile, Overrides] | None = None,
    *,
    is_published: bool = False,
) -> tuple[PublishedProfile, ...]:
    """Return the profiles that a store of this harness holds; each as declared, or as changed."""
    found = []
    for profile in store.profiles(loaded.scenario.scenario):
        plan = expand(loaded, profile, (changes or {}).get(profile, Overrides()))
        dossier = replace(assemble(loaded, ledger, plan, store), is_published=is_published)
        files = files_of([dossier])
        where = {entry.id: (entry.metric, entry.where) for entry in dossier.ledger.expectations}
        found.append(
            PublishedProfile(
                page=Page(dossier=dossier, plots=draw_all(dossier)),
                runs=tuple(_run(store.folder(run.spec), profile) for run in dossier.runs),
                claims={
                    verdict.expectation: ClaimResult(
                        metric=where[verdict.expectation][0],
                        where={k: _text(v) for k, v in where[verdict.expectation][1].items()},
                        verdict=verdict,
                    )
                    for verdict in dossier.verdicts
                },
                files={
                    file: text.encode()
                    for file, text in files.items()
                    if file not in ("page.html", "table.md")
                },
            )
        )
    return tuple(found)


# --- of an older harness --------------------------------------------------------------------------


def _of_older(
    loaded: Loaded, ledger: Expectations, store: RunStore, profile: Profile
) -> PublishedProfile:
    name, root = loaded.scenario.scenario, store.root / loaded.scenario.scenario
    path = root / f"{profile}.ledger.csv"
    lines = _csv(path)
    known = {entry.id: entry for entry in ledger.expectations}
    results = {line["id"]: _result(line, path) for line in lines if line.get("id") in known}
    now = [entry for entry in ledger.expectations if entry.id in results]
    scenario = loaded.scenario
    runs = tuple(
        _run(folder, profile)
        for folder in sorted((root / profile).iterdir())
        if (folder / OUTCOME_FILE).is_file()
    )
    added = len(known) - len(results)
    dossier = ScenarioReport(
        scenario=scenario,
        profile=profile,
        workload=workload(scenario.workload_of(profile)),
        metrics=metrics_by_name(scenario),
        runs=(),
        ledger=ledger.model_copy(update={"expectations": now}),
        verdicts=tuple(results[entry.id].verdict for entry in now),
        is_published=True,
    )
    plots = [*_old_plots(root, profile, scenario.report.plots)]
    made = said_of(store.other_schemas(name, profile) or {0})
    note = (
        f"Published by {made}: shown as that one measured, judged and drew it "
        f"({_span(runs)}; {counted(len(runs), 'run')})."
    )
    if added:
        note += f" {counted(added, 'claim')} came into the ledger since, and are not judged here."
    return PublishedProfile(
        page=Page(
            dossier=dossier,
            plots=tuple(plots),
            older=OlderResults(
                note=note, cells=_old_cells(root, profile), runs=tuple(map(_line, runs))
            ),
        ),
        runs=runs,
        claims=results,
        files={
            each.name: each.read_bytes()
            for each in sorted(root.glob(f"{profile}.*"))
            if each.suffix in (".csv", ".svg")
        },
    )


def _result(line: Mapping[str, str], path: Path) -> ClaimResult:
    place = _PLACE.fullmatch(line.get("metric", ""))
    pairs = place["where"].split(", ") if place and place["where"] else []
    return ClaimResult(
        metric=place["metric"] if place else "",
        where=dict(pair.split("=", 1) for pair in pairs if "=" in pair),
        verdict=Verdict(
            expectation=line["id"],
            kind=_kind(line["verdict"], path),
            metric=line["metric"],
            expected=line["expected"],
            measured=line["measured"],
            detail=line["detail"],
            claim=_kind(line["claim"], path) if line["claim"] else None,
        ),
    )


def _kind(word: str, path: Path) -> VerdictKind:
    try:
        return _OLD_VERDICTS.get(word) or VerdictKind(word.replace("_", " "))
    except ValueError:
        message = "is no verdict"
        raise InputError([Problem(message=message, path=path, key="verdict", value=word)]) from None


def _old_cells(root: Path, profile: Profile) -> Table:
    """Return the table of cells from its csv file, without what is the same in all rows."""
    lines = _csv(root / f"{profile}.cells.csv")
    quiet = ("profile", "device", "runtime", "image", "source")
    keys = [
        key
        for key in (lines[0] if lines else ())
        if key not in quiet and any(line[key] for line in lines)
    ]
    return Table(
        title=f"Figures, {profile} profile",
        caption=("As published; `.sd`: standard deviation over `.n` runs.",),
        columns=tuple(
            Column(key=key, header=key, align=Align.RIGHT if index else Align.LEFT)
            for index, key in enumerate(keys)
        ),
        groups=(
            RowGroup(
                rows=tuple(
                    tuple(TableCell(text=_short(line[key]), raw=line[key]) for key in keys)
                    for line in lines
                )
            ),
        ),
    )


def _old_plots(root: Path, profile: Profile, declared: list[Plot]) -> Iterator[RenderedPlot]:
    """Yield the plots as they were drawn, those first that are still declared."""
    known = {plot.file: plot for plot in declared}
    found = {
        path.name.removeprefix(f"{profile}.").removesuffix(".svg"): path
        for path in sorted(root.glob(f"{profile}.*.svg"))
    }
    for file in sorted(found, key=lambda each: [*known].index(each) if each in known else 99):
        title = known[file].title if file in known else file.replace("-", " ")
        plot = Plot(file=file, title=title, x="x", y="y")
        yield RenderedPlot(plot=plot, svg=found[file].read_text(encoding="utf-8"), note="")


def _csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv file that a harness rendered, its guard of formulas taken off."""
    try:
        text = read_regular_file(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([Problem(message=f"cannot be read: {error}", path=path)]) from None
    rows = list(csv.DictReader(text.splitlines()))
    return [
        {key: (value or "").removeprefix("'") for key, value in row.items() if key} for row in rows
    ]


def _short(text: str) -> str:
    """Return a figure that is written in full to six digits."""
    try:
        number = float(text)
    except ValueError:
        return text
    return text if number == int(number) and abs(number) < 1e15 else f"{number:.6g}"  # noqa: PLR2004


def _span(runs: tuple[StoredRun, ...]) -> str:
    days = sorted({run.began[:10] for run in runs if run.began})
    devices = sorted({str(run.outcome.get("device")) for run in runs})
    when = f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)
    return f"{', '.join(devices)}, {when}" if when else ", ".join(devices)


def _line(run: StoredRun) -> RunLine:
    usage = run.outcome.get("usage")
    wall_s = usage.get("wall_s") if isinstance(usage, dict) else None
    return RunLine(
        id=run.id,
        what=run.what,
        ended=str(run.outcome.get("status", "")),
        device=str(run.outcome.get("device") or ""),
        began=run.began,
        took=duration(float(wall_s)) if isinstance(wall_s, int | float) else "",
        commit=run.commit,
    )


def _run(folder: Path, profile: Profile) -> StoredRun:
    return StoredRun(
        id=folder.name,
        profile=profile,
        folder=folder,
        spec=_object(folder / SPEC_FILE),
        outcome=_object(folder / OUTCOME_FILE),
        environment=_object(folder / ENVIRONMENT_FILE),
    )


def _object(path: Path) -> Mapping[str, Any]:
    """Return a JSON object that any harness wrote; an empty one where there is none."""
    try:
        found = read_json(read_regular_file(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError([Problem(message=f"cannot be read: {error}", path=path)]) from None
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)
