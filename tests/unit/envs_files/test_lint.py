from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.workloads.envs.files.lint import LintRule, lint, lint_task, linted
from harness.workloads.envs.files.regex_check import satisfiable
from tests.unit.envs_files.conftest import Make
from tests.unit.envs_files.test_grade import GUIDE, contain, match, simple

PNG = "images/diag.png"
MOVED = simple("file_exists", "manual/guide.md")
GONE = simple("file_not_exists", GUIDE)

FAULTY: dict[str, tuple[list[dict[str, Any]], LintRule, int | None]] = {
    "there already": ([MOVED, simple("file_exists", GUIDE)], LintRule.TRUE_AT_START, 1),
    "never there": ([MOVED, simple("file_not_exists", "x")], LintRule.TRUE_AT_START, 1),
    "text already there": ([MOVED, contain("old")], LintRule.TRUE_AT_START, 1),
    "pattern already there": ([MOVED, match("o.d")], LintRule.TRUE_AT_START, 1),
    "stub unchanged": ([MOVED, simple("file_unchanged", PNG)], LintRule.UNCOMPARED, 1),
    "text of a stub": ([MOVED, contain("x", path=PNG)], LintRule.STUB_TEXT, 1),
    "no text matches": ([MOVED, match("^a$\n^b", path="n")], LintRule.UNSATISFIABLE, 1),
    "twice": ([MOVED, GONE, MOVED], LintRule.DUPLICATE, 2),
    "there and not": ([GONE, simple("file_exists", GUIDE)], LintRule.CONTRADICTION, 1),
    "in what is gone": (
        [simple("file_not_exists", "docs"), contain("x")],
        LintRule.CONTRADICTION,
        1,
    ),
    "unchanged, yet gone": (
        [GONE, simple("file_unchanged", GUIDE)],
        LintRule.CONTRADICTION,
        1,
    ),
    "unchanged, yet new": (
        [simple("file_unchanged", GUIDE), contain("new")],
        LintRule.CONTRADICTION,
        1,
    ),
    "unchanged, yet matching": (
        [match("^new"), simple("file_unchanged", GUIDE)],
        LintRule.CONTRADICTION,
        1,
    ),
    "file with something in it": (
        [contain("x", path="n"), simple("file_exists", "n/m")],
        LintRule.CONTRADICTION,
        1,
    ),
    "only one": ([MOVED], LintRule.COUNT, None),
    "seven": ([simple("file_exists", f"n{n}") for n in range(7)], LintRule.COUNT, None),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_found_where_it_is(make: Make, name: str) -> None:
    assertions, rule, index = FAULTY[name]
    found = lint_task(make(*assertions))
    assert (rule, index) in {(finding.rule, finding.assertion) for finding in found}, found


def test_a_sound_task_has_no_finding(make: Make) -> None:
    task = make(MOVED, GONE, contain("new", path="n.md"), match(r"^\w+ \d{2,}$", path="m.md"))
    assert lint([task]) == ()


def test_a_file_kept_as_it_is_is_no_fault(make: Make) -> None:
    assert lint_task(make(MOVED, simple("file_unchanged", GUIDE))) == ()


def test_a_stub_may_be_unchanged_and_gone_as_far_as_the_grader_sees(make: Make) -> None:
    task = make(simple("file_not_exists", PNG), simple("file_unchanged", PNG))
    assert [finding.rule for finding in lint_task(task)] == [LintRule.UNCOMPARED]


def test_faulty_assertions_are_left_out(make: Make) -> None:
    task = make(MOVED, MOVED, simple("file_unchanged", PNG), GONE)
    assert linted(task).assertions == (task.assertions[0], task.assertions[3])


def test_the_same_task_twice_is_found_across_tasks(make: Make) -> None:
    one = make(MOVED, GONE)
    other = replace(make(GONE, MOVED), task_id="synth-technical-writer-01")
    third = replace(make(GONE, contain("x", path="n")), task_id="synth-technical-writer-02")
    found = lint([one, other, third])
    assert [(each.rule, each.task_id) for each in found] == [
        (LintRule.DUPLICATE_TASK, "synth-technical-writer-01")
    ]


@pytest.mark.parametrize(
    "regex",
    [
        *("a", "", r"\bfoo\b.*\d{3,}[^a-z]", r"(a|b)+\1", "(?=.*foo)(?=.*bar)", "[é-ü]", "(?<=a)b"),
        *("^(?!.*foo).*$", r"(?m)^FROM python:3\.12$", r"(?i)hello\s+WORLD", r"\Ax\Z", "a*?b++"),
        *(
            r"[^\w\s]",
            "(?P<n>a)(?P=n)",
            "(?>ab)c",
            "^(?=.*foo)x",
            "(?!a)a",
            "((((a)))){3}",
            r"\nchecked \w+\n\Z",
            "a|$b",
        ),
    ],
)
def test_a_pattern_that_can_match_is_left_alone(regex: str) -> None:
    assert satisfiable(regex)


@pytest.mark.parametrize("regex", ["$a", "a^", r"x\by", r"[^\w\W]", "a$b|^\n^", "(", "b\\A"])
def test_a_pattern_that_cannot_match_is_found(regex: str) -> None:
    assert not satisfiable(regex)
