"""Every sentence about results in a README is what the published verdicts and figures say.

In the README of a scenario only the section "Results" says what came out. Each of its paragraphs
ends with a comment, which people do not see and this test evaluates::

    <!-- entry sft.stops_vanish; figure agent.turns policy=sft -->

A clause names what the paragraph rests on, in the published results of the cpu profile:

- ``entry ID``: the entry was REPRODUCED;
- ``figure METRIC key=value ...``: the mean of that figure, over all runs that match;
- ``paired METRIC key=value than key=value``: the mean difference over seeds, and its 95 % t reach;
- ``given NUMBER WHOSE``: a number that is no result, of the article, the ledger or a test;
- ``told METRIC ... where key=value: SIGNIFICANT of TESTS``: so many of these p-values are below
  0.05 with Holm's correction over all of them; lines before say which.

Every number of the paragraph that has a decimal point or a unit must be one of these figures.

The README of the project shows what the program printed and one entry of a ledger, and says what
that entry means. Nothing else in it speaks of results.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from harness.records import Profile
from harness.results.store import RunStore
from harness.statistics import ALPHA, holm, sample, t_quantile

ROOT = Path(__file__).parents[2]
READMES = sorted((ROOT / "scenarios").glob("*/README.md"))
WITH_RESULTS = [path for path in READMES if "\n## Results\n" in path.read_text(encoding="utf-8")]
_CLAUSES = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
_SHOWN = re.compile(r"(?<![\w/])(\d+\.\d+)(?![\w/])|(?<![\w/.])(\d+)(?= (?:%|points|nats))")
_RESULT_WORDS = re.compile(
    r"significant|\b(raises?|rose|falls?|fell|restores?|shortens?|improves?|worse|learns?)\b|\d %"
)
Row = tuple[int, dict[str, Any], Any]  # seed, params and row keys, value


@cache
def published(scenario: str) -> tuple[dict[str, str], dict[str, list[Row]]]:
    """Return verdicts by entry, and rows by metric, of the published cpu profile."""
    folder = ROOT / "results" / scenario
    with (folder / "cpu.ledger.csv").open(encoding="utf-8") as file:
        verdicts = {row["id"]: row["verdict"] for row in csv.DictReader(file)}
    rows: dict[str, list[Row]] = {}
    for run in RunStore(ROOT / "results").runs(scenario, Profile.CPU):
        for each in run.measurements:
            keys = {**run.spec.params, **each.where}
            rows.setdefault(each.metric, []).append((run.spec.seed, keys, each.value))
    return verdicts, rows


def matching(scenario: str, metric: str, words: list[str]) -> list[Row]:
    wanted = dict(word.split("=") for word in words)
    rows = published(scenario)[1].get(metric, [])
    keyed = [(seed, {**keys, "seed": seed}, value) for seed, keys, value in rows]
    found = [row for row in keyed if all(str(row[1].get(key)) == wanted[key] for key in wanted)]
    assert found, f"{scenario} published no {metric} {' '.join(words)}"
    return found


def evaluated(scenario: str, clause: str) -> list[float]:
    """Return the figures that a clause gives; it fails where the clause does not hold."""
    kind, *words = clause.replace(":", " :").split()
    if kind == "entry":
        assert published(scenario)[0][words[0]] == "REPRODUCED", words[0]
        return []
    if kind == "given":
        return [float(words[0])]
    if kind == "figure":
        return [fmean(value for _, _, value in matching(scenario, words[0], words[1:]))]
    if kind == "paired":
        at = words.index("than")
        one, other = (
            {seed: value for seed, _, value in matching(scenario, words[0], part)}
            for part in (words[1:at], words[at + 1 :])
        )
        assert one.keys() == other.keys()
        seen = sample([one[seed] - other[seed] for seed in sorted(one)])
        return [seen.mean, t_quantile(1 - ALPHA / 2, seen.count - 1) * seen.standard_error]
    assert kind == "told", clause
    at, end = words.index("where"), words.index(":")
    p_values = [
        value
        for metric in words[:at]
        for _, _, value in matching(scenario, metric, words[at + 1 : end])
    ]
    significant, tests = int(words[end + 1]), int(words[end + 3])
    assert len(p_values) == tests
    assert sum(p < ALPHA for p in holm(p_values)) == significant
    return []


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of the section on results, tables whole."""
    _, _, after = text.partition("\n## Results\n")
    section = after.partition("\n## ")[0]
    yield from (part.strip() for part in re.split(r"\n\n+", section) if part.strip())


