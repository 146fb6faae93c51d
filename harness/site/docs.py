"""The project's Markdown pages as pages of the site, by markdown-it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.records import record

if TYPE_CHECKING:
    from markdown_it.token import Token

OF_ROOT = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:|//")


@record
class DocPage:
    """A page of documentation.

    Attributes:
        path: of the page in the site.
        headings: its second-level headings: id and text.
    """

    path: str
    title: str
    body: Markup
    headings: tuple[tuple[str, str], ...]
    group: str


def doc_pages(project: Path) -> tuple[DocPage, ...]:
    """Return the pages of ``docs/`` and of the repository's root, the design notes last."""
    sources = [path for name in OF_ROOT if (path := project / name).is_file()]
    sources += sorted((project / "docs").glob("*.md"))
    sources += sorted((project / "docs" / "design").glob("*.md"))
    places = {path.relative_to(project).as_posix(): _page_of(path, project) for path in sources}
    return tuple(_rendered(path, project, places) for path in sources)


def _page_of(source: Path, project: Path) -> str:
    path = source.relative_to(project).with_suffix(".html").as_posix().lower()
    return path if path.startswith("docs/") else f"docs/{path}"


def _rendered(source: Path, project: Path, places: Mapping[str, str]) -> DocPage:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only the site needs it
    from markdown_it.renderer import RendererHTML  # noqa: PLC0415 - see above

    path = source.relative_to(project).as_posix()
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(source.read_text(encoding="utf-8"))
    headings = _name_headings(tokens)
    _mend_links(tokens, path, places)
    _label_tables(tokens)
    renderer = parser.renderer
    assert isinstance(renderer, RendererHTML)
    body = renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="wide" role="region" tabindex="0"><table>')
    body = body.replace("</table>", "</table></div>").replace("<pre>", '<pre tabindex="0">')
    title = next((text for level, _, text in headings if level == "h1"), source.stem)
    return DocPage(
        path=places[path],
        title=title,
        body=Markup(_numbered_regions(body, title)),  # noqa: S704 - rendered without raw HTML
        headings=tuple((name, text) for level, name, text in headings if level == "h2"),
        group="Design notes" if "/design/" in path else "Documentation",
    )


def _numbered_regions(body: str, title: str) -> str:
    """Give each table that scrolls a name of its own for a screen reader."""
    parts = body.split('<div class="wide" role="region" tabindex="0">')
    label = str(Markup.escape(title))
    return parts[0] + "".join(
        f'<div class="wide" role="region" tabindex="0" aria-label="{label}, table {number}">{part}'
        for number, part in enumerate(parts[1:], 1)
    )


def _name_headings(tokens: list[Token]) -> list[tuple[str, str, str]]:
    """Give headings the ids that GitHub gives them; return level, id and text of each."""
    seen: dict[str, int] = {}
    found = []
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        text = "".join(each.content for each in inline.children or ())
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = seen.get(name, 0)
        seen[name] = number + 1
        name = f"{name}-{number}" if number else name
        opening.attrSet("id", name)
        found.append((opening.tag, name, text))
    return found


def _label_tables(tokens: list[Token]) -> None:
    for token in tokens:
        if token.type == "th_open":
            token.attrSet("scope", "col")


def _mend_links(tokens: list[Token], source: str, places: Mapping[str, str]) -> None:
    """Let links lead to the pages of the site; one to a file that is none of them is only text."""
    here = posixpath.dirname(places[source])
    for token in tokens:
        children = token.children or []
        for index, each in enumerate(children):
            if each.type == "image":  # pictures are not part of the site: their words are
                each.type, each.tag, each.content = "text", "", each.content or "picture"
                each.children = None
            if each.type != "link_open":
                continue
            target = str(each.attrGet("href") or "")
            if target.startswith("#"):
                continue
            if _OUTSIDE.match(target):
                each.attrSet("rel", "noreferrer")
                continue
            path, _, fragment = target.partition("#")
            full = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
            page = places.get(full) or _scenario_page(full)
            if page:
                link = posixpath.relpath(page, here) + (f"#{fragment}" if fragment else "")
                each.attrSet("href", link)
                continue
            each.type, each.tag, each.attrs = "text", "", {}
            for closing in children[index + 1 :]:
                if closing.type == "link_close":
                    closing.type, closing.tag = "text", ""
                    break


def _scenario_page(path: str) -> str:
    """Return the page of a scenario that a link to its results or its folder means."""
    found = re.match(r"(?:results|scenarios)/(\w+)-[^/]+(?:/(?:table\.md|page\.html))?$", path)
    return f"{found[1]}/index.html" if found else ""
