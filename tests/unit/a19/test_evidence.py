"""Article 19 recomputed: a made-up sweep by hand, and the published one where it is at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.experiments.a19.evidence import (
    ENVELOPE_EVIDENCE,
    EnvelopeEvidenceParams,
    PublishedEnvelope,
    cell_windows,
    figure,
)
from harness.experiments.a19.published import (
    PublishedArm,
    PublishedCell,
    PublishedModel,
    PublishedSweep,
    read,
)
from harness.probes.nvidia_smi import PowerSample
from harness.records import Profile, RunSpec, Scalar
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.models.shape import Precision

Found = dict[tuple[str, frozenset[tuple[str, Scalar]]], Scalar]

_CELL = PublishedCell(
    batch_size=2,
    seq_len=100,
    precision=Precision.BF16,
    ok=True,
    params_m=0.1,
    mean_step_ms=100.0,
    tokens_per_s=2000.0,
    peak_gpu_mem_gib=1.0,
    peak_gpu_reserved_gib=1.5,
    loss_first=7.0,
    loss_last=3.0,
    wall_s=10.0,
)
_SWEEP = PublishedSweep(
    device="a device",
    torch_version="",
    te_version="",
    model=PublishedModel(vocab_size=50, n_layer=1, n_head=1, d_model=8, d_ff=32),
    sweep_steps=30,
    warmup_steps_excluded_from_mean=5,
    sweep_wall_s=70.0,
    results=(
        _CELL,
        replace(
            _CELL,
            batch_size=4,
            mean_step_ms=160.0,
            tokens_per_s=2500.0,
            peak_gpu_mem_gib=2.0,
            wall_s=20.0,
        ),
        replace(_CELL, precision=Precision.FP8, tokens_per_s=2200.0, peak_gpu_mem_gib=1.25),
        replace(
            _CELL,
            precision=Precision.FP8,
            batch_size=4,
            tokens_per_s=3000.0,
            peak_gpu_mem_gib=2.25,
            wall_s=30.0,
        ),
    ),
)


_ARM = PublishedArm(
    framework="",
    params_m=0.1,
    n_layer=1,
    d_model=8,
    seq_len=100,
    batch_size=2,
    steps=10,
    warmup_steps_excluded_from_mean=1,
    mean_step_ms=100.0,
    tokens_per_s=2000.0,
    loss_first=7.0,
    loss_last=3.0,
    peak_gpu_mem_gib=1.0,
    peak_gpu_reserved_gib=1.5,
    torch_version="",
    cuda_device="",
)


@pytest.fixture(scope="module")
def made_up() -> Found:
    """Every figure of the made-up sweep."""
    samples = [
        PowerSample(at_s=float(at), utilisation_pct=95.0, power_w=50.0, temperature_c=60.0)
        for at in range(100)
    ]
    sweep = PublishedEnvelope(
        sweep=_SWEEP,
        samples=samples,
        vanilla=_ARM,
        nemo=_ARM,
        params=EnvelopeEvidenceParams(line_from_tokens=1),
    )
    return {(f.metric, frozenset(f.where.items())): f.value for f in figure.found(sweep)}


def _one(found: Found, metric: str, **where: Scalar) -> Scalar:
    return found[metric, frozenset(where.items())]


def test_the_sweep_names_its_extremes_and_what_lies_between(made_up: Found) -> None:
    assert _one(made_up, "sweep.best_cell") == "precision=fp8 seq_len=100 batch_size=4"
    assert _one(made_up, "sweep.worst_cell") == "precision=bf16 seq_len=100 batch_size=2"
    assert _one(made_up, "sweep.max_to_min") == 1.5
    assert _one(made_up, "sweep.plateau", precision="bf16") == 1.25
    assert _one(made_up, "sweep.cells_wall_time") == 70.0
    # 200 tokens in 100 ms are 2000 a second; the second fp8 cell's rate does not fit its step
    assert _one(made_up, "sweep.tokens_per_second_deviation") == pytest.approx(100 / 3)


def test_fp8_is_compared_shape_by_shape(made_up: Found) -> None:
    assert _one(made_up, "fp8.speedup", seq_len=100, batch_size=2) == pytest.approx(10.0)
    assert _one(made_up, "fp8.memory_change", seq_len=100, batch_size=2) == 0.25
    assert _one(made_up, "fp8.speedup_max") == pytest.approx(20.0)
    assert _one(made_up, "fp8.speedup_falls") is False


def test_cells_are_laid_end_to_end_from_the_first_work() -> None:
    idle, working = 2.0, 95.0
    samples = [
        PowerSample(at_s=float(at), utilisation_pct=idle if at < 7 else working)
        for at in range(100)
    ]
    windows = [window for _, window in cell_windows(_SWEEP, samples, start_pct=10.0)]
    assert windows == [(7.0, 17.0), (17.0, 37.0), (37.0, 47.0), (47.0, 77.0)]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sweep_results.json"
    path.write_text(json.dumps({"device": "a device", "devise": 1}), encoding="utf-8")
    with pytest.raises(InputError, match="unknown field 'devise'") as caught:
        read(PublishedSweep, path)
    assert caught.value.problems[0].path == path


@pytest.fixture(scope="module")
def published(evidence_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Every figure of the workload, run on the published files."""
    params = defaults_of(ENVELOPE_EVIDENCE.params)
    files = [params[name] for name in ("sweep", "power", "vanilla", "nemo")]
    spec = RunSpec(
        scenario="a19-gb10-pretrain-envelope",
        profile=Profile.EVIDENCE,
        workload=ENVELOPE_EVIDENCE.name,
        params=params,
        evidence={each: sha256((evidence_dir / each).read_bytes()).hexdigest() for each in files},
    )
    out = tmp_path_factory.mktemp("evidence")
    run(ENVELOPE_EVIDENCE.name, spec, out)
    payloads = [e.payload for e in read_events(out / EVENTS_FILE) if e.kind == "measured"]
    return {(p["metric"], frozenset(p["where"].items())): p["value"] for p in payloads}


