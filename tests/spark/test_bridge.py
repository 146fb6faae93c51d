"""The experiment's side of Megatron Bridge: what it sets, feeds and reports, around a stand-in."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest

import harness.workloads.data.prose
from tests.spark import bridge_stand_in
from tests.spark.profiles import of, planned, played, values

pytest.importorskip("peft")  # the layer with transformers

PROSE = ["The old domain is prose that everybody has read. " * 40] * 60


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in bridge_stand_in.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "harness.experiments.cpt.bridge", raising=False)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.4.0")
    # the real one reads all that is installed, for minutes
    monkeypatch.setattr(harness.workloads.data.prose, "documents", lambda _: iter(PROSE))


@pytest.mark.usefixtures("bridge")
def test_it_continues_a_model_and_reports_both_domains(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"seq_len": 32, "batch_size": 4, "max_steps": 10, "num_eval_examples": 2}
    specs = planned("cpt", **small)
    assert [each.params["replay_ratio"] for each in specs] == [0.0, 0.05, 0.25, 0.5]
    for spec in islice(specs, 0, None, 2):
        ratio = spec.params["replay_ratio"]
        out = tmp_path / f"{ratio:g}"
        rows = played(spec, out, models, monkeypatch)
        row = {"variant": "all", "replay_ratio": ratio}
        assert of(rows, "tokens.continued", **row) == 10 * 4 * 32
        assert of(rows, "tokens.replayed", **row) == ratio * 10 * 4 * 32
        for domain in ("old", "new"):
            before = of(rows, "base.loss", domain=domain)
            after = of(rows, "loss", domain=domain, **row)
            change = of(rows, {"old": "forgetting", "new": "gain"}[domain], **row)
            assert change == pytest.approx(after - before if domain == "old" else before - after)
            assert len(values(rows, f"eval.loss_{domain}")) == spec.params["num_eval_points"] + 1
        assert of(rows, "memory.peak_allocated") > 0
