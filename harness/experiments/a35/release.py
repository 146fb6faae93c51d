"""A run as the studied system publishes it: results.tsv, and beside it tree.tsv and best.json.

Two faults of the published files are mended, and counted. In some rows every tab from the
hypothesis on has become a space; the tree, written from the same rows, has each hypothesis alone,
so that what follows it can be cut apart again. And some parents are written ``exp_017`` where the
trial is ``017``, which breaks the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from harness.errors import InputError, Problem
from harness.reading import read_json
from harness.records import record
from harness.workloads.trials.history import History
from harness.workloads.trials.trial import Label, Layout, Trial, layout_of, trial_of
from harness.workloads.trials.tsv import rows_of

_PARENT_PREFIX = "exp_"
_HYPOTHESIS, _STATUS = 6, 8  # their places in every layout
# and the score, under its name in the layout or any other
_TREE_COLUMNS = ("exp_id", "parent_exp", "path", "specialist", "status", "hypothesis")

Leaf = Mapping[str, str]  # column of the run's layout -> cell, where the tree has it


class Repair(StrEnum):
    """How a damaged row was treated."""

    WHOLE = "whole"  # every cell is back
    TREE = "tree"  # the cells that the tree has are back; the other figures are absent
    NONE = "none"  # the tree does not have it either: it is not counted as a trial


@record
class Run:
    """A published run.

    Attributes:
        name: of its folder.
        history: its trials, mended.
        damaged: (line, exp_id, treatment) of every damaged row of results.tsv.
        num_prefixed: parents that had the prefix.
        recorded_depth: of the deepest trial in tree.tsv; None without that file.
        recorded_best: the id in best.json; None without that file.
        notes: what a reader should know.
    """

    name: str
    history: History
    damaged: tuple[tuple[int, str, Repair], ...]
    num_prefixed: int
    recorded_depth: int | None
    recorded_best: str | None
    notes: tuple[str, ...]


def read_run(folder: Path) -> Run:
    """Return the run in `folder`, whatever its name, its task and its labels.

    Raises:
        InputError: a file cannot be split into rows or has other columns; an id occurs twice.
    """
    path = folder / "results.tsv"
    rows, torn = _whole_rows(path)
    try:
        layout = layout_of(rows[0][1] if rows else [])
    except ValueError as error:
        raise InputError([Problem(message=str(error), path=path, line=1)]) from None
    leaves, depth = _read_tree(folder / "tree.tsv", layout)
    notes = [f"{path.name}: the last line is torn, and not counted"] if torn else []
    damaged: list[tuple[int, str, Repair]] = []
    trials: list[tuple[int, Trial]] = []
    for line, cells in rows[1:]:
        trial, fault, repair = _read_row(cells, layout, leaves)
        if repair is not None:
            damaged.append((line, cells[0], repair))
            notes.append(f"{path.name}:{line}: {cells[0]!r}: {fault}; repaired: {repair}")
        if trial is not None:
            trials.append((line, trial))
            if trial.status is Label.UNKNOWN:
                label = cells[_STATUS] if repair is None else leaves[trial.exp_id]["status"]
                notes.append(f"{path.name}:{line}: {trial.exp_id!r}: unknown label {label!r}")
    linked = dict(_without_prefixes(trials))
    history = _history(path, layout, linked)
    notes += [
        f"{trial.exp_id!r}: its parent {trial.parent_exp!r} is not in the run"
        for trial in history.trials
        if trial.parent_exp and history.get(trial.parent_exp) is None
    ]
    notes += [
        f"tree.tsv: {exp_id!r} is not in results.tsv"
        for exp_id in leaves
        if history.get(exp_id) is None
    ]
    return Run(
        name=folder.name,
        history=history,
        damaged=tuple(damaged),
        num_prefixed=sum(linked[line].parent_exp != trial.parent_exp for line, trial in trials),
        recorded_depth=depth,
        recorded_best=_recorded_best(folder / "best.json"),
        notes=tuple(notes),
    )


def _read_row(
    cells: list[str], layout: Layout, leaves: Mapping[str, Leaf]
) -> tuple[Trial | None, str, Repair | None]:
    """Return the trial in a row; with its fault and treatment if it is damaged."""
    try:
        return trial_of(cells, layout), "", None
    except ValueError as error:
        fault = str(error)
    leaf = leaves.get(cells[0], {})
    known = {**dict(zip(layout.columns[:_HYPOTHESIS], cells, strict=False)), **leaf}
    partly = _trial([known.get(name, "") for name in layout.columns], layout) if leaf else None
    if partly is None:
        return None, fault, Repair.NONE
    # the row's last cell is all cells from the hypothesis on, joined by spaces
    *before, joined = cells
    behind = joined.removeprefix(leaf["hypothesis"]).removeprefix(" ")
    num_behind = len(layout.columns) - len(before) - 1
    recut = [*before, leaf["hypothesis"], *behind.split(" ", num_behind - 1)]
    whole = _trial(recut, layout)
    if whole is None or any(getattr(whole, name) != getattr(partly, name) for name in leaf):
        return partly, fault, Repair.TREE
    return whole, fault, Repair.WHOLE


def _trial(cells: list[str], layout: Layout) -> Trial | None:
    try:
        return trial_of(cells, layout)
    except ValueError:
        return None


def _without_prefixes(trials: Iterable[tuple[int, Trial]]) -> Iterator[tuple[int, Trial]]:
    listed = list(trials)
    ids = {trial.exp_id for _, trial in listed}
    for line, trial in listed:
        bare = trial.parent_exp.removeprefix(_PARENT_PREFIX)
        known = trial.parent_exp in ids or bare not in ids
        yield line, trial if known else replace(trial, parent_exp=bare)


def _history(path: Path, layout: Layout, trials: Mapping[int, Trial]) -> History:
    history, problems = History(layout), []
    for line, trial in trials.items():
        try:
            history.add(trial)
        except ValueError as error:
            problems.append(Problem(message=str(error), path=path, line=line, key="exp_id"))
    if problems:
        raise InputError(problems)
    return history


def _read_tree(path: Path, layout: Layout) -> tuple[dict[str, Leaf], int | None]:
    """Return exp_id -> its cells in the tree, and the depth of the deepest."""
    if not path.exists():
        return {}, None
    (_, header), *rows = _whole_rows(path)[0] or [(1, [])]
    if absent := [name for name in _TREE_COLUMNS if name not in header]:
        raise InputError([Problem(message=f"lacks the columns {absent}", path=path, line=1)])
    named = (*layout.columns, "depth", "path")
    names = [name if name in named else layout.score for name in header]
    nodes = [dict(zip(names, cells, strict=False)) for _, cells in rows if len(cells) == len(names)]
    depth = max((node["path"].count("/") for node in nodes), default=0)
    kept = [name for name in names if name in layout.columns]
    return {node["exp_id"]: {name: node[name] for name in kept} for node in nodes}, depth


def _recorded_best(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        return str(read_json(path.read_bytes())["exp_id"])
    except (ValueError, TypeError, KeyError) as error:
        message = f"is not an object with an exp_id: {error}"
        raise InputError([Problem(message=message, path=path)]) from None


def _whole_rows(path: Path) -> tuple[list[tuple[int, list[str]]], bytes]:
    lines, end, torn = path.read_bytes().rpartition(b"\n")
    return rows_of(lines + end, path), torn
