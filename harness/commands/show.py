"""``harness show``: one scenario, and where each value comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ExitCode
from harness.plan.expand import Sourced, expand, free_axes, params_of
from harness.records import Profile, record
from harness.report.figures import setting
from harness.report.render import render_text
from harness.report.tables import Column, RowGroup, Table, words
from harness.runtime.host import probe_host
from harness.scenario.folders import find_all
from harness.scenario.load import Loaded, load
from harness.scenario.schema import Sweep
from harness.session.console import terminal_width
from harness.session.options import ShowOptions
from harness.session.project import open_project
from harness.session.selection import overrides_of, profile_to_run
from harness.session.several import Answer, answer_each
from harness.workloads.api.declare import fields_of
from harness.workloads.api.registry import workload

_NAMES = ("param", "metric")  # columns of names, which are read whole


@record
class ShowAnswer:
    """The answer of ``harness show --json``.

    Attributes:
        scenario: as scenario.yaml has it, with every default (docs/schema/scenario.json).
        params: name -> value, and where it was said.
    """

    scenario: Mapping[str, Any]
    profile: Profile
    params: Mapping[str, Sourced]


def main(options: ShowOptions) -> ExitCode:
    """Print the question, the profile's params with their origins, the sweep and the metrics."""
    project = open_project(options)

    def show(folder: Path) -> Answer:
        loaded, overrides = load(folder), overrides_of(options)
        profile = profile_to_run(options.profile, loaded.scenario, probe_host())
        expand(loaded, profile, overrides)  # refuses what cannot be planned
        params = params_of(loaded, profile, overrides)
        if options.json:
            return Answer(
                document=ShowAnswer(
                    scenario=loaded.scenario.model_dump(mode="json"),
                    profile=profile,
                    params=params,
                )
            )
        sweep = free_axes(loaded.scenario.sweep_of(profile), overrides)
        return Answer(text="\n".join([*_lines(loaded, profile, params, sweep), ""]))

    return answer_each(find_all(project.scenarios, options.scenarios), show, options)


def _lines(
    loaded: Loaded, profile: Profile, params: dict[str, Sourced], sweep: Sweep
) -> Iterator[str]:
    scenario, model = loaded.scenario, loaded.scenario.profiles[profile]
    declared, width = workload(scenario.workload_of(profile)), terminal_width()
    axes = {**sweep.zip, **sweep.product}
    settings = [
        (name, setting(each.value), facts["unit"], facts["doc"], each.origin)
        for name, each in params.items()
        if name not in axes
        for facts in [fields_of(declared.params)[name][1].metadata]
    ]
    about = (
        f"article {scenario.article.number}, {scenario.article.title}",
        f"question: {scenario.question}",
        f"profile {profile}: {model.summary}",
        f"workload {declared.name}: {declared.doc}",
    )
    head = ("param", "value", "unit", "meaning", "from")
    title = f"{scenario.scenario}: {scenario.title}"
    yield render_text(_table(title, about, head, settings), width)
    for axis, values in axes.items():
        yield textwrap.fill(f"sweep {axis}: {', '.join(map(setting, values))}", width)
    yield ""
    metrics = [(each.name, each.unit, each.doc) for each in declared.metrics]
    yield render_text(_table("metrics", (), ("metric", "unit", "meaning"), metrics), width)
    others = [each.value for each in scenario.profiles if each is not profile]
    yield f"other profiles: {', '.join(others) or 'none'}"


def _table(
    title: str, caption: tuple[str, ...], headers: Sequence[str], rows: Iterable[Sequence[str]]
) -> Table:
    columns = tuple(Column(key=each, header=each, whole=each in _NAMES) for each in headers)
    body = tuple(tuple(words(text) for text in row) for row in rows)
    return Table(title=title, caption=caption, columns=columns, groups=(RowGroup(rows=body),))
