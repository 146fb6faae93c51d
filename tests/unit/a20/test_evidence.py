"""Article 20's published files, recomputed; and where its prose leaves them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from harness.experiments.a20.evidence import PATH_EVIDENCE, PathEvidenceParams
from harness.records import Profile, RunSpec, Scalar
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events

Found = dict[tuple[str, frozenset[tuple[str, Scalar]]], Scalar]


@pytest.fixture(scope="module")
def found(evidence_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    params = defaults_of(PathEvidenceParams)
    names = [value for value in params.values() if str(value).endswith(".json")]
    out = tmp_path_factory.mktemp("out")
    spec = RunSpec(
        scenario="a20-training-data-path",
        profile=Profile.EVIDENCE,
        workload=PATH_EVIDENCE.name,
        params=params,
        evidence={name: sha256((evidence_dir / name).read_bytes()).hexdigest() for name in names},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_EVIDENCE_DIR", str(evidence_dir))
        run(spec.workload, spec, out)
    events = read_events(out / EVENTS_FILE)
    return {
        (e.payload["metric"], frozenset(e.payload["where"].items())): e.payload["value"]
        for e in events
        if e.kind == "measured"
    }


def _one(found: Found, metric: str, **where: Scalar) -> Scalar:
    return found[metric, frozenset(where.items())]


def test_the_corpus_and_its_tokens(found: Found) -> None:
    assert _one(found, "corpus.documents", stage="raw") == 1_801_350
    assert _one(found, "corpus.dropped_share", denominator="documents") == pytest.approx(
        0.6287, abs=5e-5
    )
    assert _one(found, "dedup.dropped") == 8083
    assert _one(found, "packed.tokens_agree") is True
    assert _one(found, "packed.size") == pytest.approx(417.1, abs=0.05)


def test_the_tokenizer_was_not_done_before_fifty_thousand_tokens(found: Found) -> None:
    assert _one(found, "tokenize.trained_meanwhile") == pytest.approx(14_980.5 * 40)
    assert _one(found, "tokenize.over_training", training="article 20") == pytest.approx(
        182.47, abs=0.005
    )


def test_the_table_has_a_row_that_no_token_has(found: Found) -> None:
    assert _one(found, "table.extra_rows") == 1
    where: dict[str, Scalar] = {"precision": "bf16", "seq_len": 1024, "batch_size": 4}
    assert _one(found, "parameters", **where) == 354_601_984 + 1024
    assert _one(found, "drift.tokens_per_second", **where) == pytest.approx(4.0939, abs=5e-5)


def test_what_a_step_saves_grows_with_its_tokens(found: Found) -> None:
    saved = [value for (metric, _), value in found.items() if metric == "drift.saved_per_token"]
    assert len(saved) == 8
    assert all(isinstance(each, float) and 1.5 < each < 4.5 for each in saved)


def test_the_losses_of_the_prose_are_not_those_of_the_file(found: Found) -> None:
    assert _one(found, "loss.last_max", precision="bf16") == 7.771
    assert _one(found, "drift.loss_lower", precision="bf16") == 3
