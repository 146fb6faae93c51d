from __future__ import annotations

import pytest

from harness.experiments.a19.params import ENVELOPE
from harness.records import Event, Measurement, Profile, RunSpec
from harness.workloads.api.declare import defaults_of
from harness.workloads.training.pretrain_metrics import cell
from harness.workloads.training.pretrain_params import EnvelopeParams

_SPEC = RunSpec(
    scenario="a19-gb10-pretrain-envelope",
    profile=Profile.CPU,
    workload=ENVELOPE.name,
    params={
        **defaults_of(EnvelopeParams),
        "batch_size": 2,
        "seq_len": 8,
        "precision": "fp32",
        "max_steps": 4,
        "warmup_steps": 2,
    },
)


# what else a step's event holds; see `harness.workloads.training.pretrain.observed`
OBSERVED = {
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "beta1": 0.9,
    "beta2": 0.95,
    "tokens": 16,
    "batch": 7,
    "batch_s": 0.0,
    "whole_s": 0.1,
}


def _steps(*values: tuple[float | str, float]) -> list[Event]:
    return [
        Event(
            kind="step",
            at_s=float(index),
            payload={"step": index, "values": {"loss": loss, "step_s": step_s, **OBSERVED}},
        )
        for index, (loss, step_s) in enumerate(values)
    ]


def _derived(events: list[Event]) -> dict[str, Measurement]:
    return {each.metric: each for each in cell(_SPEC, events)}


def test_the_mean_leaves_the_warm_up_out() -> None:
    found = _derived(_steps((3.0, 9.0), (2.5, 9.0), (2.0, 0.1), (1.0, 0.3)))
    assert found["step_time.mean"].value == pytest.approx(200.0)
    assert found["step_time.mean"].count == 2
    assert found["tokens_per_second"].value == pytest.approx(16 / 0.2)
    assert (found["loss.first"].value, found["loss.last"].value) == (3.0, 1.0)
    assert found["loss.fall"].value == 2.0


def test_a_run_that_stopped_early_has_no_throughput() -> None:
    found = _derived(_steps((3.0, 9.0), (2.5, 9.0), (2.0, 0.1)))
    assert found["loss.first"].value == 3.0
    for metric in ("loss.last", "loss.fall", "step_time.mean", "tokens_per_second"):
        assert found[metric].value is None
        assert found[metric].absent == "stopped after 3 of 4 steps"


def test_a_loss_that_is_no_number_leaves_no_throughput() -> None:
    found = _derived(_steps((3.0, 9.0), ("nan", 9.0), (2.0, 0.1), ("inf", 0.3)))
    assert found["loss.last"].absent == "inf"
    assert found["tokens_per_second"].absent == "loss is nan at step 1"


def test_no_step_at_all_is_absent_throughout() -> None:
    found = _derived([])
    assert {each.value for each in found.values()} == {None}
    assert found["loss.first"].absent == "stopped after 0 of 4 steps"


def test_every_figure_is_declared_with_its_unit() -> None:
    declared = {metric.name: metric.unit for metric in ENVELOPE.metrics}
    for each in cell(_SPEC, _steps((3.0, 9.0), (2.5, 9.0), (2.0, 0.1), (1.0, 0.3))):
        assert declared[each.metric] == each.unit


def _observed(**series: list[float]) -> dict[str, Measurement]:
    """Figures of four steps whose observed values are these."""
    events = _steps((3.0, 0.1), (2.5, 0.1), (2.0, 0.1), (1.0, 0.1))
    for name, values in series.items():
        for event, value in zip(events, values, strict=True):
            event.payload["values"][name] = value
    return _derived(events)


def test_what_the_optimizer_held_is_a_figure() -> None:
    found = _observed(learning_rate=[1e-4, 3e-4, 2e-4, 0.0], weight_decay=[0.01, 0.01, 0.01, 0.0])
    assert found["optimizer.learning_rate"].value == 3e-4
    assert found["optimizer.beta2"].value == 0.95
    assert found["optimizer.weight_decay"].absent == "no step, or another value in each"


def test_batches_are_counted_as_fed() -> None:
    assert _observed()["batches.distinct"].value == 1
    assert _observed(batch=[1, 2, 3, 1])["batches.distinct"].value == 3
    short = _observed(tokens=[16, 16, 8, 8])
    assert short["batches.tokens"].value is None
    assert short["tokens_per_second"].value == pytest.approx(8 / 0.1)


def test_a_window_that_is_five_percent_short_leaves_five_percent() -> None:
    whole = _observed(whole_s=[0.1] * 4)
    assert whole["step_time.unaccounted"].value == pytest.approx(0.0)
    short = _observed(whole_s=[0.1] * 4, step_s=[0.095] * 4)
    assert short["step_time.unaccounted"].value == pytest.approx(5.0)
