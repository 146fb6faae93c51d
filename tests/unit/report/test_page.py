from __future__ import annotations

import re

import pytest

from harness.records import Measurement, Profile, Status
from harness.report import palette
from harness.report.dossier import ScenarioReport
from harness.report.page import Page, inline, render_page
from harness.report.plots import RenderedPlot

from .conftest import MakeDossier, MakeRun
from .test_hostile import Tags, parsed

PLOT = {"file": "curve", "title": "A curve", "x": "size", "y": "loss"}
SVG = (
    '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="9" viewBox="0 0 9 9">'
    '<defs><clipPath id="p1"><path style="fill: #fefefe"/></clipPath></defs>'
    '<g id="a" clip-path="url(#p1)"><use href="#a" style="stroke: #1f5fae"/></g></svg>\n'
)


@pytest.fixture
def dossier(make_run: MakeRun, make_dossier: MakeDossier) -> ScenarioReport:
    steps = [
        Measurement(metric="loss", value=1.0 / step, unit="nat", where={"step": step})
        for step in range(1, 40)
    ]
    runs = [
        make_run({"size": 2}, [*steps, Measurement(metric="step_time", value=1.0, unit="s")]),
        make_run({"size": 4}, status=Status.FAILED, cause="it broke", log=("one", "  two")),
    ]
    return make_dossier(runs, plots=[PLOT])


@pytest.fixture
def page(dossier: ScenarioReport) -> Tags:
    drawn = RenderedPlot(plot=dossier.scenario.report.plots[0], svg=SVG, note="")
    return parsed(render_page([Page(dossier=dossier, plots=(drawn,))]))


def test_nothing_is_fetched(dossier: ScenarioReport, page: Tags) -> None:
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.seen}
    targets = [attrs.get("href") or "#" for _, attrs in page.seen]
    assert all(target.startswith("#") for target in targets)
    text = render_page([Page(dossier=dossier, plots=())])
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)|@import|https?://", text)


def test_every_table_has_a_caption_and_scopes(page: Tags) -> None:
    tags = [tag for tag, _ in page.seen]
    assert tags.count("caption") == tags.count("table") > 0
    assert all(attrs.get("scope") for tag, attrs in page.seen if tag == "th")


def test_ids_are_unique_and_references_lead_somewhere(dossier: ScenarioReport) -> None:
    second = dossier.scenario.report.plots[0].model_copy(update={"file": "other"})
    plots = [
        RenderedPlot(plot=plot, svg=SVG, note="")
        for plot in (*dossier.scenario.report.plots, second)
    ]
    text = render_page([Page(dossier=dossier, plots=tuple(plots))])
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(ids)


def test_verdicts_are_told_in_words(page: Tags) -> None:
    assert "REPRODUCED" in page.text


def test_broken_runs_keep_their_log(page: Tags) -> None:
    assert "size=4, seed 0: failed: it broke" in page.text
    assert "one\n  two\n" in page.text


def test_long_tables_start_folded(page: Tags) -> None:
    folded = [attrs for tag, attrs in page.seen if tag == "details" and "open" not in attrs]
    # 39 steps, the broken run, how to run it again, what the figures are
    assert len(folded) == 4


def test_several_profiles_share_a_page_and_the_first_is_open(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    sheets = [
        Page(
            dossier=make_dossier([make_run({}, {"loss": 1.0}, profile=each)], profile=each),
            plots=(),
        )
        for each in (Profile.CPU, Profile.CUDA)
    ]
    tags = parsed(render_page(sheets))
    profiles = {
        attrs["id"]: "open" in attrs for _, attrs in tags.seen if attrs.get("class") == "profile"
    }
    assert profiles == {"cpu": True, "cuda": False}
    assert sum(attrs.get("id") == "claim-first" for _, attrs in tags.seen) == 1


def test_the_answer_comes_first(page: Tags) -> None:
    headings = [attrs.get("id") for tag, attrs in page.seen if tag == "h2"]
    assert headings[0] == "answer-title"
    assert [attrs["id"] for tag, attrs in page.seen if tag == "figure"] == [
        "plot-cpu-curve-svg-lead"
    ]


def test_a_plot_in_a_page_follows_its_theme() -> None:
    body = inline(SVG, "cpu-curve-", 'A "curve" <b>')
    assert body.startswith('<svg role="img" aria-label="A &#34;curve&#34; &lt;b&gt;" width="9"')
    assert "var(--surface)" in body
    assert "var(--series-1)" in body
    assert "url(#cpu-curve-p1)" in body
    assert 'href="#cpu-curve-a"' in body


def test_a_plot_in_a_page_has_nothing_that_is_not_seen() -> None:
    text = '<text transform="rotate(-0 1 2)" x="1">0</text><text transform="rotate(-30 1 2)"/>'
    path = '<path d="M 0 2.5 \nL 1e-05 3 \nz\n" id="a"/>'
    svg = f'<svg ><g id="axis">\n {path}</g>{text}<use href="#a"/></svg>'
    body = inline(svg, "p-", "A curve")
    shown = '<text x="1">0</text><text transform="rotate(-30 1 2)"/>'
    assert body.endswith(
        f'<g><path d="M0 2.5L1e-05 3z" id="p-a"/></g>{shown}<use href="#p-a"/></svg>'
    )


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_every_colour_stands_out_from_its_surface(theme: dict[str, str]) -> None:
    weak = {
        name: contrast(colour, theme["surface"])
        for name, colour in theme.items()
        if name not in ("surface", "grid")
    }
    assert min(weak.values()) >= 4.5, weak


def test_both_themes_name_the_same_colours() -> None:
    assert list(palette.LIGHT) == list(palette.DARK)
