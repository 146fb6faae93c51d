"""Articles 25 and 32 to 36 as their GPU profiles have them, with stand-ins, on the CPU."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.records import Profile
from harness.workloads.autoresearch.proposers import answer
from tests.spark.profiles import answering, of, planned, played, values
from tests.spark.published_files import reading, write_beginning

pytest.importorskip("peft")

TRANSFORMERS = {"engine": "transformers"}  # `nox -s serving` has vLLM in its place


def written() -> str:
    from tests.spark.stand_ins import TASK  # noqa: PLC0415 - needs transformers

    return json.dumps(TASK)


@pytest.mark.timeout(900)
def test_article_34_on_a_spark_from_the_authors_tasks_to_its_comparison(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering("no task", written()) as (url, asked):
        (spec,) = planned("a34", author_base_url=url, **TRANSFORMERS)
        rows = played(spec, tmp_path / "out", models, monkeypatch)
    assert {each["model"] for each in asked} == {spec.params["author_model"]}
    assert len(asked) == 2 * 16, "each task is asked for again after a reply without one"
    assert of(rows, "serve.sandbox") == "bubblewrap"
    assert of(rows, "learn.steps", variant="full") == spec.params["max_steps"]
    commands = [
        turn["action"]["command"]
        for log in (tmp_path / "out" / ".artefacts").glob("*/files/rollouts.jsonl")
        for line in log.read_text(encoding="utf-8").splitlines()
        for turn in json.loads(line)["episode"]["turns"]
        if turn["observation"]
    ]
    assert {"ls", "mkdir -p done", "mkdir -p notes"} == set(commands)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("scenario", "profile"),
    [("a32", Profile.SPARK), ("a32", Profile.CUDA), ("a33", Profile.SPARK)],
)
def test_articles_32_and_33(
    scenario: str,
    profile: Profile,
    tmp_path: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(written()) as (url, _):
        (spec,) = planned(scenario, profile, author_base_url=url, **TRANSFORMERS)
        rows = played(spec, tmp_path / "out", models, monkeypatch)
    assert of(rows, "serve.sandbox") == "bubblewrap"
    losses = values(rows, "sft.loss")
    assert losses
    assert all(map(math.isfinite, losses))
    if scenario == "a33":
        assert of(rows, "learn.steps", variant="grpo") == spec.params["max_steps"]


def test_article_25(
    tmp_path: Path, models: Path, evidence_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {
        "a22/trajectory.jsonl": write_beginning(evidence_dir, models, "a22/trajectory.jsonl", 6),
        "a25/train.jsonl": write_beginning(evidence_dir, models, "a25/train.jsonl", 1),
    }
    with answering(answer("n_head", 8, "As published.")) as (url, asked):
        (spec,) = planned("a25", teacher_base_url=url, **TRANSFORMERS)
        rows = played(reading(spec, written), tmp_path / "out", models, monkeypatch)
    assert len(asked) == 1 + 1, "one answer before the race is not counted"
    for prompt_version in spec.params["prompt_versions"]:
        assert of(rows, "clone.held_out_loss", prompt_version=prompt_version, epoch=1) > 0
    assert of(rows, "clone.num_truncated") == 0
    assert "transformers" in of(rows, "clone.engine")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "variant",
    [
        "full",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("grpo", "igpo", "turn-clip")),
    ],
)
def test_article_36(
    variant: str, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = planned("a36", variant=variant, **TRANSFORMERS)
    rows = played(spec, tmp_path / variant, models, monkeypatch)
    assert of(rows, "retrieve.by") == "e5"
    assert of(rows, "search.calls", step=0, hops=0) > 0
    assert math.isfinite(of(rows, "train.update_norm", step=1))
