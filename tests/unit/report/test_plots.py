from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

import pytest

from harness.records import Measurement
from harness.report.dossier import ScenarioReport
from harness.report.plots import draw, draw_all, look_of
from harness.report.series import Curves, curves

from .conftest import MakeDossier, MakeRun


def plot(**facts: Any) -> dict[str, Any]:
    return {"file": "curve", "title": "A curve", "x": "size", "y": "loss", **facts}


def shown(dossier: ScenarioReport) -> Curves:
    return curves(dossier.scenario.report.plots[0], dossier)


def drawn_points(found: Curves) -> dict[str, list[tuple[Any, float]]]:
    return {each.label: [(point.x, point.y) for point in each.points] for each in found.series}


def by_step(values: Iterable[float | None]) -> list[Measurement]:
    return [
        Measurement(
            metric="loss",
            value=value,
            unit="nat",
            where={"step": step},
            absent="nan" if value is None else "",
        )
        for step, value in enumerate(values)
    ]


def test_points_stand_in_order_of_x_in_their_series(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [
        make_run({"name": name, "size": size}, {"loss": size + (name == "b")})
        for size in (4, 2)
        for name in "ab"
    ]
    found = shown(make_dossier(runs, plots=[plot(series=["name"])]))
    assert drawn_points(found) == {"name a": [(2, 2), (4, 4)], "name b": [(2, 3), (4, 5)]}
    assert found.x_unit == "token"


def test_what_the_plot_does_not_name_is_told_apart_all_the_same(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"name": n, "size": 2}, {"loss": i}) for i, n in enumerate("ab")]
    found = shown(make_dossier(runs, plots=[plot()]))
    assert drawn_points(found) == {"name a": [(2, 0)], "name b": [(2, 1)]}


def test_a_plot_shows_the_points_that_it_asks_for(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"name": n, "size": 2}, by_step([1.0, 2.0])) for n in "ab"]
    asked = {"where": {"name": "b", "step": 1}}
    found = shown(make_dossier(runs, plots=[plot(x="step", **asked)]))
    assert drawn_points(found) == {"": [(1, 2.0)]}
    none = shown(make_dossier(runs, plots=[plot(x="step", where={"nobody": 1})]))
    assert none.series == ()


def test_devices_are_told_apart(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    runs = [make_run({"size": 2}, {"loss": 1.0}, device=device) for device in ("box", "other")]
    assert [*drawn_points(shown(make_dossier(runs, plots=[plot()])))] == [
        "device box",
        "device other",
    ]


def test_an_axis_that_advances_with_x_makes_no_series(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"size": s, "rate": s / 10}, {"loss": 1.0}) for s in (1, 2, 3)]
    assert [*drawn_points(shown(make_dossier(runs, plots=[plot()])))] == [""]


def test_replicates_give_error_bars(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    runs = [make_run({"size": 2}, {"loss": v}, replicate=i) for i, v in enumerate((1.0, 3.0))]
    ((point,),) = [each.points for each in shown(make_dossier(runs, plots=[plot()])).series]
    assert (point.y, point.count) == (2.0, 2)
    assert point.spread == pytest.approx(2**0.5)


def test_absent_points_are_counted_with_their_reason(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({}, by_step([1.0, None, 3.0]))]
    dossier = make_dossier(runs, plots=[plot(x="step")])
    found = shown(dossier)
    assert drawn_points(found) == {"": [(0, 1.0), (2, 3.0)]}
    assert found.missing == {"nan": 1}


def svg(dossier: ScenarioReport) -> str:
    pytest.importorskip("matplotlib", reason="plots need the extra `plots`")
    (drawn,) = draw_all(dossier)
    return drawn.svg


def words_of(text: str) -> str:
    root = ET.fromstring(text)  # noqa: S314 - our own text
    return " ".join(each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("kind", ["line", "bar", "scatter"])
def test_a_plot_names_its_axes_profile_device_and_spread(
    make_run: MakeRun, make_dossier: MakeDossier, kind: str
) -> None:
    runs = [
        make_run({"size": size, "name": name}, {"step_time": size + i / 10}, replicate=i)
        for size in (1, 2, 4)
        for name in "ab"
        for i in range(3)
    ]
    plots = [plot(kind=kind, y="step_time", series=["name"])]
    text = words_of(svg(make_dossier(runs, plots=plots)))
    for part in (
        "A curve",
        "cpu profile on box",
        "mean ± 1 sd of 3 runs",
        "size [token]",
        "step_time [s]",
        "name a",
        "name b",
    ):
        assert part in text


def test_the_same_figures_give_the_same_bytes(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    dossier = make_dossier([make_run({}, by_step([3.0, 2.0, 1.0]))], plots=[plot(x="step")])
    first = svg(dossier)
    assert svg(dossier) == first
    assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\d", first)
    assert first.endswith("</svg>\n")


def test_a_users_settings_take_no_part(
    make_run: MakeRun, make_dossier: MakeDossier, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="plots need the extra `plots`")
    dossier = make_dossier([make_run({}, by_step([3.0, 2.0]))], plots=[plot(x="step")])
    first = svg(dossier)
    for key, value in (("font.size", 30.0), ("lines.linewidth", 9.0), ("axes.facecolor", "red")):
        monkeypatch.setitem(matplotlib.rcParams, key, value)
    assert svg(dossier) == first


def test_hostile_words_are_drawn_as_words(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    name = "\x1b[31m$\\frac{1}{0}$<script>_^{"
    runs = [make_run({"name": each, "size": 1}, {"loss": 1.0}, device=name) for each in (name, "a")]
    text = svg(make_dossier(runs, plots=[plot(x="name", series=["size"])]))
    assert "<script" not in text
    assert "\x1b" not in text
    assert "$\\frac{1}{0}$<script>_^{" in words_of(text)


def test_words_on_the_x_axis_keep_the_order_of_the_sweep(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"name": name}, {"loss": 1.0}) for name in ("low", "mid", "high")]
    sweep = {"product": {"name": ["low", "mid", "high"]}}
    text = words_of(svg(make_dossier(runs, sweep=sweep, plots=[plot(x="name")])))
    assert text.index("low") < text.index("mid") < text.index("high")


def test_many_series_look_different_with_and_without_lines() -> None:
    looks = [look_of(index) for index in range(49)]
    assert len({(look.colour, look.marker) for look in looks}) == 49
    assert len({(look.colour, look.hatch) for look in looks}) == 49
    assert len({look.marker for look in looks[:7]}) == 7  # without colour, too


def test_no_figures_no_plot_but_a_reason(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    dossier = make_dossier([make_run({"size": 1}, {"grade": "a"})], plots=[plot(), plot(y="grade")])
    none, word = (draw(each, dossier) for each in dossier.scenario.report.plots)
    assert (none.svg, none.note) == (
        "",
        "not drawn: no finished run measured loss by size",
    )
    assert (word.svg, word.note) == ("", "not drawn: 1 no number")
