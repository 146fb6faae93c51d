from __future__ import annotations

from pathlib import Path

import pytest

from harness.experiments.a36 import printed
from harness.experiments.a36.evidence import EVIDENCE, PublishedRows, average, figure
from harness.experiments.a36.printed import METHOD, Setting
from harness.workloads.trials.history import History
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import PRETRAINING, Label, Trial


def _row(exp_id: str, label: Label, score: float, parent: str = "") -> Trial:
    return Trial(
        exp_id=exp_id,
        parent_exp=parent,
        status=label,
        core_metric=score,
        train_s=10.0,
        total_s=70.0,
    )


_HISTORY = History(
    PRETRAINING, [_row("0", Label.BASELINE, 44.76), _row("1", Label.KEEP, 50.0, parent="0")]
)
_PUBLISHED = PublishedRows(history=_HISTORY, rendered="", draws=10)


def test_a_mean_is_weighted_by_questions() -> None:
    assert average(Setting.MULTI_HOP, (1.0, 1.0, 1.0, 1.0)) == pytest.approx(1.0)
    only_bamboogle = average(Setting.MULTI_HOP, (0.0, 0.0, 0.0, 100.0))
    assert only_bamboogle == pytest.approx(100 * 125 / 22_523)


def test_every_model_has_the_same_baselines() -> None:
    for methods in printed.TABLE_1.values():
        assert {*printed.BASELINES, METHOD} <= methods.keys()
        for settings in methods.values():
            for setting, scores in settings.items():
                assert len(scores.columns) == len(printed.QUESTIONS[setting])


def test_every_figure_is_declared_and_every_metric_reported() -> None:
    found = {each.metric for each in figure.found(_PUBLISHED)}
    assert found == {metric.name for metric in EVIDENCE.metrics}


def test_a_score_is_looked_for_in_the_papers_table() -> None:
    found = {
        each.where["row"]: each.value
        for each in figure.found(_PUBLISHED)
        if each.metric == "rows.in_paper"
    }
    assert found == {"0": 1, "1": 0}


def test_the_published_briefing_is_rendered_again(evidence_dir: Path) -> None:
    folder = evidence_dir / "a36"
    published = PublishedRows(
        history=TrialStore(folder / "results.tsv").history(),
        rendered=(folder / "lineage-rendered.txt").read_text(encoding="utf-8"),
        draws=10,
    )
    found = {each.metric: each.value for each in figure.found(published)}
    assert found["rows.rendered"] is True
    assert found["rows.beside_training"] == 1
