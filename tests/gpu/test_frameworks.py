"""Both arms of article 18 on whatever NVIDIA GPU is here: peaks by law, one function."""

from __future__ import annotations

from collections import deque

import pytest
import torch

from harness.experiments.a18.evidence import analytic_peak_bytes
from harness.workloads.models.conditions import ARMS
from harness.workloads.models.frameworks import library
from harness.workloads.models.precision import arithmetic
from harness.workloads.training.memory_tracker import CudaAllocator
from harness.workloads.training.pretrain import training_run
from harness.workloads.training.pretrain_params import FrameworksParams


def _first_loss_and_peak(arm: str) -> tuple[float, int]:
    device, params = torch.device("cuda"), FrameworksParams(variant=arm)
    make = library(params.conditions.framework, device)
    with make.world(0), CudaAllocator(device) as counter:
        torch.manual_seed(0)
        training = training_run(params, arithmetic(params.conditions.precision, device), make)
        steps = training.steps(num_steps=3)
        first = next(steps)
        deque(steps, maxlen=0)
    return first.loss, counter.peak_bytes


@pytest.mark.gpu
@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm.startswith("vanilla")])
def test_an_arm_by_hand_holds_what_the_law_says(arm: str) -> None:
    _, peak = _first_loss_and_peak(arm)
    assert peak == pytest.approx(analytic_peak_bytes(FrameworksParams(variant=arm)), rel=0.02)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:::megatron")
@pytest.mark.parametrize(
    ("by_hand", "built"), [("vanilla-bf16", "nemo-plain"), ("vanilla-padded", "nemo-padded")]
)
def test_an_arm_out_of_megatron_holds_and_loses_what_its_match_does(
    by_hand: str, built: str
) -> None:
    pytest.importorskip("megatron.core", reason="needs megatron-core: use nox -s megatron")
    pytest.importorskip("transformer_engine", reason="needs Transformer Engine: use image nemo")
    expected, _ = _first_loss_and_peak(by_hand)
    loss, peak = _first_loss_and_peak(built)
    assert loss == pytest.approx(expected, abs=0.01)
    assert peak == pytest.approx(analytic_peak_bytes(FrameworksParams(variant=built)), rel=0.02)
