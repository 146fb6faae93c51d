from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import FinishedRun, Measurement
from harness.report.dossier import ScenarioReport
from harness.report.intervals import of_runs, of_trials
from harness.report.plots import draw, draw_all, look_of, looks_of
from harness.report.series import Curves, article_curves, curves
from harness.scenario.schema import Headline
from harness.statistics import Proportion, wilson

from .conftest import MakeDossier, MakeRun, entry, verdict


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
    assert drawn_points(found) == {"a": [(2, 2), (4, 4)], "b": [(2, 3), (4, 5)]}
    assert found.x_unit == "token"


def test_numbers_that_are_written_as_words_stand_in_their_order(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"name": name, "size": 2}, {"loss": 1}) for name in ("010", "002")]
    found = shown(make_dossier(runs, plots=[plot(x="name")]))
    assert drawn_points(found) == {"": [(2, 1), (10, 1)]}
    runs.append(make_run({"name": "last", "size": 2}, {"loss": 1}))
    (points,) = drawn_points(shown(make_dossier(runs, plots=[plot(x="name")]))).values()
    assert [x for x, _ in points] == ["002", "010", "last"]


def test_a_series_has_its_name_in_the_headline_table_of_its_profile(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"name": name, "size": 2}, {"loss": 1}) for name in "ab"]
    dossier = make_dossier(runs, plots=[plot(series=["name"])])

    column = {"metric": "loss", "header": "loss"}

    def table(**names: str) -> dict[str, Any]:
        return {"title": "T", "rows": ["name"], "names": names, "columns": [column]}

    headline = Headline.model_validate(
        {
            "answer": [{"claim": "c", "says": "so"}],
            "table": table(a="declared", b="other"),
            "by_profile": {dossier.profile.value: table(a="with the record")},
        }
    )
    scenario = dossier.scenario.model_copy(update={"headline": headline})
    assert [*drawn_points(shown(replace(dossier, scenario=scenario)))] == [
        "with the record",
        "other",
    ]


def test_what_the_plot_does_not_name_is_told_apart_all_the_same(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"name": n, "size": 2}, {"loss": i}) for i, n in enumerate("ab")]
    found = shown(make_dossier(runs, plots=[plot()]))
    assert drawn_points(found) == {"a": [(2, 0)], "b": [(2, 1)]}


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
        "box",
        "other",
    ]


def test_an_axis_that_advances_with_x_makes_no_series(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"size": s, "rate": s / 10}, {"loss": 1.0}) for s in (1, 2, 3)]
    assert [*drawn_points(shown(make_dossier(runs, plots=[plot()])))] == [""]


def test_three_replicates_give_an_interval_and_two_none(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    values = (1.0, 3.0, 2.0)
    runs = [make_run({"size": 2}, {"loss": v}, replicate=i) for i, v in enumerate(values)]
    ((two,),) = [each.points for each in shown(make_dossier(runs[:2], plots=[plot()])).series]
    assert (two.y, two.values, two.interval) == (2.0, (1.0, 3.0), None)
    ((three,),) = [each.points for each in shown(make_dossier(runs, plots=[plot()])).series]
    assert three.interval is not None
    # Student's t for two degrees of freedom, over the square root of three
    assert three.interval.high - three.y == pytest.approx(4.302653 / 3**0.5)
    assert three.y - three.interval.low == pytest.approx(4.302653 / 3**0.5)


def test_an_interval_of_a_time_does_not_reach_below_nothing(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [
        make_run({"size": 2}, {"step_time": v, "loss": v}, replicate=i)
        for i, v in enumerate((0.1, 0.2, 3.0))
    ]
    plots = [plot(y="step_time"), plot(file="loss")]
    dossier = make_dossier(runs, plots=plots)
    time, loss = (
        curves(each, dossier).points[0].interval for each in dossier.scenario.report.plots
    )
    assert time is not None
    assert loss is not None
    assert time.low == 0.0
    assert loss.low < 0.0  # a loss may be a difference
    assert time.high == loss.high


@given(st.lists(st.floats(0.0, 100.0), min_size=3, max_size=5))
def test_an_interval_of_shares_stays_between_nothing_and_all(shares: list[float]) -> None:
    whole, cut = (of_runs(shares, "%", is_share=is_share) for is_share in (False, True))
    assert whole is not None
    assert cut is not None
    assert (cut.low, cut.high) == (max(0.0, whole.low), min(100.0, whole.high))


def test_a_plot_of_shares_asks_for_such_an_interval(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"size": 2}, {"loss": v}, replicate=i) for i, v in enumerate((0.1, 0.2, 0.9))]
    dossier = make_dossier(runs, plots=[plot(), plot(file="shares", interval="share")])
    free, cut = (curves(each, dossier).points[0].interval for each in dossier.scenario.report.plots)
    assert free is not None
    assert cut is not None
    assert free.low < 0.0
    assert (cut.low, cut.high) == (0.0, min(1.0, free.high))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_a_share_of_trials_has_wilsons_interval_within_its_range(successes: list[int]) -> None:
    shares = [100 * each / 20 for each in successes]
    found = of_trials(shares, [20] * len(shares), "%")
    assert found is not None
    expected = wilson(Proportion(successes=sum(successes), trials=20 * len(successes)))
    assert (found.low, found.high) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert 0 <= found.low <= sum(shares) / len(shares) + 1e-9
    assert found.high <= 100


