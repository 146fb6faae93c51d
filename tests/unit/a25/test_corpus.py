"""Rows out of a trajectory: both constructions, and the published files byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.experiments.a25.corpus import (
    BriefQuestion,
    LoopQuestion,
    PromptVersion,
    PublishedQuestion,
    rows,
    split,
)
from harness.experiments.a25.evidence import asking_of
from harness.workloads.autoresearch.as_trials import ProposerContext
from harness.workloads.autoresearch.guardrails import Guardrails
from harness.workloads.autoresearch.prompt import PromptWriter
from harness.workloads.autoresearch.search_space import ARTICLE
from harness.workloads.autoresearch.trajectory import Trajectory, read_trajectory

from .conftest import made

PUBLISHED, CORRECTED = PromptVersion.PUBLISHED, PromptVersion.CORRECTED


@pytest.fixture
def four() -> Trajectory:
    """A keep, a change of what the keep set, another, and one more."""
    return made(
        [("d_model", 768, True), ("d_model", 768, False), ("n_head", 8, True), ("lr", 2e-4, False)]
    )


def test_the_published_construction_shows_the_last_kept_candidate(four: Trajectory) -> None:
    shown = [row.cfg for row in rows(four, BriefQuestion(history=5), PUBLISHED)]
    assert [cfg.d_model for cfg in shown] == [
        1024,
        768,
        768,
        1024,
    ]  # the second keep is of the first baseline
    assert [cfg.n_head for cfg in shown] == [16, 16, 16, 8]


def test_the_corrected_construction_shows_what_was_asked_to_be_changed(four: Trajectory) -> None:
    shown = {row.cfg for row in rows(four, BriefQuestion(history=5), CORRECTED)}
    assert shown == {four.header.baseline_cfg}


def test_a_climb_is_shown_as_it_climbed() -> None:
    climbed = made(
        [("d_model", 768, True), ("n_head", 8, True), ("lr", 2e-4, False)], hill_climb=True
    )
    shown = [row.cfg for row in rows(climbed, BriefQuestion(history=5), CORRECTED)]
    assert [(cfg.d_model, cfg.n_head) for cfg in shown] == [(1024, 16), (768, 16), (768, 8)]


def test_an_answer_may_change_nothing_of_what_its_question_shows(four: Trajectory) -> None:
    assert [row.changes_nothing for row in rows(four, BriefQuestion(history=5), PUBLISHED)] == [
        *(False, True, False, False)
    ]
    assert not any(row.changes_nothing for row in rows(four, BriefQuestion(history=5), CORRECTED))


def test_a_row_knows_all_that_was_tried_before_and_shows_the_last(four: Trajectory) -> None:
    *_, last = rows(four, BriefQuestion(history=2), CORRECTED)
    assert last.past == ("d_model=768", "d_model=768", "n_head=8")
    assert last.question.user.splitlines()[1:] == [
        "d_model=768 -0.5 revert",
        "n_head=8 +1.0 keep",
        "next",
    ]
    assert json.loads(last.answer) == {"knob": "lr", "new_value": 2e-4, "reason": "why not"}
    assert last.pair == "lr=0.0002"


def test_the_split_is_by_time(four: Trajectory) -> None:
    parts = split(list(rows(four, BriefQuestion(history=5), CORRECTED)), 1)
    assert [row.iteration for row in parts.train] == [1, 2, 3]
    assert [row.iteration for row in parts.test] == [4]


def test_the_wording_of_the_loop_is_its_own_brief(four: Trajectory) -> None:
    form = PromptWriter(
        search_space=ARTICLE,
        guardrails=Guardrails.PUBLISHED,
        proposer_context=ProposerContext.WINDOW,
        history_window=5,
    )
    third = list(rows(four, LoopQuestion(form=form), CORRECTED))[2]
    brief = form.brief(3, four.header.baseline_cfg, four.evaluated[:2], block="")
    assert (third.question.system, third.question.user) == (brief.system, brief.user)


def test_a_row_of_another_form_has_no_published_wording() -> None:
    with pytest.raises(ValueError, match="has 8 parts, this one 2"):
        PublishedQuestion.of_first("system", "one\n\ntwo")


def test_the_published_files_are_made_again_byte_for_byte(evidence_dir: Path) -> None:
    trajectory = read_trajectory(evidence_dir / "a22/trajectory.jsonl")
    train, test = (
        (evidence_dir / f"a25/{name}.jsonl").read_text(encoding="utf-8")
        for name in ("train", "test")
    )
    parts = split(list(rows(trajectory, asking_of(train), PUBLISHED)), 8)
    assert "".join(row.line for row in parts.train) == train
    assert "".join(row.line for row in parts.test) == test


def test_what_the_teacher_was_asked_is_in_four_of_the_published_rows(evidence_dir: Path) -> None:
    trajectory = read_trajectory(evidence_dir / "a22/trajectory.jsonl")
    asking = asking_of((evidence_dir / "a25/train.jsonl").read_text(encoding="utf-8"))
    published, corrected = (list(rows(trajectory, asking, each)) for each in PromptVersion)
    same = [a.iteration for a, b in zip(published, corrected, strict=True) if a.line == b.line]
    assert same == [1, 2, 3, 4]
    assert [row.iteration for row in published[:42] if row.changes_nothing] == [5, 6, 23, 31, 33]
