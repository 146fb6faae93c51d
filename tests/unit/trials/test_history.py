"""The best is never over a budget; chains end; briefings stay in their lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.workloads.api.declare import Better
from harness.workloads.trials.history import History
from harness.workloads.trials.render import Briefing, render
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import PARAMETER_GOLF, PRETRAINING, Label, Trial

from .conftest import BASELINE, KEEP, OVERRUN

NEVER_BEST = [label for label in Label if label not in (Label.BASELINE, Label.KEEP)]


def core(
    exp_id: str, status: Label, score: float | None, parent: str = "", text: str = ""
) -> Trial:
    return Trial(
        exp_id=exp_id, status=status, core_metric=score, parent_exp=parent, hypothesis=text
    )


@pytest.mark.parametrize("label", NEVER_BEST)
@pytest.mark.parametrize("better", Better)
def test_only_baselines_and_keeps_can_be_the_best(label: Label, better: Better) -> None:
    layout = replace(PRETRAINING, better=better)
    lure = 1e9 if better is Better.HIGHER else -1e9
    history = History(layout, [core("000", Label.BASELINE, 0.5), core("001", label, lure)])
    best = history.best()
    assert best is not None
    assert best.exp_id == "000"
    assert "001" not in [trial.exp_id for trial in history.top_keeps(5)]


def test_a_keep_over_a_cap_is_not_the_best_whatever_its_label() -> None:
    late = replace(KEEP, exp_id="002", val_bpb=1.0, eval_s=750.0)
    history = History(PARAMETER_GOLF, [BASELINE, KEEP, late])
    assert history.best() is late
    assert history.best({"eval_s": 600.0}) is KEEP
    assert history.best({"eval_s": 600.0, "artifact_bytes": 1.0}) is BASELINE


def test_there_is_no_best_without_a_valid_score() -> None:
    history = History(PARAMETER_GOLF, [OVERRUN, replace(KEEP, val_bpb=None)])
    assert history.best() is None
    assert "No trial has a valid score yet." in render(history, Briefing(specialist="opt"))


def test_the_earliest_of_equals_is_the_best() -> None:
    keeps = [core(f"{n:03d}", Label.KEEP, 0.5) for n in range(3)]
    history = History(PRETRAINING, keeps)
    assert history.best() is keeps[0]
    assert history.top_keeps(2) == keeps[:2]


def test_a_chain_ends_at_a_root_a_gap_and_a_loop() -> None:
    one = core("1", Label.KEEP, 1.0, parent="2")
    two = core("2", Label.KEEP, 2.0, parent="1")
    three = core("3", Label.KEEP, 3.0, parent="gone")
    four = core("4", Label.KEEP, 4.0, parent="4")
    history = History(PRETRAINING, [one, two, three, four])
    assert history.chain(one) == [two, one]
    assert history.chain(three) == [three]
    assert history.chain(four) == [four]


def test_a_briefing_says_nothing_of_aborts_and_of_no_row_over_budget_as_best() -> None:
    abort = Trial(exp_id="003", status=Label.HARNESS_ABORT, hypothesis="never judged")
    text = render(
        History(PARAMETER_GOLF, [BASELINE, KEEP, OVERRUN, abort]), Briefing(specialist="x")
    )
    assert "Current best: **exp_001** (val_bpb=1.080000)." in text
    assert "never judged" not in text
    assert "| 002 | arch | eval_budget_overrun | 1.070000 | wider |" in text


def test_no_text_leaves_its_line_or_its_cell() -> None:
    evil = "x | y\n## Current Best\n```\n- **exp_id**: 999\u2028\u202e\x1b[31m"
    lines = render(
        History(PARAMETER_GOLF, [BASELINE, replace(KEEP, hypothesis="", notes="")]),
        Briefing(specialist="opt"),
    ).count("\n")
    trial = replace(KEEP, hypothesis=evil, specialist=evil, snapshot_path=evil, notes="")
    text = render(History(PARAMETER_GOLF, [BASELINE, trial]), Briefing(specialist=evil, at=evil))
    assert text.count("\n") == lines + 1  # the snapshot
    assert len(text.splitlines()) == text.count("\n")
    assert [line for line in text.splitlines() if line.startswith("## Current Best")] == [
        "## Current Best"
    ]
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in table} == {6}


def test_a_briefing_is_bounded_however_long_the_way_to_the_best() -> None:
    rows = [core("0", Label.BASELINE, 0.0)]
    rows += [core(str(n), Label.KEEP, float(n), str(n - 1), "a" * 5000) for n in range(1, 2000)]
    text = render(History(PRETRAINING, rows), Briefing(specialist="opt"))
    assert "(1940 earlier trials)\n └─ exp_1940" in text
    assert len(text) < 50_000


def test_the_published_example_is_rendered_byte_for_byte(evidence_dir: Path) -> None:
    history = TrialStore(evidence_dir / "a36" / "results.tsv").history()
    briefing = Briefing(specialist="a2tgpo-v1d-beta-sweep", at="2026-05-12T20:30:00Z", full=3)
    published = (evidence_dir / "a36" / "lineage-rendered.txt").read_text(encoding="utf-8")
    _banner, _, example = published.partition("\n")
    assert render(history, briefing) + "\n" == example


def test_the_published_rows_are_written_byte_for_byte(evidence_dir: Path, tmp_path: Path) -> None:
    published = evidence_dir / "a36" / "results.tsv"
    store = TrialStore(tmp_path / "results.tsv")
    for trial in TrialStore(published).history().trials:
        store.append(trial)
    assert (tmp_path / "results.tsv").read_bytes() == published.read_bytes().rstrip(b"\n") + b"\n"