def test_what_is_no_share_of_so_many_trials_has_no_interval() -> None:
    assert of_trials([33.3], [20], "%") is None
    assert of_trials([120.0], [10], "%") is None


def test_a_name_has_one_colour_in_all_plots(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    def figures(names: str, metric: str) -> list[FinishedRun]:
        return [make_run({"name": n, "size": s}, {metric: s}) for n in names for s in (1, 2)]

    runs = [*figures("bca", "loss"), *figures("ca", "step_time")]
    plots = [
        plot(series=["name"], where={"name": "a"}),
        plot(file="all", series=["name"]),
        plot(file="time", y="step_time", series=["name"]),
    ]
    dossier = make_dossier(runs, plots=plots)
    looks = looks_of([(curves(each, dossier), None) for each in dossier.scenario.report.plots])
    assert len({look.colour for look in looks.values()}) == len(looks) == 3


def test_what_only_the_article_has_looks_like_nothing_of_ours(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    entries = [
        entry(f"{name}{size}", where={"name": name, "size": size}, claimed=2.0, kind="exact")
        for name in ("b", "c", "d")
        for size in (1, 2)
    ]
    runs = [make_run({"name": n, "size": s}, {"loss": 1.0}) for n in "ab" for s in (1, 2)]
    verdicts = [verdict(each["id"]) for each in entries]
    plots = [plot(series=["name"])]
    dossier = make_dossier(runs, plots=plots, entries=entries, verdicts=verdicts)
    ours = shown(dossier)
    looks = looks_of([(ours, article_curves(ours, dossier))])
    assert len({look.colour for look in looks.values()}) == len(looks) == 4
    legend = words_of(svg(dossier)).split()
    assert [each for each in legend if each in "abcd"] == ["a", "b", "c", "d"]


def test_the_articles_own_figures_stand_beside_ours(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    def printed(size: int, value: float, **where: Any) -> dict[str, Any]:
        of = {"size": size, **where}
        return entry(f"e{size}{len(where)}", where=of, claimed=value, kind="exact")

    runs = [make_run({"size": size}, {"loss": 1.0}) for size in (1, 2)]
    entries = [printed(1, 5.0), printed(2, 4.0), printed(2, 9.0, name="other")]
    verdicts = [verdict(each["id"]) for each in entries]
    dossier = make_dossier(runs, plots=[plot()], entries=entries, verdicts=verdicts)
    found = article_curves(shown(dossier), dossier)
    assert found is not None
    assert drawn_points(found) == {"": [(1, 5.0), (2, 4.0)]}
    assert "the article's own figures" in words_of(svg(dossier))
    one = make_dossier(runs, plots=[plot()], entries=entries[:1], verdicts=verdicts[:1])
    assert article_curves(shown(one), one) is None


def test_every_mark_says_its_value(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    runs = [make_run({"name": n, "size": s}, {"loss": s / 4}) for n in "ab" for s in (1, 2, 4)]
    for kind in ("line", "bar", "scatter"):
        dossier = make_dossier(runs, plots=[plot(kind=kind, series=["name"])])
        text = svg(dossier)
        root = ET.fromstring(text)  # noqa: S314 - our own text
        titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
        assert titles == [f"{n}, size {s}: {s / 4:g} nat" for n in "ab" for s in (1, 2, 4)]


def test_small_multiples_and_a_tornado_name_every_series(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"name": n, "size": s}, {"loss": s}) for n in "abc" for s in (1, 2)]
    for more in ({"panels": True}, {"kind": "tornado"}):
        text = svg(make_dossier(runs, plots=[plot(series=["name"], **more)]))
        assert {"a", "b", "c"} <= set(words_of(text).split())


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
        "cpu profile, box",
        "mean and 95 % interval of 3 runs",
        "size [token]",
        "step time [s]",
        "a",
        "b",
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
