"""Every kind of page in a real browser: no errors, wide or narrow, light or dark, by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

KINDS = {
    "index": "index.html",
    "article": "a34/index.html",
    "article with wide tables": "a36/index.html",
    "figure": "a34/claims/printed.assertions.grpo-34.html",
    "errors": "errors.html",
    "source": "a34/expectations.html",
    "documentation": "docs/method.html",
    "missing": "404.html",
}


@pytest.fixture(scope="module")
def kinds(site: Path) -> dict[str, str]:
    run = next(path for path in sorted((site / "a34" / "runs").glob("*.html")))
    return {**KINDS, "run": run.relative_to(site).as_posix()}


def test_every_article_and_document_opens_without_a_fault(
    page: Any, address: str, site: Path, kinds: dict[str, str]
) -> None:
    places = [path.relative_to(site).as_posix() for path in sorted(site.glob("*/index.html"))]
    places += [f"docs/{path.name}" for path in sorted((site / "docs").glob("*.html"))]
    for place in [*places, *kinds.values()]:
        page.goto(address + place)
        assert page.title()
        assert page.locator("h1").count() == 1, place
    assert page.faults == []


def test_no_page_is_wider_than_its_window(page: Any, address: str, kinds: dict[str, str]) -> None:
    wide = []
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        for name, place in kinds.items():
            page.goto(address + place)
            # what is folded must fit as well
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            found = page.evaluate("document.documentElement.scrollWidth")
            if found > width:
                wide.append(f"{name} at {width}: {found}")
    assert not wide


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, address: str, kinds: dict[str, str], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    found = []
    for name, place in kinds.items():
        page.goto(address + place)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        for each in axe.run(page).response["violations"]:
            targets = [node["target"] for node in each["nodes"][:3]]
            found.append(f"{name}: {each['id']}: {each['help']}: {targets}")
    context.close()
    assert not found, found


def test_the_answer_and_its_plot_are_on_the_first_screen(page: Any, address: str) -> None:
    page.goto(address + "a34/index.html")
    for part in ("#answer .answer", "#answer figure"):
        box = page.locator(part).first.bounding_box()
        assert box["y"] + box["height"] <= 900, part


@pytest.mark.parametrize("over", ["http", "file"])
def test_search_finds_a_figure_by_its_number(
    page: Any, address: str, site: Path, over: str
) -> None:
    page.goto((address if over == "http" else site.as_uri() + "/") + "index.html")
    page.get_by_label("Search").fill("47.7 grpo")
    hit = page.locator("#hits a", has_text="printed.assertions.grpo-34")
    hit.wait_for()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('#hits') !== null")
    hit.click()
    page.wait_for_url("**/a34/claims/printed.assertions.grpo-34.html")
    assert page.faults == []


def test_a_reader_finds_where_a_number_comes_from_in_two_clicks(page: Any, address: str) -> None:
    page.goto(address + "index.html")
    page.get_by_role("link", name="Uncertainty-guided reinforcement learning").click()
    page.locator("#errors").get_by_role("link", name="printed.assertions.grpo-34").click()
    text = page.locator("main").inner_text()
    for part in ("47.7", "49.87", "100 * 389", "expectations.yaml, line", "harness run a34"):
        assert part in text
    assert_leads_to(page, "main a:has-text('expectations.yaml')")
    # and one that a run has measured leads to the events that carry it
    page.goto(address + "a34/index.html")
    page.locator("#claims").get_by_role("link", name="pool.above_held_out").click()
    assert_leads_to(page, "main .events a")
    assert page.faults == []


def assert_leads_to(page: Any, link: str) -> None:
    target = page.locator(link).first.get_attribute("href")
    assert page.request.get(page.evaluate(f"new URL({target!r}, location.href).href")).ok


def test_a_keyboard_skips_to_the_content_and_scrolls_a_table(page: Any, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address + "a34/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    table = page.locator("#errors .wide")
    table.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#errors .wide').scrollLeft > 0")


def test_a_page_prints_what_is_folded_out_and_no_navigation(page: Any, address: str) -> None:
    page.goto(address + "a34/index.html")
    page.emulate_media(media="print")
    assert not page.locator(".top").is_visible()
    assert page.locator("#answer").is_visible()
