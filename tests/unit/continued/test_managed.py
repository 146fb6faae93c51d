"""NeMo's experiment manager around the base: the same losses, and what it adds around them.

Needs nemo_toolkit: ``nox -s nemo``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo.utils.exp_manager", reason="needs nemo_toolkit: use nox -s nemo")

from harness.experiments.cpt.managed import Base, train
from harness.experiments.cpt.params import REPLAY, ReplayParams
from harness.experiments.cpt.replay import Experiment
from harness.records import Profile, RunSpec
from harness.workloads.api.context import Context
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EventWriter
from harness.workloads.models.frameworks import hand_written

pytestmark = pytest.mark.filterwarnings("ignore")  # NeMo and Lightning warn of much

PARAMS: ReplayParams = build(
    ReplayParams,
    {
        **defaults_of(ReplayParams),
        "vocab_size": 24,
        "branches": 2,
        "seq_len": 16,
        "batch_size": 10,
        "width": 24,
        "num_heads": 2,
        "ff_width": 48,
        "steps": 12,
        "held_out": 4,
        "device": "cpu",
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("managed")


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return train(PARAMS, 3, folder)


def test_the_losses_are_those_of_the_loop_written_here(base: Base, tmp_path: Path) -> None:
    spec = RunSpec(
        scenario="none", profile=Profile.CPU, workload="continued.replay", params={}, seed=3
    )
    with EventWriter(tmp_path / "events.jsonl", REPLAY.metrics) as emit:
        experiment = Experiment(Context(spec=spec, params=PARAMS, out=tmp_path, emit=emit))
    torch.manual_seed(3)
    model = hand_written(
        PARAMS.shape, PARAMS.conditions, experiment.arithmetic, device=torch.device("cpu")
    )
    training = experiment.training(model, experiment.in_order(), PARAMS.steps, PARAMS.learning_rate)
    assert base.losses == [step.loss for step in training.steps(PARAMS.steps)]
    assert len(base.losses) == 12
    assert base.losses[-1] < base.losses[0]


def test_the_experiment_manager_keeps_log_events_and_weights(base: Base, folder: Path) -> None:
    assert [*folder.glob("events.out.tfevents.*")]
    assert {"cmd-args.log", "lightning_logs.txt"} <= {file.name for file in folder.iterdir()}
    best = min((folder / "checkpoints").glob("*.ckpt"))
    kept = torch.load(best, weights_only=False)
    assert kept["global_step"] == 12
    for name, weights in base.state_dict().items():
        assert torch.equal(kept["state_dict"][name], weights), name
