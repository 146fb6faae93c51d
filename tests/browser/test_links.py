"""What the site's pages lead to; this needs no browser, and looks at every page."""

from __future__ import annotations

import posixpath
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

MOST_BYTES = 300_000
OUTSIDE = ("http", "https", "mailto")


class Page(HTMLParser):
    """The links, the ids and what a page fetches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "link", "iframe"):
            self.fetched += [given[name] for name in ("src", "href") if name in given]

    handle_startendtag = handle_starttag


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
    }


def place_of(target: str, page: str) -> tuple[str, str]:
    """Return the file and the id that a link of a page leads to."""
    parts = urlsplit(target)
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
    return (path if parts.path else page), unquote(parts.fragment)


def test_every_link_leads_to_a_file_and_every_fragment_to_an_id(
    site: Path, pages: dict[str, Page]
) -> None:
    broken = []
    for name, page in pages.items():
        for target in {*page.links, *page.fetched}:
            if urlsplit(target).scheme in (*OUTSIDE, "data"):
                continue
            path, fragment = place_of(target, name)
            if not (site / path).is_file():
                broken.append(f"{name}: {target}")
            elif fragment and path in pages and fragment not in pages[path].ids:
                broken.append(f"{name}: {target} (no such id)")
    assert not broken, broken[:20]


def test_nothing_is_fetched_from_elsewhere(pages: dict[str, Page]) -> None:
    outside = [
        f"{name}: {target}"
        for name, page in pages.items()
        for target in page.fetched
        if urlsplit(target).scheme in OUTSIDE or target.startswith("//")
    ]
    assert not outside


def test_ids_are_unique(pages: dict[str, Page]) -> None:
    doubled = [name for name, page in pages.items() if len(page.ids) != len(set(page.ids))]
    assert not doubled


def test_every_figure_is_two_clicks_from_the_index(pages: dict[str, Page]) -> None:
    reached = {"index.html"}
    for _ in range(2):
        reached |= {
            place_of(target, name)[0]
            for name in reached & set(pages)
            for target in pages[name].links
            if not urlsplit(target).scheme
        }
    figures = {name for name in pages if "/claims/" in name}
    assert len(figures) > 1000
    assert figures <= reached


def test_no_page_is_large(site: Path, pages: dict[str, Page]) -> None:
    sizes = {name: (site / name).stat().st_size for name in pages}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
