"""Published runs are read strictly as to their structure, and mended where the tree allows it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.experiments.a35.release import Repair, read_run
from harness.workloads.trials.trial import (
    IMAGE_SPEED_RUN,
    LAYOUTS,
    PARAMETER_GOLF,
    PRETRAINING,
    Label,
    Trial,
    cells_of,
)
from tests.unit.trials.conftest import BASELINE, KEEP, OVERRUN, TREE_HEADER, Folder, flattened


def test_a_run_is_what_its_header_says_whatever_its_folder(folder: Folder) -> None:
    for layout in LAYOUTS:
        folder.layout = layout
        trial = Trial(exp_id="000", status=Label.BASELINE, **{layout.score: 0.5})  # type: ignore[arg-type]
        run = read_run(folder.results([trial]))
        assert run.history.layout is layout
        assert run.history.best() == trial
        assert (run.name, run.recorded_depth, run.recorded_best) == ("any name", None, None)


def test_a_flattened_row_is_mended_whole(folder: Folder) -> None:
    folder.results([BASELINE, flattened(KEEP, PARAMETER_GOLF), OVERRUN])
    folder.tree([BASELINE, KEEP, OVERRUN])
    folder.best("001")
    run = read_run(folder.path)
    assert run.history.trials == [BASELINE, KEEP, OVERRUN]
    assert run.damaged == ((3, "001", Repair.WHOLE),)
    assert (run.recorded_best, run.recorded_depth) == ("001", 1)
    assert run.notes == ("results.tsv:3: '001': 7 cells, wanted 18; repaired: whole",)


@pytest.mark.parametrize("header_score", ["score", "val_bpb"])
def test_a_row_that_cannot_be_cut_apart_has_what_the_tree_has(
    folder: Folder, header_score: str
) -> None:
    folder.results([BASELINE, cells_of(KEEP, PARAMETER_GOLF)[:8]])
    folder.tree([BASELINE, KEEP], [header_score if n == "score" else n for n in TREE_HEADER])
    run = read_run(folder.path)
    mended = run.history.trials[1]
    assert run.damaged == ((3, "001", Repair.TREE),)
    without_times = replace(KEEP, train_s=None, eval_s=None, total_s=None)
    assert mended == replace(without_times, expected_delta="", artifact_bytes=None, notes="")


def test_a_row_whose_cells_contradict_the_tree_is_not_taken_whole(folder: Folder) -> None:
    folder.results([BASELINE, flattened(replace(KEEP, val_bpb=0.5), PARAMETER_GOLF)])
    folder.tree([BASELINE, KEEP])
    run = read_run(folder.path)
    assert run.history.trials[1].val_bpb == KEEP.val_bpb
    assert run.damaged == ((3, "001", Repair.TREE),)


def test_a_damaged_row_that_nothing_mends_is_reported_and_not_counted(folder: Folder) -> None:
    torn = cells_of(OVERRUN, PARAMETER_GOLF)
    run = read_run(folder.results([BASELINE, ["055", "2026"]], torn="\t".join(torn).encode()))
    assert run.history.trials == [BASELINE]
    assert run.damaged == ((3, "055", Repair.NONE),)
    assert any("torn" in note for note in run.notes)


def test_prefixed_parents_find_their_trials(folder: Folder) -> None:
    child = replace(OVERRUN, parent_exp="exp_001")
    stray = replace(OVERRUN, exp_id="003", parent_exp="exp_777")
    run = read_run(folder.results([BASELINE, KEEP, child, stray]))
    assert [trial.parent_exp for trial in run.history.trials] == ["", "000", "001", "exp_777"]
    assert run.num_prefixed == 1
    assert run.notes == ("'003': its parent 'exp_777' is not in the run",)


def test_ids_that_have_the_prefix_themselves_keep_it(folder: Folder) -> None:
    root, child = replace(KEEP, exp_id="exp_1", parent_exp=""), replace(OVERRUN, parent_exp="exp_1")
    run = read_run(folder.results([root, child]))
    assert run.num_prefixed == 0
    assert run.history.edges() == [(root, child)]


def test_an_unknown_label_is_noted_and_counted(folder: Folder) -> None:
    cells = cells_of(OVERRUN, PARAMETER_GOLF)
    cells[PARAMETER_GOLF.columns.index("status")] = "power_cut"
    run = read_run(folder.results([BASELINE, KEEP, cells]))
    assert [trial.status for trial in run.history.trials][-1] is Label.UNKNOWN
    assert run.notes == ("results.tsv:4: '002': unknown label 'power_cut'",)
    assert run.history.best() == KEEP


def test_other_columns_and_ids_given_twice_are_refused(folder: Folder) -> None:
    (folder.path / "results.tsv").write_text("exp_id\tscore\n000\t1\n")
    with pytest.raises(InputError, match=r"results.tsv:1: no layout has these 2 columns"):
        read_run(folder.path)
    (folder.path / "results.tsv").write_bytes(b"")
    with pytest.raises(InputError, match="no layout has these 0 columns"):
        read_run(folder.path)
    folder.results([BASELINE, KEEP, KEEP, KEEP])
    with pytest.raises(InputError) as error:
        read_run(folder.path)
    assert [problem.line for problem in error.value.problems] == [4, 5]
    folder.results([BASELINE])
    (folder.path / "tree.tsv").write_text("exp_id\tparent_exp\n")
    with pytest.raises(InputError, match="lacks the columns"):
        read_run(folder.path)


def test_the_best_of_each_task_follows_its_direction(folder: Folder) -> None:
    for layout, wanted in ((PRETRAINING, 9.0), (IMAGE_SPEED_RUN, 1.0)):
        folder.layout = layout
        rows = [
            Trial(exp_id=str(n), status=Label.KEEP, **{layout.score: score})  # type: ignore[arg-type]
            for n, score in enumerate((5.0, 9.0, 1.0))
        ]
        best = read_run(folder.results(rows)).history.best()
        assert best is not None
        assert layout.score_of(best) == wanted


READ = ("pg_ablation_lineage_off", "pg_ablation_lineage_on", "pg_main", "pg_variant_single_agent")


def test_every_published_run_is_read_and_mended(evidence_dir: Path) -> None:
    runs = {name: read_run(evidence_dir / "a35" / name) for name in READ}
    repairs = {name: Counter(repair for *_, repair in run.damaged) for name, run in runs.items()}
    assert repairs["pg_main"] == {Repair.WHOLE: 46}
    assert repairs["pg_variant_single_agent"] == {Repair.WHOLE: 2}
    assert sum(map(Counter.total, repairs.values())) == 48
    for run in runs.values():
        best = run.history.best()
        assert best is not None
        assert best.exp_id == run.recorded_best
        assert all(trial.status is not Label.UNKNOWN for trial in run.history.trials)
        assert len(run.notes) == len(run.damaged)
