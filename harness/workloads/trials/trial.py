"""One trial of a search, its label, and the column layouts in which trials are published.

The labels and columns are those of the studied system (article 35, "What's in the row"). It has
three layouts, not one: 17 columns for language-model pretraining, 18 for each of the other tasks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from enum import StrEnum

from harness.errors import InputError, Problem, nearest
from harness.records import record
from harness.workloads.api.declare import Better
from harness.workloads.trials.escape import escape, unescape


class Label(StrEnum):
    """How a trial ended."""

    BASELINE = "baseline"  # where the search starts from
    KEEP = "keep"  # valid, and strictly better than everything before
    DISCARD = "discard"  # valid, and not better
    CRASH = "crash"
    PREFLIGHT_CRASH = "preflight_crash"  # broke before its training began
    SIZE_BLOCKED = "size_blocked"  # its artefact is over the limit
    TRAIN_BUDGET_OVERRUN = "train_budget_overrun"
    EVAL_BUDGET_OVERRUN = "eval_budget_overrun"
    DISQUALIFIED = "disqualified"  # under the task's accuracy gate
    HARNESS_ABORT = "harness_abort"  # says nothing about the hypothesis
    UNKNOWN = "unknown"  # a label that this list does not hold; read, never written


@record
class Trial:
    """One row. A figure is None if it was not measured or the layout has no column for it.

    Attributes:
        exp_id: unique within its search.
        parent_exp: the trial whose recipe this one edits; empty for a root.
        baseline_exp: the best of all when this one was submitted.
        expected_delta: the proposer's forecast, in its own words.
        core_metric: the task's score, in the layout that calls it so.
        val_bpb: held-out loss, bits per byte.
        delta_vs_best: score minus the best at submission.
        notes: the proposer's remarks, and the reason of a failure.
    """

    exp_id: str
    timestamp: str = ""
    specialist: str = ""
    parent_exp: str = ""
    baseline_exp: str = ""
    domain: str = ""
    hypothesis: str = ""
    expected_delta: str = ""
    status: Label
    core_metric: float | None = None
    val_bpb: float | None = None
    accuracy: float | None = None
    acc_std: float | None = None
    n_seeds: int | None = None
    delta_vs_best: float | None = None
    artifact_bytes: int | None = None
    train_s: float | None = None
    eval_s: float | None = None
    total_s: float | None = None
    job_name: str = ""
    snapshot_path: str = ""
    notes: str = ""


@record
class Layout:
    """The columns of a file, in order, and which of them the search is about.

    Attributes:
        score: the column that trials are compared by.
        better: the direction in which it improves.
    """

    columns: tuple[str, ...]
    score: str
    better: Better

    def score_of(self, trial: Trial) -> float | None:
        """Return what the trial is compared by."""
        score: float | None = getattr(trial, self.score)
        return score

    def cost_of(self, trial: Trial) -> float | None:
        """Return the score with its sign such that lower is better."""
        score = self.score_of(trial)
        return -score if score is not None and self.better is Better.HIGHER else score


def _layout(figures: str, score: str, better: Better) -> Layout:
    before = "exp_id timestamp specialist parent_exp baseline_exp domain hypothesis expected_delta"
    columns = f"{before} status {figures} job_name snapshot_path notes"
    return Layout(columns=tuple(columns.split()), score=score, better=better)


PRETRAINING = _layout(
    "core_metric val_bpb delta_vs_best train_s total_s", "core_metric", Better.HIGHER
)
PARAMETER_GOLF = _layout(
    "val_bpb delta_vs_best artifact_bytes train_s eval_s total_s", "val_bpb", Better.LOWER
)
IMAGE_SPEED_RUN = _layout(
    "train_s accuracy acc_std n_seeds delta_vs_best total_s", "train_s", Better.LOWER
)
LAYOUTS = (PRETRAINING, PARAMETER_GOLF, IMAGE_SPEED_RUN)

_LABELS = {label.value: label for label in Label}
_COUNTS = frozenset({"artifact_bytes", "n_seeds"})
_FIGURES = frozenset(each.name for each in fields(Trial) if each.type not in ("str", "Label"))
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LONGEST_CELL = 131_071  # what Python's csv module reads by default: others must be able to


def layout_of(header: Sequence[str]) -> Layout:
    """Return the layout that has exactly these columns.

    Raises:
        ValueError: there is none; names what the closest one lacks and has too many.
    """
    for layout in LAYOUTS:
        if tuple(header) == layout.columns:
            return layout
    closest = max(LAYOUTS, key=lambda layout: len(set(layout.columns) & set(header)))
    absent = [name for name in closest.columns if name not in header]
    strange = [name for name in header if name not in closest.columns]
    message = f"no layout has these {len(header)} columns: absent {absent}, unknown {strange}"
    raise ValueError(message if absent or strange else "columns are not in their order")


def label_of(text: str) -> Label:
    """Return the label, UNKNOWN where the list does not hold it."""
    return _LABELS.get(text, Label.UNKNOWN)


def trial_of(cells: Sequence[str], layout: Layout) -> Trial:
    """Return the trial in a row.

    Raises:
        ValueError: too few or too many cells, no exp_id, or a figure that is not a finite number.
    """
    if len(cells) != len(layout.columns):
        message = f"{len(cells)} cells, wanted {len(layout.columns)}"
        raise ValueError(message)
    if not cells[0]:
        message = "the row has no exp_id"
        raise ValueError(message)
    values = {name: _value(name, cell) for name, cell in zip(layout.columns, cells, strict=True)}
    return Trial(**values)  # type: ignore[arg-type]  # each column has its kind of value


def cells_of(trial: Trial, layout: Layout) -> list[str]:
    """Return the row of a trial; `trial_of` gives the trial back.

    Raises:
        InputError: what the file could not give back: no or an unknown label, a figure without a
            column or that is not finite, a text too long for other readers.
    """
    if problems := list(_unwritable(trial, layout)):
        raise InputError(problems)
    values = (getattr(trial, name) for name in layout.columns)
    return [
        "" if value is None else escape(value) if isinstance(value, str) else str(value)
        for value in values
    ]


def _value(name: str, cell: str) -> str | float | Label | None:
    if name == "status":
        return label_of(cell)
    if name not in _FIGURES:
        return unescape(cell)
    if not cell:
        return None
    number = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    if not math.isfinite(number) or (name in _COUNTS and not number.is_integer()):
        message = f"{name}: {cell[:40]!r} is not a {'count' if name in _COUNTS else 'number'}"
        raise ValueError(message)
    return int(number) if name in _COUNTS else number


def _unwritable(trial: Trial, layout: Layout) -> Iterator[Problem]:
    if not trial.exp_id:
        yield Problem(message="a trial needs an id", key="exp_id")
    if trial.status is Label.UNKNOWN:
        known = ", ".join(label for label in Label if label is not Label.UNKNOWN)
        yield Problem(message="a trial needs a known label", key="status", allowed=known)
    for name in (field.name for field in fields(trial)):
        value = getattr(trial, name)
        if value is not None and value != "" and name not in layout.columns:
            close = nearest(name, layout.columns)
            yield Problem(message="the layout has no such column", key=name, nearest=close)
        if isinstance(value, float) and not math.isfinite(value):
            yield Problem(message="a figure is finite or None", key=name, value=str(value))
        if isinstance(value, str) and len(escape(value)) > _LONGEST_CELL:
            yield Problem(message="text is too long", key=name, allowed=f"{_LONGEST_CELL} escaped")
