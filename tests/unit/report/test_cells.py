from __future__ import annotations

from dataclasses import replace

import pytest

from harness.records import (
    FinishedRun,
    HostLog,
    HostProbe,
    Measurement,
    ProbeMoment,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    Usage,
)
from harness.report.cells import cells_table, rows_tables
from harness.report.readings import values_of
from harness.report.render import TableFormat, render, render_csv, render_text
from harness.report.roofline import shares
from harness.report.tables import Table, TableCell, visible

from .conftest import MakeDossier, MakeRun

SWEEP = {"product": {"name": ["b", "a"], "size": [4, 2]}}


def column(table: Table, key: str) -> list[TableCell]:
    index = [each.key for each in table.columns].index(key)
    return [row[index] for row in table.rows]


def texts(table: Table, key: str) -> list[str]:
    return [box.text for box in column(table, key)]


def test_rows_stand_in_the_order_of_the_sweep(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    cells = [{"name": name, "size": size} for name in "ab" for size in (2, 4)]
    runs = [make_run(cell, {"loss": 1.0}) for cell in [*cells, {"name": "z", "size": 9}]]
    table = cells_table(make_dossier(runs, sweep=SWEEP))
    assert texts(table, "name") == ["b", "b", "a", "a", "z"]
    assert texts(table, "size") == ["4", "2", "4", "2", "9"]


def test_swept_params_first_then_metrics_with_units(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"size": 2}, {"loss": 1.0, "step_time": 2.0})]
    table = visible(cells_table(make_dossier(runs, metrics=["step_time", "loss"])))
    assert [each.label for each in table.columns] == ["size [token]", "step_time [s]", "loss [nat]"]


def test_replicates_become_mean_deviation_and_number(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({}, {"loss": loss}, replicate=i) for i, loss in enumerate((1.0, 2.0, 3.0))]
    table = cells_table(make_dossier(runs))
    (box,) = column(table, "loss")
    assert (box.text, box.raw, box.std, box.count) == ("2.0 ± 1.0", 2.0, 1.0, 3)
    assert texts(table, "n") == ["3"]


