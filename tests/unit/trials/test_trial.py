"""Layouts, labels, and what is refused before it can reach a file."""

from __future__ import annotations

import math

import pytest

from harness.errors import InputError
from harness.workloads.api.declare import Better
from harness.workloads.trials.escape import escape, shorten, unescape
from harness.workloads.trials.trial import (
    IMAGE_SPEED_RUN,
    LAYOUTS,
    PARAMETER_GOLF,
    PRETRAINING,
    Label,
    Layout,
    Trial,
    cells_of,
    layout_of,
    trial_of,
)

from .conftest import KEEP


def test_the_layouts_are_those_of_the_three_tasks() -> None:
    assert [len(layout.columns) for layout in LAYOUTS] == [17, 18, 18]
    assert [layout.better for layout in LAYOUTS] == [Better.HIGHER, Better.LOWER, Better.LOWER]
    assert all(layout_of(layout.columns) is layout for layout in LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_trial_with_every_figure_reads_back_as_it_was(layout: Layout) -> None:
    given = {
        "core_metric": 0.2244,
        "val_bpb": 0.783512,
        "accuracy": 0.96008,
        "acc_std": 1e-4,
        "n_seeds": 10,
        "delta_vs_best": -5e-05,
        "artifact_bytes": 15_990_719,
        "train_s": 0.1 + 0.2,
        "eval_s": 594.2,
        "total_s": 1462.0,
    }
    figures = {name: value for name, value in given.items() if name in layout.columns}
    trial = Trial(exp_id="001", status=Label.KEEP, **figures)  # type: ignore[arg-type]
    assert trial_of(cells_of(trial, layout), layout) == trial


def test_columns_that_no_layout_has_are_named() -> None:
    columns = [name for name in PRETRAINING.columns if name != "notes"]
    with pytest.raises(ValueError, match=r"absent \['notes'\], unknown \['remarks'\]"):
        layout_of([*columns, "remarks"])
    with pytest.raises(ValueError, match="order"):
        layout_of(PRETRAINING.columns[::-1])


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("val_bpb", "nan"),
        ("val_bpb", "1e999"),
        ("val_bpb", "1_0"),
        ("val_bpb", "\uff11"),
        ("val_bpb", " 1"),
        ("artifact_bytes", "1.5"),
        ("exp_id", ""),
    ],
)
def test_a_cell_that_is_no_figure_damages_its_row(column: str, cell: str) -> None:
    cells = cells_of(KEEP, PARAMETER_GOLF)
    cells[PARAMETER_GOLF.columns.index(column)] = cell
    with pytest.raises(ValueError, match=column):
        trial_of(cells, PARAMETER_GOLF)


def test_a_label_that_is_not_known_is_read_and_not_written() -> None:
    cells = cells_of(KEEP, PARAMETER_GOLF)
    cells[PARAMETER_GOLF.columns.index("status")] = "power_cut"
    trial = trial_of(cells, PARAMETER_GOLF)
    assert trial.status is Label.UNKNOWN
    with pytest.raises(InputError, match="known label"):
        cells_of(trial, PARAMETER_GOLF)


def test_all_that_cannot_be_written_is_said_at_once() -> None:
    trial = Trial(
        exp_id="", status=Label.UNKNOWN, core_metric=math.nan, accuracy=0.9, notes="a" * 200_000
    )
    with pytest.raises(InputError) as error:
        cells_of(trial, PRETRAINING)
    keys = [problem.key for problem in error.value.problems]
    assert keys == ["exp_id", "status", "core_metric", "accuracy", "notes"]
    assert "train_s" in IMAGE_SPEED_RUN.columns


def test_nothing_hidden_reaches_a_file_or_a_prompt() -> None:
    hidden = "a\tb\nc\rd\x1b[2J\u2028e\u202ef\u200bg\ufeffh\U000e0041i\x00j\x85k\ud800"
    shown = escape(hidden)
    assert shown.isprintable()
    assert shown.split() == [shown]
    assert unescape(shown) == hidden


def test_ordinary_text_is_left_alone() -> None:
    plain = 'C:\\new "quoted" | ← λ Δ 中文 ⚠️ é %41 \\n'
    assert escape(plain) == plain == unescape(plain)


def test_only_what_would_have_been_escaped_is_unescaped() -> None:
    for foreign in ("\u241b{41}", "\u241b{ffffff}", "\u241b{0a}", "\u241b{", "\u241b"):
        assert unescape(foreign) == foreign
        assert unescape(escape(foreign)) == foreign


def test_a_text_is_cut_to_its_length() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
