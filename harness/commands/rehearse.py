"""``harness rehearse``: will the run work, and what will it take? Two passes of each loop tell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from harness.errors import ExitCode
from harness.execution.forecast import LoopForecast
from harness.execution.prepare import prepare
from harness.execution.rehearse import (
    ForecastFigure,
    Quantity,
    RehearsedPlan,
    rehearse,
)
from harness.records import record
from harness.scenario.folders import find_all
from harness.session.options import RehearseOptions, budget_s
from harness.session.project import open_project
from harness.session.several import Answer, answer_each
from harness.units import counted, duration

_S_PER_HOUR = 3600.0
_WORDS = {True: "ok", False: "no", None: "-"}


@record
class RehearseAnswer:
    """The answer of ``harness rehearse --json``."""

    goes: bool
    found: RehearsedPlan


def main(options: RehearseOptions) -> ExitCode:
    """Rehearse each scenario at the profile asked for; the exit code says GO (0) or NO-GO (3)."""
    project, most_s = open_project(options), budget_s(options.budget)

    def answer(folder: Path) -> Answer:
        found = rehearse(prepare(folder, project, options, builds=True), most_s)
        code = ExitCode.OK if found.goes else ExitCode.INFRASTRUCTURE
        if options.json:
            return Answer(code=code, document=RehearseAnswer(goes=found.goes, found=found))
        return Answer(code=code, text="\n".join([*rehearsal_lines(found), ""]))

    return answer_each(find_all(project.scenarios, options.scenarios), answer, options)


def rehearsal_lines(found: RehearsedPlan) -> Iterator[str]:
    """Yield what a rehearsal has found, for people."""
    of = f"{found.rehearsed} of {counted(found.runs, 'run')} rehearsed"
    yield f"{found.scenario} {found.profile}: {'GO' if found.goes else 'NO-GO'}"
    yield f"{of}, {found.where}"
    for check in found.checks:
        yield f"  {_WORDS[check.is_good]:3} {check.what}: {check.said}"
        if check.remedy:
            yield f"      {check.remedy}"
    if found.figures:
        yield ""
        yield tabulate(
            [_row(figure) for figure in found.figures],
            ("forecast", "", "80 % interval", "limit", ""),
            "plain",
            disable_numparse=True,
        )
    if any(one.repeats for one in found.each):
        yield ""
        headers = ("repeats", "made", "each", "all")
        yield tabulate([*_repeats(found)], headers, "plain", disable_numparse=True)
    yield ""
    yield f"the rehearsal took {duration(found.wall_s)}, {found.cpu_s:.0f} s of processors"


def _repeats(found: RehearsedPlan) -> Iterator[tuple[str, ...]]:
    """Yield a row for what was made in part, of all cells together."""
    by_name: dict[str, list[LoopForecast]] = {}
    for one in found.each:
        for each in one.repeats:
            by_name.setdefault(each.name, []).append(each)
    for name, of_cells in by_name.items():
        made, of = (sum(getattr(one, key) for one in of_cells) for key in ("made", "of"))
        fastest, slowest = (pick(one.each_s for one in of_cells) for pick in (min, max))
        took = f"{fastest:.3g} s" if len(of_cells) == 1 else f"{fastest:.3g} to {slowest:.3g} s"
        total = math.fsum(one.total_s for one in of_cells)
        yield name, f"{made} of {of}", took, duration(total)


def _row(figure: ForecastFigure) -> tuple[str, ...]:
    if figure.value is None:
        return (figure.quantity, "absent", "", "", figure.note)
    limit = "" if figure.limit is None else _said(figure, figure.limit)
    assert figure.low is not None, "a figure has an interval"
    assert figure.high is not None, "a figure has an interval"
    interval = f"{_said(figure, figure.low)} to {_said(figure, figure.high)}"
    return (figure.quantity, _said(figure, figure.value), interval, limit, figure.note)


def _said(figure: ForecastFigure, value: float) -> str:
    if figure.quantity is Quantity.TIME:
        return duration(value * _S_PER_HOUR)
    return f"{value:.3g} {figure.unit}"
