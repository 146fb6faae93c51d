"""A rollout is what a model wrote: whatever it is, a page shows it, as text and not too much."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.records import (
    FinishedRun,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    StepTaken,
    Usage,
)
from harness.results.store import RunStore
from harness.site.build import Site
from harness.site.transcripts import (
    MOST_CHARACTERS,
    MOST_ROLLOUTS,
    MOST_TURNS,
    TranscriptLog,
    read_log,
    transcript,
    transcript_logs,
)

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NASTY = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</pre></details></main>",
            '" onmouseover="alert(1)',
            "\x1b]0;owned\x07\x1b[2J",
            "\u202eevil\u2069",
            "{{ 7 * 7 }}{% raw %}",
            "a\nb\rc\u2028d",
            "\ud800",
        ]
    ),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | NASTY,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
TURN = st.fixed_dictionaries(
    {},
    optional={
        "response": NASTY | JSON,
        "action": st.fixed_dictionaries({"command": NASTY}) | JSON,
        "observation": st.fixed_dictionaries({"stdout": NASTY, "stderr": NASTY}) | JSON,
        "parse_error": NASTY,
    },
)
ROLLOUT = st.fixed_dictionaries(
    {},
    optional={
        "task_id": NASTY | JSON,
        "policy": NASTY | JSON,
        "reward": JSON,
        "turn_rewards": JSON,
        "stop_reason": NASTY,
        "error": NASTY | JSON,
        "trace": JSON,
        "episode": st.fixed_dictionaries({"turns": st.lists(TURN, max_size=3)})
        | st.fixed_dictionaries({"calls": st.lists(JSON, max_size=3), "answer": JSON})
        | JSON,
    },
)


class Shape(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def page_of(log: TranscriptLog) -> str:
    site = Site(made="", navigation=(), has_search=False)
    return site.page("rollouts.html", "site-transcripts.html.j2", "Rollouts", log=log)


@settings(max_examples=50)
@given(ROLLOUT)
def test_whatever_a_rollout_holds_is_shown_as_text(rollout: dict[str, Any]) -> None:
    shown = transcript(rollout, [0.0, 1.0])
    text = page_of(
        TranscriptLog(step="train", run="0", transcripts=(shown,), num_rollouts=1, damaged="")
    )
    assert not CONTROLS.search(text)
    found = Shape(text)
    assert found.tags <= {
        *("html", "head", "meta", "title", "link", "script", "body", "a", "div", "nav", "ul", "li"),
        *("main", "header", "h1", "h3", "p", "code", "details", "summary", "section", "span"),
        *("pre", "footer"),
    }
    assert not {name for name in found.attributes if name.startswith("on")}
    assert text.count("<script") == 1  # the search, which the site brings


@settings(max_examples=25)
@given(st.lists(ROLLOUT, max_size=3), st.binary(max_size=40))
def test_a_log_with_a_torn_end_is_shown_up_to_there(
    tmp_path_factory: pytest.TempPathFactory, rollouts: list[dict[str, Any]], torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "rollouts.jsonl"
    lines = [json.dumps(each).encode() + b"\n" for each in rollouts]
    path.write_bytes(b"".join([*lines, b"{", torn]))
    log = read_log(path, "train", "0")
    assert log.num_rollouts >= len(rollouts), log.damaged
    assert log.damaged.startswith("line ")
    page_of(log)


def test_what_is_long_is_cut_and_says_so(tmp_path: Path) -> None:
    turn = {"response": "x" * 3_000_000, "observation": {"stdout": "y\n" * 2_000_000}}
    rollout = {"task_id": "t" * 10_000, "episode": {"turns": [turn] * 500}}
    path = tmp_path / "rollouts.jsonl"
    path.write_text(json.dumps({"task_id": "t", "episode": {"turns": [turn]}}) + "\n")
    log = read_log(path, "train", "0")
    (part, *_) = log.transcripts[0].turns[0].parts
    assert part.text.startswith("x" * MOST_CHARACTERS)
    assert part.text.endswith("[2,996,000 more characters]")
    shown = transcript(rollout)
    assert (len(shown.turns), shown.left_out) == (MOST_TURNS, 500 - MOST_TURNS)
    assert len(shown.task) <= 200


def test_a_page_holds_a_bounded_number_of_rollouts(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(json.dumps({"task_id": str(n)}) + "\n" for n in range(200)))
    log = read_log(path, "train", "0")
    assert (len(log.transcripts), log.num_rollouts) == (MOST_ROLLOUTS, 200)
    assert "200 rollouts, the first 40 shown" in page_of(log)


def test_the_advantage_is_the_rewards_distance_from_its_group(tmp_path: Path) -> None:
    def rollout(task: str, reward: float | None) -> str:
        return json.dumps({"task_id": task, "policy": "p", "reward": reward}) + "\n"

    path = tmp_path / "rollouts.jsonl"
    given = [("a", 1.0), ("a", 0.0), ("a", None), ("b", 0.5), ("b", 0.5), ("c", 0.5)]
    path.write_text("".join(rollout(*each) for each in given))
    found = [each.advantage for each in read_log(path, "train", "0").transcripts]
    assert found == [1.0, -1.0, None, None, None, None]


def test_a_turn_shows_reply_command_output_and_grade() -> None:
    rollout = {
        "task_id": "t",
        "policy": "full-1",
        "sample": 2,
        "stop_reason": "max_turns",
        "reward": 0.5,
        "turn_rewards": [0.25],
        "episode": {
            "turns": [
                {
                    "response": "I will look.",
                    "action": {"kind": "command", "command": "ls"},
                    "observation": {
                        "exit_code": 2,
                        "stdout": "a",
                        "stderr": "b",
                        "timed_out": True,
                    },
                }
            ],
            "grade": {
                "results": [
                    {"kind": "file_exists", "path": "x", "passed": True, "detail": ""},
                    {"kind": "file_exists", "path": "y", "passed": False, "detail": "is not there"},
                ]
            },
        },
        "trace": {"turns": [{"reply": [1, 2, 3], "entropy": 0.5}]},
    }
    shown = transcript(rollout, [0.5, 0.0])
    parts = [(part.label, part.text) for part in shown.turns[0].parts]
    assert parts == [
        ("reply", "I will look."),
        ("command", "ls"),
        ("output", "a"),
        ("errors", "b"),
        ("", "exit code 2, timed out"),
    ]
    assert shown.verdict == "1 of 2 assertions hold"
    assert (shown.turns[0].num_tokens, shown.turns[0].entropy, shown.advantage) == (3, 0.5, 1.0)
    search = transcript(
        {"episode": {"calls": [{"query": "q", "passages": ["p"]}], "answer": "x", "is_right": True}}
    )
    assert [part.text for turn in search.turns for part in turn.parts] == ["q", "p", "x"]
    assert search.verdict == "right"


def test_the_rollouts_of_a_run_are_found_by_the_steps_that_it_took(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    steps = [
        StepTaken(name="train.full.1", key="aaaa"),
        StepTaken(name="sft", key="bbbb"),
        StepTaken(name="train.full.1", key="aaaa"),
    ]
    log = store.artefacts.files("aaaa") / "rollouts.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"task_id": "t", "policy": "full-1"}\n')
    spec = RunSpec(scenario="s", profile=Profile.CPU, workload="w", params={})
    outcome = RunOutcome(
        status=Status.FINISHED,
        runtime="local",
        device="box",
        usage=Usage(wall_s=1.0),
        steps=tuple(steps),
    )
    run = FinishedRun(spec=spec, outcome=outcome, measurements=(), environment={})
    (found,) = transcript_logs([run, run], store)
    assert (found.step, found.run) == ("train.full.1", spec.run_id)
    assert [each.policy for each in found.transcripts] == ["full-1"]
