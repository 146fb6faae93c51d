"""Runs as rows of the record of trials: each execution once, labelled by how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.plan.expand import Plan
from harness.records import FinishedRun, Measurement, Profile, RunOutcome, RunSpec, Status, Usage
from harness.results.store import RunStore
from harness.results.trials import write_trials
from harness.workloads.trials import store as lineage
from harness.workloads.trials.trial import Label, Trial

SPECS = tuple(
    RunSpec(
        scenario="a99-example",
        profile=Profile.CPU,
        workload="noop",
        params={"index": index},
        axes=("index",),
        seed=7,
    )
    for index in range(3)
)
PLAN = Plan(
    scenario="a99-example",
    profile=Profile.CPU,
    runs=SPECS,
    skipped=(),
    estimate=None,
    changed=False,
)


def put(
    store: RunStore, spec: RunSpec, score: float | None, status: Status = Status.FINISHED
) -> None:
    outcome = RunOutcome(
        status=status, runtime="local", device="no device", usage=Usage(wall_s=2.0), cause="why"
    )
    of_a_row = Measurement(metric="score", value=99.0, unit="%", where={"step": 1})
    whole = Measurement(metric="score", value=score, unit="%", absent="" if score else "nan")
    run = FinishedRun(spec=spec, outcome=outcome, measurements=(of_a_row, whole))
    with store.locked(spec.scenario, spec.profile):
        store.commit(store.stage(spec), run)


def trials(store: RunStore) -> list[Trial]:
    path = store.root / "a99-example" / "cpu.lineage" / "results.tsv"
    return lineage.TrialStore(path).history().trials


def test_the_first_is_the_baseline_and_only_a_better_one_is_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for spec, score in zip(SPECS, (30.0, 40.0, 35.0), strict=True):
        put(store, spec, score)
    write_trials(PLAN, store, "score")
    first, second, third = trials(store)
    assert [each.status for each in (first, second, third)] == [
        Label.BASELINE,
        Label.KEEP,
        Label.DISCARD,
    ]
    assert (first.parent_exp, second.parent_exp, third.parent_exp) == (
        "",
        first.exp_id,
        first.exp_id,
    )
    assert (first.delta_vs_best, second.delta_vs_best, third.delta_vs_best) == (None, 10.0, -5.0)
    assert third.baseline_exp == second.exp_id
    assert (second.core_metric, second.total_s, second.hypothesis) == (40.0, 2.0, "index=1")


def test_a_run_that_is_not_new_is_no_second_trial(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    put(store, SPECS[0], 30.0)
    write_trials(PLAN, store, "score")
    put(store, SPECS[1], 40.0)
    write_trials(PLAN, store, "score")
    assert [each.exp_id for each in trials(store)] == [spec.run_id for spec in SPECS[:2]]


@pytest.mark.parametrize(
    ("status", "label"),
    [
        (Status.FAILED, Label.CRASH),
        (Status.OUT_OF_MEMORY, Label.CRASH),
        (Status.TIMED_OUT, Label.TRAIN_BUDGET_OVERRUN),
        (Status.HOST_FAILED, Label.HARNESS_ABORT),
    ],
)
def test_an_attempt_that_failed_is_a_trial_too(
    tmp_path: Path, status: Status, label: Label
) -> None:
    store = RunStore(tmp_path)
    put(store, SPECS[0], None, status)
    put(store, SPECS[0], 30.0)
    write_trials(PLAN, store, "score")
    failed, finished = trials(store)
    assert (failed.status, failed.core_metric) == (label, None)
    assert failed.notes.endswith("why")
    assert finished.status is Label.BASELINE


def test_a_run_without_a_score_is_not_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    put(store, SPECS[0], 30.0)
    put(store, SPECS[1], None)
    write_trials(PLAN, store, "score")
    assert [(each.status, each.core_metric) for each in trials(store)] == [
        (Label.BASELINE, 30.0),
        (Label.DISCARD, None),
    ]


def test_a_file_that_is_no_record_is_refused_by_name(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    put(store, SPECS[0], 30.0)
    path = tmp_path / "a99-example" / "cpu.lineage" / "results.tsv"
    path.parent.mkdir()
    path.write_text("other columns\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"results\.tsv"):
        write_trials(PLAN, store, "score")
    assert path.read_text(encoding="utf-8") == "other columns\n"
