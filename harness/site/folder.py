"""Puts a site in its folder: whole, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness import atomic
from harness.errors import InputError, Problem
from harness.site.build import ScenarioPages, Site, everything
from harness.site.docs import doc_pages

_MARKS = ("search-index.js", "site.css")  # that a folder holds a site, which may be replaced


def write_site(
    out: Path, site: Site, scenarios: Sequence[ScenarioPages], project: Path | None = None
) -> int:
    """Write a site in the place of an earlier one, and return how many files it has.

    Args:
        out: its folder.
        site: what its pages have in common.
        scenarios: whose pages it has.
        project: whose documentation is part of it; None for a site without.

    Raises:
        InputError: the folder holds something else than a site.
        HostError: it cannot be written.
    """
    is_site = out.is_dir() and all((out / name).is_file() for name in _MARKS)
    if out.exists() and not is_site and (not out.is_dir() or any(out.iterdir())):
        message = "holds something else than a site, which would be lost: name another folder"
        raise InputError([Problem(message=message, path=out)])
    docs = doc_pages(project) if project is not None else ()
    number = 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
            new, old = Path(place) / "new", Path(place) / "old"
            for path, content in everything(site, scenarios, docs):
                number += 1
                file = new / path
                file.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    shutil.copyfile(content, file)
                else:
                    file.write_bytes(content if isinstance(content, bytes) else content.encode())
            if out.exists():
                out.rename(old)
            new.rename(out)
    except OSError as error:
        raise atomic.unwritable(out, error) from None
    return number
