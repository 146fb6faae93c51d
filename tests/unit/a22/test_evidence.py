"""The workload as a whole: on a loop made by hand, and on the published one."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import InputError
from harness.experiments.a22.evidence import KNOBS, WORKLOADS
from harness.records import Profile, RunSpec, Scalar
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from tests.unit.autoresearch.conftest import CFG, METRICS, SAMPLES_HEADER

if TYPE_CHECKING:
    from tests.unit.autoresearch.conftest import Lines

DECLARED = WORKLOADS[0]
PUBLISHED = {
    "trajectory": "a22/trajectory.jsonl",
    "baseline": "a22/baseline_eval.json",
    "smoke": "a22/smoke_trajectory.jsonl",
    "power": "a22/nvidia_smi_during_run.csv",
}

Key = tuple[str, frozenset[tuple[str, Scalar]]]
Figures = dict[Key, Scalar]


def at(metric: str, **where: Scalar) -> Key:
    return metric, frozenset(where.items())


def recount(folder: Path, out: Path, files: dict[str, str], **params: Any) -> Figures:
    """Run the workload on the evidence in `folder`."""
    hashes = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files.values()
    }
    spec = RunSpec(
        scenario="a22-autoresearch-agent-loop",
        profile=Profile.EVIDENCE,
        workload=DECLARED.name,
        params={**defaults_of(DECLARED.params), **files, **params},
        evidence=hashes,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EVIDENCE_VARIABLE, str(folder))
        run(DECLARED.name, spec, out)
    measured = [e.payload for e in read_events(out / EVENTS_FILE) if e.kind == "measured"]
    figures = {at(p["metric"], **p["where"]): p["value"] for p in measured}
    assert len(figures) == len(measured), "a figure was reported twice"
    return figures


@pytest.fixture
def small(lines: Lines) -> dict[str, str]:
    """Four iterations of a minute each, at a steady 60 W, and a trial of one iteration."""
    metrics = {**METRICS, "val_bpb": 9.7}
    lines.write(
        lines.header(),
        lines.evaluated(1, "n_head=8", 9.9),
        lines.evaluated(2, "lr=0.0002", 10.2, eval_metrics={**metrics, "train_loss_first": 10.9}),
        lines.evaluated(3, "n_head=8", 10.1),
        lines.evaluated(4, "n_head=8", 9.7, eval_metrics={**metrics, "train_loss_first": 10.8}),
        lines.loop_complete(2, 2, 9.7),
        torn='{"iter": 5',
    )
    lines.write(lines.header(10.01), lines.evaluated(1, "n_head=8", 9.98), name="smoke.jsonl")
    baseline = {"baseline_cfg": CFG, "baseline_metrics": METRICS}
    (lines.folder / "baseline.json").write_text(json.dumps(baseline))
    begin = datetime(2026, 4, 25, 11, 0, tzinfo=UTC)  # 18:00 UTC, seven hours earlier locally
    rows = [
        f"{begin + timedelta(seconds=10 * n):%Y/%m/%d %H:%M:%S}.000, 90, [N/A], 60.00, 70"
        for n in range(-3, 28)
    ]
    (lines.folder / "power.csv").write_text("\n".join([SAMPLES_HEADER, *rows, ""]))
    return {
        "trajectory": "trajectory.jsonl",
        "baseline": "baseline.json",
        "smoke": "smoke.jsonl",
        "power": "power.csv",
    }


def test_a_loop_made_by_hand(lines: Lines, small: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    figures = recount(lines.folder, out, small)
    assert figures[at("iterations.count", stage="evaluated")] == 4
    assert figures[at("trajectory.torn_lines")] == 1
    assert figures[at("decisions.count", decision="keep")] == 2
    assert figures[at("best.proposal")] == "n_head=8"
    assert figures[at("worst.iteration")] == 2
    assert figures[at("value.first_losses", knob="n_head", value=8)] == 2
    assert figures[at("value.val_bpb_std", knob="lr", value=0.0002)] is None
    assert figures[at("knob.trials", knob="beta2")] == 0
    assert figures[at("repeat.in_view")] == 2
    assert figures[at("noise.std")] == pytest.approx(0.2)
    assert figures[at("noise.same_position")] == pytest.approx(0.08)
    assert figures[at("energy.gpu", subset="loop")] == pytest.approx(60.0 * 240 / 3600)
    assert figures[at("iteration.energy", iteration=3)] == pytest.approx(1.0)


def test_samples_of_another_hour_are_refused(
    lines: Lines, small: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match="utc_offset_h"):
        recount(lines.folder, out, small, utc_offset_h=2.0)


def test_a_loop_without_a_figure_is_refused(
    lines: Lines, small: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    lines.write(lines.header(), lines.nim_error(1))
    with pytest.raises(InputError, match="no iteration was evaluated"):
        recount(lines.folder, out, small)


def test_every_knob_has_its_place() -> None:
    assert len(KNOBS) == 13
    assert KNOBS[0] == "n_layer"
    assert KNOBS[-1] == "precision"


@pytest.fixture(scope="module")
def published(evidence_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return recount(evidence_dir, tmp_path_factory.mktemp("out"), PUBLISHED)


def test_published_decisions_follow_from_their_figures(published: Figures) -> None:
    assert published[at("decisions.count", decision="keep")] == 8
    assert published[at("decisions.count", decision="revert")] == 42
    for check in ("wrong", "wrong_improvement", "wrong_summary"):
        assert published[at(f"decisions.{check}")] == 0
    assert published[at("parameters.wrong")] == 0
    assert published[at("decisions.lower")] == 37
    assert published[at("decisions.below_threshold")] == 29


def test_published_keeps_are_six_of_d_model_and_two_of_d_ff(published: Figures) -> None:
    keeps = {knob: published[at("knob.accepted", knob=knob)] for knob in KNOBS}
    assert {knob: count for knob, count in keeps.items() if count} == {"d_model": 6, "d_ff": 2}
    assert published[at("value.accepted", knob="d_model", value=768)] == 6
    assert published[at("value.trials", knob="d_model", value=768)] == 7
    assert published[at("iteration.accepted_ordinal", iteration=23)] == 3


def test_published_agent_repeats_itself_ever_more(published: Figures) -> None:
    rates = [published[at("repeat.window_rate", first=first)] for first in (1, 11, 21, 31, 41)]
    assert rates == [0.5, 0.5, 0.8, 0.9, 0.9]
    assert published[at("repeat.count")] == 36
    assert published[at("repeat.of_reverted")] == 35
    assert published[at("repeat.in_view")] == 11
    assert published[at("entropy.knob")] == pytest.approx(1.904, abs=5e-4)
    assert published[at("entropy.pair")] == pytest.approx(3.386, abs=5e-4)


def test_published_threshold_is_two_standard_deviations_of_a_difference(
    published: Figures,
) -> None:
    assert published[at("noise.std")] == pytest.approx(0.01976, abs=5e-6)
    assert published[at("noise.degrees_of_freedom")] == 37
    assert published[at("noise.threshold_difference")] == pytest.approx(1.96, abs=0.005)
    assert published[at("noise.false_accept_risk")] == pytest.approx(0.025, abs=0.0005)
    assert published[at("noise.significant_accepted")] == 2
    assert published[at("noise.surviving_values")] == 1
    assert published[at("noise.surviving_accepted")] == 6
    same = published[at("noise.same_position")]
    assert isinstance(same, float)
    assert math.isclose(same, 0.0004, abs_tol=1e-9)  # a fiftieth of the noise


def test_published_energy_is_what_the_samples_add_up_to(published: Figures) -> None:
    assert published[at("energy.gpu", subset="loop")] == pytest.approx(67.74, abs=0.01)
    assert published[at("energy.gpu", subset="file")] == pytest.approx(68.89, abs=0.01)
    assert published[at("power.mean", subset="loop")] == pytest.approx(55.37, abs=0.005)
    assert published[at("power.peak", subset="loop")] == 69.0
    assert published[at("utilisation.mean", subset="loop")] == pytest.approx(93.72, abs=0.005)
    assert published[at("temperature.peak", subset="file")] == 82.0