# what a recount by hand of the published files gave: (metric, where, figure, its last digit)
_RECOUNTED: list[tuple[str, dict[str, Scalar], float, float]] = [
    ("sweep.cells_ok", {}, 16, 0),
    ("sweep.max_to_min", {}, 1.292, 0.001),
    ("sweep.worst_share", {}, 77.4, 0.1),
    ("sweep.plateau", {"precision": "bf16"}, 1.0000, 0.0001),
    ("sweep.plateau", {"precision": "fp8"}, 0.9801, 0.0001),
    ("sweep.cells_wall_time", {}, 441.5, 0.1),
    ("fp8.speedup", {"seq_len": 1024, "batch_size": 16}, 4.69, 0.01),
    ("fp8.speedup", {"seq_len": 2048, "batch_size": 16}, 2.56, 0.01),
    ("fp8.memory_change", {"seq_len": 2048, "batch_size": 16}, -3.18, 0.01),
    ("memory.slope", {"precision": "bf16"}, 1.4749, 0.0001),
    ("memory.slope", {"precision": "fp8"}, 1.3573, 0.0001),
    ("memory.intercept", {"precision": "bf16"}, 2.043, 0.001),
    ("memory.intercept", {"precision": "fp8"}, 2.625, 0.001),
    ("sweep.samples", {"subset": "all"}, 225, 0),
    ("sweep.samples", {"subset": "busy"}, 199, 0),
    ("sweep.samples", {"subset": "busy_bf16"}, 102, 0),
    ("sweep.samples", {"subset": "busy_fp8"}, 97, 0),
    ("sweep.power_mean", {"subset": "all"}, 55.81, 0.01),
    ("sweep.power_mean", {"subset": "busy"}, 60.1, 0.1),
    ("sweep.power_mean", {"subset": "busy_bf16"}, 63.9, 0.1),
    ("sweep.power_mean", {"subset": "busy_fp8"}, 56.2, 0.1),
    ("sweep.utilisation_mean", {"subset": "all"}, 86.77, 0.01),
    ("sweep.temperature_mean", {"subset": "all"}, 65.76, 0.01),
    ("sweep.energy", {}, 7.18, 0.01),
    ("sweep.samples_span", {}, 461.7, 0.1),
    ("drift.tokens_per_second", {}, 0.12, 0.01),
    ("drift.position", {}, 2, 0),
    ("budget.chinchilla_days", {}, 5.75, 0.01),
    ("work_rate", {"variant": "best"}, 30.4, 0.1),
]


@pytest.mark.parametrize(("metric", "where", "value", "digit"), _RECOUNTED)
def test_a_published_figure(
    published: Found, metric: str, where: dict[str, Scalar], value: float, digit: float
) -> None:
    assert _one(published, metric, **where) == pytest.approx(value, abs=digit / 2 + 1e-9)


def test_the_law_reproduces_every_published_peak(published: Found) -> None:
    deviations = [value for (metric, _), value in published.items() if "law_dev" in metric]
    assert len(deviations) == 16
    assert max(abs(float(value or 0)) for value in deviations) <= 1.1
