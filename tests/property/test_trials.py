"""What holds for any text, any number of writers, and a kill at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.workloads.trials.escape import escape, unescape
from harness.workloads.trials.history import History
from harness.workloads.trials.render import Briefing, render
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import LAYOUTS, PRETRAINING, Label, Layout, Trial
from harness.workloads.trials.tsv import line_of, rows_of

# every character there is, the harmful ones often
TEXTS = st.text(
    st.one_of(
        st.characters(codec=None, exclude_categories=()),
        st.sampled_from("\t\n\r\"'\\\x00\x1b\x85\u2028\u202e\u200b\ufeff\u241b{0a}\ud800\udcff|`"),
    ),
    max_size=30,
)
FIGURES = st.none() | st.floats(allow_nan=False, allow_infinity=False)
LABELS = st.sampled_from([label for label in Label if label is not Label.UNKNOWN])
TEXTUAL = ("timestamp", "specialist", "domain", "hypothesis", "expected_delta", "job_name", "notes")
COUNTED = ("artifact_bytes", "n_seeds")


@st.composite
def rows(draw: st.DrawFn) -> tuple[Layout, list[Trial]]:
    layout = draw(st.sampled_from(LAYOUTS))
    kinds: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(TEXTUAL, TEXTS)
    kinds |= dict.fromkeys(layout.columns[9:-3], FIGURES)
    kinds |= {name: st.none() | st.integers(0, 2**53) for name in COUNTED if name in kinds}
    ids = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=5, unique=True))
    trials: list[Trial] = []
    for exp_id in ids:
        parent = draw(st.sampled_from(["", *(trial.exp_id for trial in trials)]))
        cells = {name: draw(kind) for name, kind in kinds.items()}
        trials.append(Trial(exp_id=exp_id, parent_exp=parent, status=draw(LABELS), **cells))
    return layout, trials


@given(TEXTS)
def test_an_escaped_text_is_one_visible_line_and_comes_back(text: str) -> None:
    line = escape(text)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    line.encode()
    assert unescape(line) == text


@given(TEXTS)
def test_no_text_of_another_writer_is_changed_but_what_reads_as_an_escape(text: str) -> None:
    assert unescape(text) == text or "\u241b{" in text


@given(st.lists(st.lists(TEXTS.map(escape), min_size=2, max_size=4), max_size=5))
def test_lines_are_cut_where_they_were_joined(cells: list[list[str]]) -> None:
    lines = b"".join(line_of(row) for row in cells)
    assert lines.count(b"\n") == len(cells)
    assert [row for _, row in rows_of(lines, Path("any"))] == cells


@settings(max_examples=40, deadline=None)
@given(rows())
def test_what_is_appended_is_what_is_read(given_rows: tuple[Layout, list[Trial]]) -> None:
    layout, trials = given_rows
    with TemporaryDirectory() as folder:
        path = Path(folder) / "results.tsv"
        store = TrialStore(path, layout)
        for trial in trials:
            store.append(trial)
        again = TrialStore(path, layout)
        assert store.history().trials == again.history().trials == trials
        assert not again.damage()
        assert path.read_bytes().count(b"\n") == len(trials) + 1


@settings(max_examples=30, deadline=None)
@given(rows(), TEXTS)
def test_a_briefing_is_the_same_for_the_same_rows_and_holds_no_hidden_character(
    given_rows: tuple[Layout, list[Trial]], specialist: str
) -> None:
    layout, trials = given_rows
    text = render(History(layout, trials), Briefing(specialist=specialist))
    assert text == render(History(layout, list(trials)), Briefing(specialist=specialist))
    seen = text.replace("\n", "").replace("\u241b", "")
    assert escape(seen) == seen
    assert text.splitlines() == text.split("\n")[:-1]


@given(rows())
def test_the_best_is_a_baseline_or_a_keep_that_nothing_valid_beats(
    given_rows: tuple[Layout, list[Trial]],
) -> None:
    layout, trials = given_rows
    valid = [trial for trial in trials if trial.status in (Label.BASELINE, Label.KEEP)]
    costs = [cost for trial in valid if (cost := layout.cost_of(trial)) is not None]
    best = History(layout, trials).best()
    if best is None:
        assert not costs
    else:
        assert best in valid
        assert layout.cost_of(best) == min(costs)


# --- processes ------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import Label, Trial
path, name, count, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = TrialStore(path)
for n in range(count):
    text = f"{name}-{n}|" + "x" * size
    store.append(Trial(exp_id=f"{name}-{n}", status=Label.DISCARD, hypothesis=text, notes=text))
    print(n, flush=True)
"""


@contextmanager
def writers(
    path: Path, number: int, count: int, size: int
) -> Iterator[list[subprocess.Popen[str]]]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"w{each}", str(count), str(size)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        for each in range(number)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def check_whole(path: Path) -> set[str]:
    """Return the ids in the file; every row must be exactly what its writer wrote."""
    store = TrialStore(path)
    trials = store.history().trials
    assert not store.damage()
    for trial in trials:
        assert trial.hypothesis == trial.notes
        assert trial.hypothesis.startswith(f"{trial.exp_id}|")
        assert set(trial.hypothesis.partition("|")[2]) <= {"x"}
    return {trial.exp_id for trial in trials}


def test_no_row_of_writers_at_once_is_lost_or_mixed(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    with writers(path, number=4, count=60, size=3000) as processes:
        for process in processes:
            process.communicate()
            assert process.returncode == 0
    assert check_whole(path) == {f"w{each}-{n}" for each in range(4) for n in range(60)}
    assert path.read_bytes().count(b"\n") == 4 * 60 + 1


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_at_any_moment_leaves_whole_rows_only(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "results.tsv"
    told: dict[str, int] = {}
    with writers(path, number=3, count=100_000, size=60_000) as processes:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"
        time.sleep(random.Random(seed).uniform(0.0, 0.15))  # noqa: S311 - a moment, not a secret
        for number, process in enumerate(processes):
            process.send_signal(signal.SIGKILL)
            output, _ = process.communicate()
            told[f"w{number}"] = max(map(int, output.split()), default=0)
    ids = check_whole(path)
    for name, last in told.items():  # what append returned from is there, and no gap before it
        written = {exp_id for exp_id in ids if exp_id.startswith(f"{name}-")}
        assert len(written) in (last + 1, last + 2)
        assert written == {f"{name}-{n}" for n in range(len(written))}
    survivor = TrialStore(path)
    survivor.append(Trial(exp_id="after", status=Label.KEEP, core_metric=1.0))
    content = path.read_bytes()
    assert content.endswith(b"\n")
    assert content.count(b"\n") == len(ids) + 2
    assert [trial.exp_id for trial in TrialStore(path, PRETRAINING).history().trials][-1] == "after"
