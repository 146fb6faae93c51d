"""A small run made by hand, in the files and with the faults of the published ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.workloads.trials.trial import PARAMETER_GOLF, Label, Layout, Trial, cells_of
from harness.workloads.trials.tsv import line_of

TREE_HEADER = (
    *("exp_id", "parent_exp", "depth", "path", "specialist", "status", "score"),
    *("delta_vs_best", "hypothesis"),
)


@dataclass
class Folder:
    """Writes the files of a run."""

    path: Path
    layout: Layout = PARAMETER_GOLF

    def results(self, rows: Sequence[Trial | Sequence[str]], torn: bytes = b"") -> Path:
        cells = [cells_of(r, self.layout) if isinstance(r, Trial) else r for r in rows]
        lines = b"".join(line_of(row) for row in (self.layout.columns, *cells))
        (self.path / "results.tsv").write_bytes(lines + torn)
        return self.path

    def tree(self, rows: Sequence[Trial], header: Sequence[str] = TREE_HEADER) -> None:
        lines = [line_of(header)]
        for trial in rows:
            cells = dict(zip(self.layout.columns, cells_of(trial, self.layout), strict=True))
            known = {**cells, "score": cells[self.layout.score], "depth": "1", "path": "000/001"}
            lines.append(line_of([known[name] for name in header]))
        (self.path / "tree.tsv").write_bytes(b"".join(lines))

    def best(self, exp_id: str) -> None:
        (self.path / "best.json").write_text(json.dumps({"exp_id": exp_id}))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "any name"
    path.mkdir()
    return Folder(path)


def flattened(trial: Trial, layout: Layout) -> list[str]:
    """Return the row as the published damage has it: tabs from the hypothesis on are spaces."""
    cells = cells_of(trial, layout)
    return [*cells[:6], " ".join(cells[6:])]


BASELINE = Trial(exp_id="000", status=Label.BASELINE, val_bpb=1.081, specialist="baseline")
KEEP = Trial(
    exp_id="001",
    parent_exp="000",
    status=Label.KEEP,
    val_bpb=1.08,
    delta_vs_best=-0.001,
    artifact_bytes=15_990_719,
    train_s=600.0,
    eval_s=594.2,
    total_s=1462.0,
    specialist="opt",
    hypothesis='raise the rate, "a little", by 10 %',
    expected_delta="-0.002",
    timestamp="2026-05-01T04:00:00Z",
    notes="a note with  two spaces",
)
OVERRUN = Trial(
    exp_id="002",
    parent_exp="001",
    status=Label.EVAL_BUDGET_OVERRUN,
    val_bpb=1.07,
    train_s=600.0,
    eval_s=603.4,
    total_s=1505.0,
    specialist="arch",
    hypothesis="wider",
    timestamp="2026-05-01T05:00:00Z",
)
