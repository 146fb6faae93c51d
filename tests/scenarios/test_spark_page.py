"""Every file, test and session that docs/spark.md names is there, and every trap has an answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/spark.md").read_text(encoding="utf-8")
_PATH = re.compile(r"`((?:harness|tests|scenarios|requirements|containers|docs)/[^` ]*)`")
_SESSION = re.compile(r"`nox -s (\w[\w-]*)`")
TRAPS = PAGE.partition("| trap |")[2].splitlines()[2:]


@pytest.mark.parametrize("path", sorted({*_PATH.findall(PAGE)}))
def test_a_file_that_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", sorted({*_SESSION.findall(PAGE)}))
def test_a_session_that_it_names_is_there(name: str) -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert f"def {name}(session" in noxfile


@pytest.mark.parametrize("row", TRAPS)
def test_a_trap_is_shown_by_a_test_or_says_why_not(row: str) -> None:
    trap, handled, shown = (cell.strip() for cell in row.strip("|").split("|"))
    assert trap
    assert handled
    is_tested = any(path.startswith("tests/") for path in _PATH.findall(shown))
    assert is_tested or "needs" in shown or shown == "open", trap