def test_equal_integers_stay_integers(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    runs = [make_run({}, {"loss": 7}, replicate=i) for i in range(2)]
    (box,) = column(cells_table(make_dossier(runs)), "loss")
    assert (box.text, repr(box.raw)) == ("7 ± 0", "7")


@pytest.mark.parametrize("key", ["device", "image"])
def test_figures_from_elsewhere_are_never_averaged(
    make_run: MakeRun, make_dossier: MakeDossier, key: str
) -> None:
    runs = [
        make_run({}, {"loss": 1.0}),
        make_run({}, {"loss": 3.0}, **{key: "sha256:other"}),
    ]
    table = visible(cells_table(make_dossier(runs)))
    assert sorted(texts(table, "loss")) == ["1", "3"]
    assert len(set(texts(table, key))) == 2


def test_what_is_equal_is_said_once_to_people_and_in_each_row_to_programs(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    table = cells_table(make_dossier([make_run({}, {"loss": 1.0})]))
    assert "device" not in {each.key for each in visible(table).columns}
    assert "Device box; runtime local." in table.caption
    assert render_csv(table).splitlines()[1].startswith("cpu,box,local,")


def test_an_absent_figure_shows_its_reason_and_never_zero(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    nothing = Measurement(metric="loss", value=None, unit="nat", absent="not supported")
    table = cells_table(make_dossier([make_run({}, [nothing])], metrics=["loss", "step_time"]))
    assert column(table, "loss") == [TableCell(text="not supported", absent="not supported")]
    assert texts(table, "step_time") == ["not measured"]


def test_a_figure_that_only_another_profile_s_workload_has_is_no_missing_one(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    dossier = make_dossier([make_run({}, {"loss": 1.0})], metrics=["loss", "step_time"])
    own = tuple(each for each in dossier.workload.metrics if each.name != "step_time")
    without = replace(dossier, workload=replace(dossier.workload, metrics=own))
    assert "step_time" in {each.key for each in cells_table(dossier).columns}
    assert "step_time" not in {each.key for each in cells_table(without).columns}


def test_a_figure_that_some_replicates_miss(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    lost = Measurement(metric="loss", value=None, unit="nat", absent="nan")
    runs = [make_run({}, {"loss": 2.0}), make_run({}, [lost], replicate=1)]
    (box,) = column(cells_table(make_dossier(runs)), "loss")
    assert (box.text, box.raw, box.absent) == ("2 (1 of 2; else nan)", 2.0, "nan")


def test_a_figure_reported_twice_or_not_finite_counts_as_absent(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    twice = [Measurement(metric="loss", value=value, unit="nat") for value in (1.0, 2.0)]
    endless = Measurement(metric="step_time", value=float("inf"), unit="s")
    table = cells_table(make_dossier([make_run({}, [*twice, endless])]))
    assert texts(table, "loss") == ["measured twice in one run"]
    assert texts(table, "step_time") == ["inf"]


def test_a_figure_in_another_unit_is_converted(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    slow = Measurement(metric="step_time", value=1500.0, unit="ms")
    assert texts(cells_table(make_dossier([make_run({}, [slow])])), "step_time") == ["1.500"]


def test_a_failed_run_shows_its_status_and_cause(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [
        make_run({"size": 2}, {"loss": 1.0}),
        make_run({"size": 4}, {"loss": 9.0}, status=Status.TIMED_OUT, cause="600 s were over"),
    ]
    table = cells_table(make_dossier(runs))
    assert texts(table, "status") == ["finished", "timed-out: 600 s were over"]
    assert texts(table, "loss") == ["1", "timed-out"]  # its figures are not to be trusted
    assert any("2 runs: 1 finished, 1 timed-out." in line for line in table.caption)


def test_a_planned_run_that_nobody_started_is_shown(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    run = make_run({"size": 2}, {"loss": 1.0})
    missing = make_run({"size": 4}).spec
    table = cells_table(make_dossier([run], planned=[run.spec, missing]))
    assert texts(table, "status") == ["finished", "not run"]
    assert column(table, "loss")[1] == TableCell(text="not run", absent="not run")


def test_no_runs_at_all(make_dossier: MakeDossier) -> None:
    table = cells_table(make_dossier([], metrics=["loss"]))
    assert table.rows == ()
    assert "No runs." in table.caption
    assert rows_tables(make_dossier([])) == ()


@pytest.mark.parametrize("form", TableFormat)
def test_a_table_without_a_column_to_see_is_its_caption(
    make_run: MakeRun, make_dossier: MakeDossier, form: TableFormat
) -> None:
    figures = [Measurement(metric="loss", value=1.0, unit="nat", where={"step": 1})]
    table = cells_table(make_dossier([make_run({}, figures)], metrics=["loss"]))
    assert "Device box" in render(table, form) or form is TableFormat.CSV
    *_, counts, ids = render_text(table, 80).splitlines()
    assert counts.endswith("1 run: 1 finished.")
    assert ids.startswith("Run ids: ")


def test_words_that_differ_between_replicates_are_all_named(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({}, {"grade": grade}, replicate=i) for i, grade in enumerate("aba")]
    assert texts(cells_table(make_dossier(runs)), "grade") == ["a | b"]


def test_figures_by_row_key_have_tables_of_their_own(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    figures = [
        *(Measurement(metric="loss", value=1.0 / s, unit="nat", where={"step": s}) for s in (1, 2)),
        Measurement(metric="loss", value=9.0, unit="nat", where={"knob": "x", "arm": 1.5}),
        Measurement(metric="step_time", value=1.0, unit="s"),
    ]
    dossier = make_dossier([make_run({"size": 2}, figures)])
    by_step, by_knob = rows_tables(dossier)
    assert texts(by_step, "step") == ["1", "2"]
    assert texts(by_step, "loss") == ["1", "0.5"]
    assert [each.key for each in visible(by_knob).columns] == ["size", "knob", "arm", "loss"]
    assert by_knob.title.endswith(", by knob, arm")
    assert "loss" not in {each.key for each in cells_table(dossier).columns}


def test_the_caption_names_profile_device_runtime_image_and_day(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    code = {"commit": "0123456789abcdef", "dirty": True, "absent": {}}
    run = make_run({}, {"loss": 1.0}, image="sha256:fedcba9876543210", environment={"code": code})
    text = " ".join(cells_table(make_dossier([run])).caption)
    for fact in (Profile.CPU, "box", "local", "base@fedcba987654", "2026-05-01"):
        assert fact in text
    assert "Commit 0123456789 with local changes." in text


def test_a_throughput_is_shown_as_a_share_of_what_the_machine_could_do() -> None:
    spec = RunSpec(
        scenario="a19",
        profile=Profile.SPARK,
        workload="pretrain.envelope",
        params={"batch_size": 16, "seq_len": 1024, "precision": "bf16"},
    )
    probes = [
        HostProbe(when=moment, at="", device="box", took_s=10.0, matmul_tflop_s=rate)
        for moment, rate in ((ProbeMoment.BEFORE, 92.0), (ProbeMoment.AFTER, 90.0))
    ]
    outcome = RunOutcome(
        status=Status.FINISHED,
        runtime="local",
        device="box",
        usage=Usage(wall_s=1.0),
        host=HostLog(probes=tuple(probes)),
    )
    speed = Measurement(metric="tokens_per_second", value=14_266.0, unit="token/s")
    run = FinishedRun(spec=spec, outcome=outcome, measurements=(speed,))
    found = values_of(run, {"tokens_per_second"})
    (share,) = shares(run, found).values()
    # 353.5M weights in matrices and 24 layers of 1024 at 1024 positions: 2.42 GFLOP a token
    flop = 6 * (24 * 12 * 1024**2 + 50257 * 1024) + 12 * 24 * 1024 * 1024
    assert share.value == pytest.approx(100 * 14_266 * flop / 91e12)
    assert 37 < float(str(share.value)) < 38.5
    assert share.metric == "tokens_per_second.of_limit"
    unprobed = replace(run, outcome=replace(outcome, host=None))
    assert shares(unprobed, found) == {}