def test_some_readmes_speak_of_results() -> None:
    assert WITH_RESULTS


@pytest.mark.parametrize("path", WITH_RESULTS, ids=lambda path: path.parent.name.partition("-")[0])
def test_results_are_those_published(path: Path) -> None:
    scenario = path.parent.name
    found = [*paragraphs(path.read_text(encoding="utf-8"))]
    assert found, "no section 'Results'"
    for part in found:
        clauses = [each for comment in _CLAUSES.findall(part) for each in comment.split(";")]
        assert clauses, f"nothing is named that this rests on: {part[:80]}"
        figures = [value for clause in clauses for value in evaluated(scenario, clause.strip())]
        for match in _SHOWN.finditer(_CLAUSES.sub("", part)):
            shown = match.group(1) or match.group(2)
            slack = 10.0 ** -len(shown.partition(".")[2]) / 2 * (1 + 1e-9)
            assert any(abs(abs(each) - float(shown)) <= slack for each in figures), (
                f"{shown} is none of {figures}: {part[:80]}"
            )


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name.partition("-")[0])
def test_nothing_else_speaks_of_results(path: Path) -> None:
    before, _, after = path.read_text(encoding="utf-8").partition("\n## Results\n")
    elsewhere = before + (after.partition("\n## ")[2] if "\n## " in after else "")
    assert not _RESULT_WORDS.search(elsewhere)


_CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def entry_of_the_readme() -> tuple[str, str]:
    """Return the entry that the project's README shows, and the prose that is said of it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## The claim ledger\n")[2].partition("\n## ")[0]
    return section.partition("```yaml\n")[2].partition("```")[0], _CODE.sub("", section)


def test_the_readme_says_of_its_entry_what_the_entry_says() -> None:
    shown, prose = entry_of_the_readme()
    (entry,) = yaml.safe_load(shown)[0]["entries"]
    claimed, derived = entry["claimed"]["value"], entry["derived"]
    figures = [100 * (claimed - 1), 100 * (derived - 1), derived, entry["expect"]["abs"]]
    said = [match.group(1) or match.group(2) for match in _SHOWN.finditer(prose)]
    assert len(said) >= len(figures)
    for each in said:
        slack = 10.0 ** -len(each.partition(".")[2]) / 2 * (1 + 1e-9)
        assert any(abs(figure - float(each)) <= slack for figure in figures), each


def test_nothing_else_in_the_readme_speaks_of_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, after = readme.partition("\n## The claim ledger\n")
    elsewhere = _CODE.sub("", before + after.partition("\n## ")[2])
    assert not _RESULT_WORDS.search(elsewhere)


def test_the_excerpt_in_the_readme_is_what_the_program_printed() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    excerpt = readme.partition("```text\n")[2].partition("```")[0]
    printed = (ROOT / "docs/images/a19-evidence.txt").read_text(encoding="utf-8").splitlines()
    shown = [line.rstrip() for line in excerpt.splitlines() if line.strip() not in ("", "...")]
    assert not {*shown} - {line.rstrip() for line in printed}


def test_the_entry_in_the_readme_is_the_ledgers() -> None:
    block, _ = entry_of_the_readme()
    ledger = (ROOT / "scenarios/a19-gb10-pretrain-envelope/expectations.yaml").read_text("utf-8")
    assert block.strip().splitlines()
    assert not {*block.splitlines()} - {*ledger.splitlines()}
