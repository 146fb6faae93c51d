"""A student is made, trained on a trajectory and raced: the whole of it, on a few rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("peft", reason="needs peft: use nox -s rl")

from harness.experiments.a25 import run as clone
from harness.experiments.a25.corpus import BriefQuestion, PromptVersion, rows
from harness.experiments.a25.params import CloneParams
from harness.experiments.a25.race import read_pick
from harness.experiments.a25.student import conversation, make_student
from harness.records import Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.autoresearch.search_space import SMALL
from harness.workloads.autoresearch.trajectory import Trajectory
from harness.workloads.inference.chat_template import load_chat_template
from tests.unit.a25.conftest import made

_TRIALS = [("n_head", 2, False), ("d_model", 96, False), ("n_head", 8, True)] * 4
_PARAMS = {
    **defaults_of(CloneParams),
    "prompt_style": "brief",
    "engine": "transformers",
    "num_eval_examples": 3,
    "format_pretrain_steps": 2,
    "num_train_epochs": 2,
    "num_samples": 2,
    "max_length": 512,
    "max_new_tokens": 24,
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[Any, ...], Any]:
    out = tmp_path_factory.mktemp("clone")
    spec = RunSpec(
        scenario="a25-distill-architect-lora",
        profile=Profile.CPU,
        workload="distill.clone",
        params=_PARAMS,
    )

    def trajectory(_: object) -> tuple[Trajectory, object]:
        return made(_TRIALS, space=SMALL), SMALL

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clone, "_trajectory", trajectory)
        run(spec.workload, spec, out)
    return {
        (event.payload["metric"], *event.payload["where"].values()): event.payload["value"]
        for event in read_events(out / EVENTS_FILE)
        if event.kind == "measured"
    }


def test_every_racer_has_its_rates(figures: Mapping[tuple[Any, ...], Any]) -> None:
    for prompt_version in PromptVersion:
        for racer in ("frequent", "frequent_keep", "previous", "nearest", "distilled"):
            for rate in ("valid_rate", "knob_accuracy", "exact_match"):
                assert 0 <= figures[f"eval.{rate}", prompt_version.value, racer] <= 1
    assert figures["eval.valid_rate", "published", "untuned"] is not None


def test_each_construction_is_learned_from_the_same_start(
    figures: Mapping[tuple[Any, ...], Any],
) -> None:
    one, other = (figures["clone.held_out_loss", each.value, 0] for each in PromptVersion)
    assert one == pytest.approx(other, abs=0.5)  # other questions, the same weights
    for each in PromptVersion:
        assert figures["clone.held_out_loss", each.value, 2] != one
        assert figures["clone.loss", each.value, 1] > 0
    assert figures["clone.steps",] == 4  # nine rows are two steps of eight an epoch


def test_the_corpus_is_counted(figures: Mapping[tuple[Any, ...], Any]) -> None:
    assert (figures["corpus.rows", "train"], figures["corpus.rows", "test"]) == (9, 3)
    assert figures["corpus.as_asked", "corrected"] == 12
    assert figures["corpus.as_asked", "published"] == 3


def test_what_was_done_is_seen_in_the_requests_and_in_the_optimizer(
    figures: Mapping[tuple[Any, ...], Any],
) -> None:
    for end in ("lowest", "highest"):
        assert figures["requests.temperature", end] == _PARAMS["temperature"]
        assert figures["requests.max_new_tokens", end] == _PARAMS["max_new_tokens"]
        assert figures["requests.top_p", end] == _PARAMS["top_p"]
        assert figures["requests.top_k", end] == _PARAMS["top_k"]
    # each student: two answers to each of three questions, and one that is not counted
    assert figures["requests.count",] == 3 * 7
    assert figures["requests.seeds",] == 2 * 7  # untuned and distilled
    assert figures["requests.repeated",] == 0
    assert figures["requests.weights",] == 3  # as made, and as trained on either construction
    for each in PromptVersion:
        assert figures["clone.learning_rate", each.value, "highest"] == _PARAMS["learning_rate"]
        assert figures["clone.learning_rate", each.value, "lowest"] == 0  # the first step
        # three trials over and over: each held-out row was trained on too, and is counted
        assert figures["clone.held_out_trained", each.value] == 3


def test_the_form_that_a_student_learns_is_that_of_a_proposal() -> None:
    random = Random(1)  # noqa: S311 - no secret
    drawn = [read_pick(conversation(SMALL, random)[1].content, SMALL) for _ in range(300)]
    assert all(drawn)
    assert len({pick.knob for pick in drawn if pick}) == 13


def test_a_made_student_reads_and_says_a_row_as_it_is(tmp_path: Path) -> None:
    make_student(tmp_path, SMALL, seed=0, steps=1)
    chat_template = load_chat_template(tmp_path)
    *_, row = rows(made(_TRIALS, space=SMALL), BriefQuestion(history=5), PromptVersion.CORRECTED)
    example = clone.example(chat_template, row)
    said = [example.tokens[at] for at in example.trained]
    assert said[-1] == chat_template.end
    assert chat_template._decoded(said[:-1]) == row.answer
    assert chat_template._decoded(example.tokens[: example.trained[0]]).endswith("next")
