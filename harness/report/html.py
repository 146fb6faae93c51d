"""HTML from templates: everything is escaped unless a template says otherwise."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from harness.printable import printable_lines
from harness.report import clean
from harness.report.tables import Table, visible

if TYPE_CHECKING:
    from jinja2 import Environment


def render_html(table: Table) -> str:
    """Return the table as an HTML fragment for use in another page."""
    return fill("table.html.j2", table=visible(table))


def fill(template: str, **values: Any) -> str:
    """Return a template of ``harness/report/templates`` filled in; ends in one newline."""
    return _environment().get_template(template).render(**values).rstrip("\n") + "\n"


def template_text(name: str) -> str:
    """Return a file of ``harness/report/templates`` as it is."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    # text, the usual form of a table, needs no templates
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # what a template prints has been freed of control characters; autoescape does the rest
        finalize=lambda value: clean.printable(value) if type(value) is str else value,
    )
    environment.globals.update(visible=visible, zip=zip)
    environment.filters["breakable"] = _breakable
    environment.filters["lines"] = _lines
    return environment


def _breakable(text: str) -> Markup:
    """Let a dotted name break after its dots and underscores, and nowhere else."""
    escaped = str(escape(clean.printable(text)))
    return Markup(re.sub(r"([._])(?=\w)", r"\1<wbr>", escaped))  # noqa: S704 - escaped above


def _lines(text: str) -> Markup:
    """Return a text with its lines, where all else that is printed is one line."""
    return Markup(escape(printable_lines(text)))  # noqa: S704 - escaped
