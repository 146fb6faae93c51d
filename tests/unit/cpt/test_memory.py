"""What a machine can train: the table, beside the arithmetic done by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.experiments.cpt.memory import TrainingParams, figure
from harness.workloads.models.memory import GIB

PARAMETERS = 8_030_261_248
Table = Mapping[tuple[object, ...], object]


def _table(params: TrainingParams) -> Table:
    return {
        (each.metric, *(value for _, value in sorted(each.where.items()))): each.value
        for each in figure.found(params)
    }


@pytest.fixture(scope="module")
def spark() -> Table:
    return _table(TrainingParams())


def test_a_spark_trains_an_8b_model_up_to_ten_bytes_a_parameter_as_it_is(spark: Table) -> None:
    fitting = {key[2] for key, value in spark.items() if key[:2] == ("need.fits", "kept") and value}
    assert fitting == {"8-bit AdamW", "pure bf16", "precision-aware", "adapters on bf16"}


def test_recomputing_makes_room_for_moments_in_fp32_and_for_no_more(spark: Table) -> None:
    again = {
        key[2] for key, value in spark.items() if key[:2] == ("need.fits", "recomputed") and value
    }
    kept = {key[2] for key, value in spark.items() if key[:2] == ("need.fits", "kept") and value}
    assert again - kept == {"fp32 moments"}


def test_no_state_of_a_49b_model_fits(spark: Table) -> None:
    fits = [value for key, value in spark.items() if key[:2] == ("state.fits", "49B")]
    assert len(fits) == 7
    assert not any(fits)


def test_a_need_is_its_states_and_its_activations(spark: Table) -> None:
    need = spark["need.memory", "recomputed", "mixed"]
    activations = spark["activations.memory", "recomputed"]
    assert isinstance(need, float)
    assert isinstance(activations, float)
    assert (need - activations) * GIB == pytest.approx(16 * PARAMETERS)


def test_offloading_into_the_same_memory_saves_nothing(spark: Table) -> None:
    assert spark["activations.saved", "offloaded"] == 0
    assert spark["activations.memory", "offloaded"] == spark["activations.memory", "kept"]


def test_the_budget_is_flop_over_six_a_parameter_and_eight_where_recomputed(spark: Table) -> None:
    kept = 27e12 / (6 * PARAMETERS)
    assert spark["budget.rate", "kept", 27.0] == pytest.approx(kept)
    assert spark["budget.rate", "recomputed", 27.0] == pytest.approx(kept * 6 / 8)
    assert spark["budget.tokens", "kept", 2.0, 27.0] == pytest.approx(kept * 172_800)


def test_a_smaller_machine_holds_less() -> None:
    small = _table(TrainingParams(available_gib=24.0, floor_gib=0.5))
    assert not any(value for key, value in small.items() if key[0] == "need.fits")
