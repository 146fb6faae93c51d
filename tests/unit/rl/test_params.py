"""Parameters that experiments share are declared once, whatever default each gives them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.experiments.a25.params import CloneParams
from harness.experiments.a32_34.params import GrpoParams
from harness.experiments.a36.params import A2tgpoParams
from harness.workloads.api.declare import build, defaults_of, fields_of, problems_of
from harness.workloads.training.params import (
    GenerationParams,
    LoraParams,
    PolicyParams,
    RolloutParams,
    TrainerParams,
)

ALL: tuple[type, ...] = (PolicyParams, LoraParams, GenerationParams, RolloutParams, TrainerParams)


@pytest.mark.parametrize(
    ("params", "shared"), [(GrpoParams, ALL), (A2tgpoParams, ALL), (CloneParams, ALL[:3])]
)
def test_a_shared_parameter_allows_the_same_everywhere(
    params: type, shared: Sequence[type]
) -> None:
    for group in shared:
        assert group in params.__mro__
        for name, (kind, declared) in fields_of(group).items():
            own_kind, own = fields_of(params)[name]
            allowed = {key: own.metadata[key] for key in ("unit", "low", "high", "choices")}
            assert own_kind is kind
            assert allowed.items() <= declared.metadata.items()


def test_an_experiment_has_defaults_of_its_own() -> None:
    assert defaults_of(A2tgpoParams)["learning_rate"] == 1e-6
    assert build(GrpoParams, {}).learning_rate == 1e-5
    assert next(problems_of(A2tgpoParams, {"num_generations": 1})).message == "out of range"
