"""From steps to figures, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from harness.experiments.a20.derive import path
from harness.experiments.a20.params import DATA_PATH, PathParams
from harness.records import Event, Measurement, Profile, RunSpec
from harness.workloads.api.declare import defaults_of

_SPEC = RunSpec(
    scenario="a20-training-data-path",
    profile=Profile.CPU,
    workload=DATA_PATH.name,
    params={
        **defaults_of(PathParams),
        "precisions": ["fp32"],
        "batch_sizes": [2],
        "seq_lens": [10],
        "max_steps": 4,
        "warmup_steps": 2,
        "vocab_sizes": [100, 101],
        "ab_rounds": 3,
        "steps_per_round": 2,
        "round_batch_size": 1,
        "round_seq_len": 10,
    },
)


OBSERVED = {
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "beta1": 0.9,
    "beta2": 0.95,
    "batch_s": 0.1,
    "whole_s": 0.5,
}


def _event(**values: float | str) -> Event:
    return Event(kind="step", at_s=0.0, payload={"step": 0, "values": values})


def _steps(*, overlapped: int, data_s: float) -> list[Event]:
    ends_s = (1.0, 2.0, 2.5, 3.0)  # the first two warm up
    return [
        _event(
            cell=0,
            overlapped=overlapped,
            loss=5.0 - n,
            step_s=0.4,
            **{"data_s": data_s, "at_s": end_s, "batch": n, "tokens": 20, **OBSERVED},
        )
        for n, end_s in enumerate(ends_s)
    ]


def _found(events: list[Event]) -> dict[str, Measurement]:
    return {each.metric: each for each in path(_SPEC, events)}


def test_a_batch_that_is_waited_for_and_one_made_ahead() -> None:
    found = _found([*_steps(overlapped=0, data_s=0.1), *_steps(overlapped=1, data_s=0.001)])
    values = {metric: each.value for metric, each in found.items()}
    assert values["step_time.mean"] == pytest.approx(400.0)
    assert values["tokens_per_second"] == pytest.approx(50.0)
    assert values["data.time"] == pytest.approx(100.0)
    assert values["data.overhead"] == pytest.approx(25.0)
    assert values["tokens_per_second.with_data"] == pytest.approx(40.0)
    assert values["data.wait"] == pytest.approx(1.0)
    assert values["data.wait_share"] == pytest.approx(0.25)
    assert values["tokens_per_second.overlapped"] == pytest.approx(2 * 20 / 1.0)
    assert (values["loss.first"], values["loss.last"], values["loss.fall"]) == (5.0, 2.0, 3.0)
    assert found["tokens_per_second"].where == {"precision": "fp32", "seq_len": 10, "batch_size": 2}
    assert found["tokens_per_second"].count == 2


@pytest.mark.parametrize(
    ("loss", "taken", "reason"),
    [(5.0, 3, "stopped after 3 of 4 steps"), ("nan", 4, "loss is nan at step 0")],
)
def test_a_configuration_that_did_not_train_has_no_figures(
    loss: float | str, taken: int, reason: str
) -> None:
    whole = [event.payload["values"] for event in _steps(overlapped=0, data_s=0.1)]
    found = _found([_event(**{**values, "loss": loss}) for values in whole[:taken]])
    for metric in ("tokens_per_second", "data.overhead", "loss.last", "data.wait"):
        assert found[metric].value is None
        assert found[metric].absent == reason


def _turns(step_s: dict[int, tuple[float, ...]]) -> list[Event]:
    return [
        _event(vocab_size=rows, round=number, loss=1.0, step_s=taken)
        for rows, rounds in step_s.items()
        for number, each in enumerate(rounds)
        for taken in (9.0, each)  # the first step of a turn is left out
    ]


def test_rows_are_compared_within_each_round_so_that_drift_cancels() -> None:
    # the machine gets slower from round to round; the second table is always 4 % faster
    slower = (1.0, 2.0, 4.0)
    events = _turns({100: slower, 101: tuple(each / 1.04 for each in slower)})
    found = {
        (each.metric, each.where["vocab_size"]): each
        for each in path(_SPEC, events)
        if "vocab_size" in each.where
    }
    assert found["table.ratio", 101].value == pytest.approx(1.04)
    assert found["table.ratio_low", 101].value == pytest.approx(1.04)
    assert found["table.ratio_high", 101].value == pytest.approx(1.04)
    assert found["table.tokens_per_second", 100].value == pytest.approx((10 + 5 + 2.5) / 3)
    assert found["table.ratio", 101].count == 3


def test_the_interval_is_students() -> None:
    events = _turns({100: (1.0, 1.0, 1.0), 101: (1.0, 1 / 1.1, 1 / 1.2)})
    values = {each.metric: each.value for each in path(_SPEC, events) if each.where == _ROWS}
    # mean 1.1, deviation 0.1, t of 2 degrees 4.3027
    assert values["table.ratio"] == pytest.approx(1.1)
    assert values["table.ratio_low"] == pytest.approx(1.1 - 4.30265 * 0.1 / 3**0.5, abs=1e-5)
    assert values["table.ratio_high"] == pytest.approx(1.1 + 4.30265 * 0.1 / 3**0.5, abs=1e-5)


_ROWS: dict[str, Any] = {"vocab_size": 101}


def test_rounds_that_were_not_all_run_give_no_ratio() -> None:
    found = [
        each for each in path(_SPEC, _turns({100: (1.0,), 101: (1.0,)})) if each.where == _ROWS
    ]
    assert [each.metric for each in found] == [
        "table.tokens_per_second",
        "table.ratio",
        "table.ratio_low",
        "table.ratio_high",
    ]
    assert {each.absent for each in found} == {"not all rounds were run"}


def test_every_figure_is_declared_with_its_unit() -> None:
    declared = {metric.name: metric.unit for metric in DATA_PATH.metrics}
    for each in path(_SPEC, []):
        assert declared[each.metric] == each.unit


def test_a_batch_that_is_fed_again_is_counted() -> None:
    events = [*_steps(overlapped=0, data_s=0.1), *_steps(overlapped=1, data_s=0.1)]
    assert _found(events)["batches.repeated"].value == 0  # the two orders may well share batches
    for event in events[:4]:
        event.payload["values"]["batch"] = 0.0
    assert _found(events)["batches.repeated"].value == 3
    assert _found(events)["batches.tokens"].value == 20
    assert _found(events)["optimizer.beta2"].value == 0.95
