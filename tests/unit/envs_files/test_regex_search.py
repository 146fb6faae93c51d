from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from harness.errors import HostError
from harness.workloads.envs.files import grade as grading
from harness.workloads.envs.files import regex_check as witness
from harness.workloads.envs.files import regex_search as searching
from harness.workloads.envs.files.grade import grade
from harness.workloads.envs.files.lint import LintRule, lint_task
from harness.workloads.envs.files.regex_check import stalls
from harness.workloads.envs.files.regex_search import MAX_CHARS, Found, search
from tests.unit.envs_files.conftest import Make
from tests.unit.envs_files.test_grade import GUIDE

ENDLESS = r"^(a+)+$"
TRAP = "a" * 60 + "b"
QUICK_S = 0.05


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        (r"^b", "a\nb"),
        (r"(?m)^b", "a\nb"),
        (r"a{e<=1}", "a"),  # another package's syntax; Python's takes it as letters
        (r"\w+", "žluťoučký"),
        (r"a++b", "aaab"),
        ("\ud800", "x\ud800"),
        (r"$", ""),
    ],
)
def test_a_pattern_is_found_where_python_finds_it(regex: str, text: str) -> None:
    expected = Found.YES if re.search(regex, text) else Found.NO
    assert search(regex, [text]) is expected


def test_any_of_the_texts_will_do() -> None:
    assert search("c", ["a", "b", "c"]) is Found.YES
    assert search("c", []) is Found.NO


@pytest.mark.parametrize("regex", ["(", "a{3,1}", "(?P<a>.)(?P<a>.)", "a{99999999999999999999}"])
def test_what_is_no_pattern_is_said_to_be_none(regex: str) -> None:
    assert search(regex, ["a"]) is Found.NO_PATTERN


@pytest.mark.parametrize(
    ("regex", "text"), [(ENDLESS, TRAP), (r"(x+x+)+y", "x" * 60), (r"(?:a|aa)+$", TRAP)]
)
def test_a_search_that_would_never_end_does(regex: str, text: str) -> None:
    began = time.monotonic()
    assert search(regex, [text], QUICK_S) is Found.TOO_SLOW
    assert time.monotonic() - began < 20 * QUICK_S
    assert search("a", ["a"]) is Found.YES


@pytest.mark.parametrize("regex", [r"[^x]*y", r"\w*\d", r"a*b", r".*?y"])
def test_a_search_that_looks_for_no_signal_is_ended_all_the_same(regex: str) -> None:
    began = time.monotonic()
    assert search(regex, ["a" * MAX_CHARS], QUICK_S) is Found.TOO_SLOW
    assert time.monotonic() - began < 40 * QUICK_S


def test_a_text_that_is_too_long_is_not_searched(make: Make) -> None:
    assert search("a", ["a" * (MAX_CHARS + 1)]) is Found.TOO_LONG
    (result,) = grade(make(matching("a")), {GUIDE: b"a" * (MAX_CHARS + 1)}).results
    assert (result.passed, result.detail) == (False, "is too long for a regex")


def test_a_slow_search_keeps_nobody_waiting() -> None:
    slow = Thread(target=search, args=(ENDLESS, [TRAP], 2.0))
    slow.start()
    for _ in range(3):
        assert search("a", ["a"]) is Found.YES
        assert slow.is_alive()
    slow.join()


def test_threads_ask_at_once() -> None:
    found: dict[int, Found] = {}

    def ask(number: int) -> None:
        found[number] = search(f"^{number}$", [str(number % 4)])

    threads = [Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] is Found.YES for number in range(8)] == [True] * 4 + [False] * 4


def test_one_that_was_ended_is_started_again() -> None:
    searcher = searching._Searcher()
    question = '{"regex": "a", "texts": ["a"], "limit_s": 1.0}\n'
    assert searcher.ask(question) is Found.YES
    process = searcher._process
    assert process is not None
    process.kill()
    process.wait()
    assert searcher.ask(question) is Found.YES
    searcher.end()


def test_one_that_cannot_start_is_no_grade(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "child.py"
    broken.write_text("raise SystemExit(3)")
    monkeypatch.setattr(searching, "_CHILD", broken)
    with pytest.raises(HostError, match="ended with 3"):
        searching._Searcher().ask("{}\n")


_ASKS_AND_WAITS = """
from harness.workloads.envs.files import regex_search as searching
searching.search("a", ["a"])
searcher = searching._idle.get()
searching._idle.put(searcher)
print(searcher._process.pid, flush=True)
searching.search(r"^(a+)+$", ["a" * 60 + "b"], 1.0)
"""


def test_nothing_is_left_when_whoever_asks_is_killed(project_root: Path) -> None:
    command = [sys.executable, "-c", _ASKS_AND_WAITS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=project_root) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return facts.rpartition(")")[2].split()[0] != "Z"  # ended, and nobody has looked


# --- What it is for -----------------------------------------------------------------------------


def matching(regex: str) -> dict[str, str]:
    return {"kind": "file_contents_match_regex", "path": GUIDE, "regex": regex}


def test_an_assertion_that_takes_too_long_does_not_hold(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading, "search", partial(search, limit_s=QUICK_S))
    task = make(matching(ENDLESS))
    (result,) = grade(task, {GUIDE: TRAP.encode()}).results
    assert (result.passed, result.detail) == (False, "the regex takes too long")


@pytest.mark.parametrize(
    "regex", [ENDLESS, r"Guide(\w+\s?)+;", r"(x+x+)+y", r"id: (([a-z])+.)+[A-Z]"]
)
def test_a_pattern_that_can_stall_is_found_before(
    regex: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "search", partial(search, limit_s=QUICK_S))
    assert stalls(regex)
    assert LintRule.SLOW in {each.rule for each in lint_task(make(matching(regex)))}


@pytest.mark.parametrize("regex", [r"# Guide", r"^v\d+\.\d+$", r"(a|b)*c", r"\w+@\w+", "("])
def test_ordinary_patterns_do_not_stall(regex: str) -> None:
    assert not stalls(regex)
