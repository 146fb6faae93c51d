"""The searches of articles 22 and 35 as their GPU profiles have them, but small and on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.workloads.autoresearch.proposers import answer
from tests.spark.profiles import SMALLER, answering, of, planned, played
from tests.spark.published_files import reading, write_wikitext

pytest.importorskip("tokenizers")

PROPOSALS = (
    "I would rather not.",
    answer("lr", 0.01, "A higher rate learns more in sixty steps."),
    answer("d_model", 48, "A narrower model."),
)


@pytest.mark.parametrize("scenario", ["a22", "a35"])
def test_a_served_model_proposes(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "published"
    written = write_wikitext(published)
    iterations = SMALLER[scenario]["iterations"]
    with answering("ready", *PROPOSALS[:iterations]) as (url, asked):
        spec, *_ = planned(scenario, device="cpu", proposer_base_url=url)
        rows = played(reading(spec, written), tmp_path / "out", published, monkeypatch)
    assert {each["model"] for each in asked} == {spec.params["proposer_model"]}
    assert of(rows, "resume.missing") == 0
    if scenario == "a22":
        assert len(asked) == 1 + iterations
        assert of(rows, "iteration.outcome", iteration=1) == "R1_schema"
        assert of(rows, "iteration.val_bpb", iteration=2) > 0
    else:
        assert len(asked) == 2 * (1 + iterations)
        for arm in ("with_lineage", "without_lineage"):
            assert of(rows, f"{arm}.refused") == 1
            assert of(rows, "eval.val_bpb_min", variant=arm, iteration=iterations) > 0
