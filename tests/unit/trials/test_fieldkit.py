"""The author's own library and this store read each other's files.

``fieldkit`` is an optional package of the tests, with a session of its own: ``nox -s fieldkit``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness.workloads.trials.escape import escape
from harness.workloads.trials.render import Briefing, render
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import PRETRAINING, Label, Trial

lineage: Any = pytest.importorskip(
    "fieldkit.lineage", reason="the author's library is not installed: nox -s fieldkit"
)

PLAIN = 'a "quoted" \\n pipe | λ Δ 中文, 100 % '
ROWS = (
    Trial(exp_id="000", status=Label.BASELINE, core_metric=33.21, hypothesis=PLAIN),
    Trial(exp_id="001", parent_exp="000", status=Label.KEEP, core_metric=34.02, delta_vs_best=0.81),
    Trial(exp_id="002", parent_exp="001", status=Label.DISCARD, core_metric=33.74, notes=PLAIN),
    Trial(exp_id="003", parent_exp="001", status=Label.CRASH, train_s=1e-05, total_s=12540.0),
)


def theirs(trial: Trial) -> Any:
    row = {name: getattr(trial, name) for name in PRETRAINING.columns}
    return lineage.Trial(**{**row, "status": lineage.FailureLabel(trial.status.value)})


def ours(trial: Any) -> Trial:
    return Trial(**{**asdict(trial), "status": Label(trial.status.value)})


def test_the_columns_and_labels_are_the_same() -> None:
    assert lineage.Trial.header() == PRETRAINING.columns
    known = {label.value for label in Label} - {Label.UNKNOWN.value}
    assert {label.value for label in lineage.FailureLabel} == known


def test_the_library_reads_what_the_store_wrote(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "results.tsv")
    for trial in ROWS:
        store.append(trial)
    assert [ours(each) for each in lineage.LineageStore(tmp_path).all_trials()] == list(ROWS)


def test_the_store_reads_what_the_library_wrote(tmp_path: Path) -> None:
    library = lineage.LineageStore(tmp_path)
    unsafe = replace(ROWS[2], exp_id="004", hypothesis="two\nlines", notes="a\ttab, \u2028, \x1b[m")
    for trial in (*ROWS, unsafe):
        library.append(theirs(trial))
    assert TrialStore(tmp_path / "results.tsv").history().trials == [*ROWS, unsafe]


def test_both_append_to_one_file(tmp_path: Path) -> None:
    library, store = lineage.LineageStore(tmp_path), TrialStore(tmp_path / "results.tsv")
    store.append(ROWS[0])
    library.append(theirs(ROWS[1]))
    store.append(ROWS[2])
    library.append(theirs(ROWS[3]))
    assert store.history().trials == [ours(each) for each in library.all_trials()] == list(ROWS)


def test_both_append_at_once(tmp_path: Path) -> None:
    library, store = lineage.LineageStore(tmp_path), TrialStore(tmp_path / "results.tsv")
    store.append(ROWS[0])
    names = [f"{number:03}" for number in range(1, 81)]

    def append(name: str) -> None:
        trial = replace(ROWS[2], exp_id=name, parent_exp="000")
        if int(name) % 2:
            library.append(theirs(trial))
        else:
            TrialStore(tmp_path / "results.tsv").append(trial)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, names))
    trials = store.history().trials
    assert sorted(each.exp_id for each in trials) == ["000", *names]
    assert [ours(each) for each in library.all_trials()] == trials
    assert not store.damage()


def test_both_write_the_same_bytes(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "ours.tsv")
    for trial in ROWS:
        store.append(trial)
        lineage.LineageStore(tmp_path).append(theirs(trial))
    assert (tmp_path / "ours.tsv").read_bytes() == (tmp_path / "results.tsv").read_bytes()


def test_what_is_unsafe_reaches_the_library_escaped_and_on_one_line(tmp_path: Path) -> None:
    text = "two\nlines\ta tab \u202e\x00"
    TrialStore(tmp_path / "results.tsv").append(replace(ROWS[0], hypothesis=text))
    (read,) = lineage.LineageStore(tmp_path).all_trials()
    assert read.hypothesis == escape(text)


def test_the_library_takes_a_row_over_budget_for_the_best_and_the_store_does_not(
    tmp_path: Path,
) -> None:
    over = replace(ROWS[1], exp_id="004", status=Label.EVAL_BUDGET_OVERRUN, core_metric=99.0)
    store = TrialStore(tmp_path / "results.tsv")
    for trial in (*ROWS, over):
        store.append(trial)
    library = lineage.LineageStore(tmp_path, lower_is_better=False)
    assert library.best().exp_id == "004"
    assert store.history().best() == ROWS[1]


def test_the_library_reads_the_published_rows_as_the_store_does(evidence_dir: Path) -> None:
    folder = evidence_dir / "a36"
    trials = TrialStore(folder / "results.tsv").history().trials
    library = lineage.LineageStore(folder, lower_is_better=False)
    assert [ours(each) for each in library.all_trials()] == trials
    assert len(trials) == 6


def test_both_render_the_published_rows_alike(evidence_dir: Path) -> None:
    folder = evidence_dir / "a36"
    library = lineage.LineageStore(folder, lower_is_better=False)
    snapshot = library.render_prompt("beta", last_m_full=3, session_timestamp="now")
    history = TrialStore(folder / "results.tsv").history()
    assert (
        render(history, Briefing(specialist="beta", at="now", full=3)) == snapshot.rendered_prompt
    )
    assert [ours(each) for each in snapshot.chain_to_best] == history.chain(history.trials[4])
