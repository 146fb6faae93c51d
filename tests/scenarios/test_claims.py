"""Every figure of an article's results is in its ledger, or in the list of what is no claim.

What is known of the articles is not in the repository: it lies beside the published raw data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

SCENARIOS = Path(__file__).parents[2] / "scenarios"
NOT_CLAIMS = yaml.safe_load(Path(__file__).with_name("not_claims.yaml").read_text("utf-8"))
_FIGURE = re.compile(
    r"(?<![\w.№@#/-])[-+±≈\u2212]?"  # no part of a name, a path or a version
    r"(\d{1,3}(?:[, ]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w]*[A-Za-z]{3,})"
)
_RESULTS = re.compile(r"## \d+\. .*([Rr]esult|Tables of numbers|Headlines vs)")
_COUNTED = ("claimed", "recorded", "derived", "expect", "where", "formula", "diverges", "value")
_TOO_SMALL = 13  # a whole number below it would be found anywhere
_SCALES = (1, 100, 0.01, 1000, 0.001, 1e6, 1e-6)  # a share as %, a thousand as k, a million as M


@pytest.fixture(scope="module")
def cards() -> Path:
    """The folder of what is known of each article."""
    given = os.environ.get("HARNESS_EVIDENCE_DIR")
    folder = Path(given).parent / "articles" if given else None
    if folder is None or not folder.is_dir():
        pytest.skip("what is known of the articles is not beside HARNESS_EVIDENCE_DIR")
    return folder


def results(card: Path) -> list[str]:
    """Return the lines of the sections that hold results, their headings left out."""
    lines, is_result = [], False
    for line in card.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            is_result = bool(_RESULTS.match(line))
        elif is_result and not line.startswith("#"):
            lines.append(line)
    return lines


def figures(text: str) -> Iterator[str]:
    for match in _FIGURE.finditer(text):
        digits = re.sub("[, ]", "", match.group(1))
        if "." in digits or int(digits) >= _TOO_SMALL:
            yield digits


def ledger(name: str) -> set[float]:
    """Return every number that an entry claims, holds, derives or expects; not those of prose."""
    (path,) = SCENARIOS.glob(f"{name}-*/expectations.yaml")
    known: set[float] = set()

    def walk(value: Any, *, counts: bool) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                walk(each, counts=counts or key in _COUNTED)
        elif isinstance(value, list):
            for each in value:
                walk(each, counts=counts)
        elif counts and isinstance(value, int | float) and not isinstance(value, bool):
            known.add(abs(float(value)))
        elif counts and isinstance(value, str):
            known.update(float(each) for each in figures(value))

    walk(yaml.safe_load(path.read_text(encoding="utf-8")), counts=False)
    return known


def is_in(figure: str, known: set[float]) -> bool:
    """Whether a number of the ledger rounds to a figure as it is written."""
    decimals = len(figure.partition(".")[2])
    slack = 10.0**-decimals / 2 * (1 + 1e-9)
    return any(abs(scale * each - float(figure)) <= slack for each in known for scale in _SCALES)


@pytest.mark.parametrize("name", sorted(NOT_CLAIMS))
def test_every_figure_is_a_claim_or_said_to_be_none(name: str, cards: Path) -> None:
    known, rules = ledger(name), {each["line"]: 0 for each in NOT_CLAIMS[name]}
    missing = []
    for line in results(cards / f"{name}.md"):
        absent = [each for each in figures(line) if not is_in(each, known)]
        rule = next((each for each in rules if re.search(each, line)), None)
        if absent and rule is not None:
            rules[rule] += len(absent)
        elif absent:
            missing.append(f"{', '.join(absent)}: {line[:100]}")
    assert not missing
    assert not [rule for rule, count in rules.items() if not count], "rules that exempt nothing"


def test_every_article_is_counted(cards: Path) -> None:
    assert {*NOT_CLAIMS} == {each.stem for each in cards.glob("a[1-9]*.md")}


def test_a_figure_is_found_as_it_is_rounded_and_scaled() -> None:
    assert [*figures("5.00 to 4.61 (\u22120.39), 12 of 1,234; +3.1 pp, v1.5.2 @7 step-45")] == [
        "5.00",
        "4.61",
        "0.39",
        "1234",
        "3.1",
    ]
    assert is_in("43.7", {69 / 158})
    assert is_in("12.8", {12816.0})
    assert not is_in("12.80", {12816.0})
