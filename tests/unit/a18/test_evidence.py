"""Article 18 recomputed, from arms made up; the published files are in `tests/scenarios`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.experiments.a18.evidence import (
    FrameworksEvidenceParams,
    FrameworkVariant,
    PublishedFrameworks,
    figure,
    state_traffic_bytes,
)
from harness.experiments.a19.published import PublishedArm, PublishedSnapshot, read_snapshot
from harness.records import Scalar
from harness.workloads.models.shape import Precision
from harness.workloads.training.pretrain_params import FrameworksParams

_VANILLA = PublishedArm(
    framework="vanilla_pytorch",
    params_m=354.6,
    n_layer=24,
    d_model=1024,
    seq_len=1024,
    batch_size=4,
    steps=100,
    warmup_steps_excluded_from_mean=10,
    mean_step_ms=400.0,
    tokens_per_s=10_000.0,
    loss_first=500.0,
    loss_last=50.0,
    peak_gpu_mem_gib=12.0,
    peak_gpu_reserved_gib=15.0,
    torch_version="one",
    cuda_device="a device",
)
_NEMO = replace(
    _VANILLA,
    mean_step_ms=300.0,
    tokens_per_s=12_000.0,
    loss_first=10.0,
    loss_last=0.5,
    peak_gpu_mem_gib=9.0,
    peak_gpu_reserved_gib=12.0,
    torch_version="another",
)
_LOOK = PublishedSnapshot(
    device="", utilisation_pct=0, memory_used="", memory_total="", power_w=0, temperature_c=0
)


def _found(
    params: FrameworksEvidenceParams = FrameworksEvidenceParams(),  # noqa: B008 - it is frozen
) -> dict[tuple[str, Scalar], Scalar]:
    def arm(name: str, recorded: PublishedArm) -> FrameworkVariant:
        return FrameworkVariant(
            recorded=recorded, params=FrameworksParams(variant=name), evidence=params
        )

    arms = PublishedFrameworks(
        vanilla=arm("vanilla", _VANILLA), nemo=arm("nemo", _NEMO), snapshot=_LOOK
    )
    found = figure.found(arms)
    return {(each.metric, next(iter(each.where.values()), None)): each.value for each in found}


def test_gains_are_of_nemo_over_vanilla() -> None:
    found = _found()
    assert found["gain.tokens_per_second", None] == pytest.approx(20.0)
    assert found["gain.step_time", None] == pytest.approx(-25.0)
    assert found["gain.step_saved", None] == 100.0
    assert found["gain.memory_allocated", None] == pytest.approx(-25.0)
    assert found["gain.memory_saved", None] == 3.0
    assert found["loss.ratio", "first"] == 50.0
    assert found["loss.ratio", "last"] == 100.0


def test_the_published_arms_were_not_matched() -> None:
    found = _found()
    assert found["conditions.differing", None] == 3
    assert found["conditions.same_torch", None] is False


def test_the_changes_of_memory_add_up_to_the_whole() -> None:
    found = _found()
    whole, start = (float(found["memory.law", arm] or 0) for arm in ("nemo", "vanilla"))
    changes = [float(v or 0) for (metric, _), v in found.items() if metric == "memory.law_change"]
    assert len(changes) == 4
    assert sum(changes) == pytest.approx(100 * (whole / start - 1))
    assert found["memory.law_change", "framework"] == pytest.approx(0.0, abs=0.1)


def test_states_of_two_bytes_move_20_bytes_a_parameter_instead_of_52() -> None:
    # by hand, float32: norm 4, clip 8, Adam reads 16 and writes 12; casts 6 and 6
    assert state_traffic_bytes(Precision.MIXED) == 4 + 8 + 16 + 12 + 6 + 6
    assert state_traffic_bytes(Precision.FP32) == 40
    assert state_traffic_bytes(Precision.BF16) == 20


def test_twice_the_bandwidth_halves_the_least_time() -> None:
    slow, fast = (_found(FrameworksEvidenceParams(bandwidth_gb_s=rate)) for rate in (273.0, 546.0))
    saved = float(slow["traffic.min_saved", None] or 0)
    assert saved == pytest.approx(354_601_984 * 32 / 273e6)  # ms
    assert fast["traffic.min_saved", None] == pytest.approx(saved / 2)


def test_a_night_and_a_long_run_are_the_rates_multiplied() -> None:
    params = FrameworksEvidenceParams(overnight_steps=9000, night_h=1.0, nights=10)
    found = _found(params)
    assert found["long_run.time", "vanilla"] == pytest.approx(1.0)  # 9000 x 0.4 s
    assert found["long_run.saved", None] == pytest.approx(15.0)
    assert found["night.tokens", "nemo"] == pytest.approx(12_000 * 3600)
    assert found["night.gain", None] == pytest.approx(2000 * 3600)
    assert found["year.gain", None] == pytest.approx(0.072)


def test_a_look_at_the_gpu_is_read_cell_by_cell(tmp_path: Path) -> None:
    path = tmp_path / "look.txt"
    path.write_text("a device, 96 %, [N/A], [N/A], 60.5 W, 51\n", encoding="utf-8")
    snapshot = read_snapshot(path)
    assert (snapshot.device, snapshot.memory_used) == ("a device", "[N/A]")
    assert (snapshot.utilisation_pct, snapshot.power_w, snapshot.temperature_c) == (96, 60.5, 51)


@pytest.mark.parametrize("line", ["a device, 96 %", "a device, [N/A], x, x, 60 W, 51"])
def test_a_damaged_look_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "look.txt"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_snapshot(path)
    assert caught.value.problems[0].path == path
