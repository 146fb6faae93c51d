"""What is asked of Transformer Engine, which installs with CUDA alone: around a stand-in."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What its maps and its context were asked for."""
    found: dict[str, Any] = {}

    class Recipe:
        def __init__(self, **given: Any) -> None:
            found["recipe"] = given

    def linear(num_in: int, num_out: int, *, bias: bool) -> Any:
        found["bias"] = bias
        return torch.nn.Linear(num_in, num_out, bias=bias)

    def autocast(**given: Any) -> AbstractContextManager[None]:
        found["context"] = given
        return nullcontext()

    content: dict[str, dict[str, Any]] = {
        "transformer_engine": {},
        "transformer_engine.pytorch": {"Linear": linear, "fp8_autocast": autocast},
        "transformer_engine.common": {},
        "transformer_engine.common.recipe": {
            "DelayedScaling": Recipe,
            "Format": type("Format", (), {"HYBRID": "E4M3 forward, E5M2 backward"}),
        },
    }
    for name, attributes in content.items():
        module = ModuleType(name)
        module.__dict__.update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        sys.modules["transformer_engine"],
        "pytorch",
        sys.modules["transformer_engine.pytorch"],
        raising=False,
    )
    return found


def test_its_recipe_is_that_of_articles_19_and_20(asked: dict[str, Any]) -> None:
    from harness.workloads.models.fp8 import transformer_engine  # noqa: PLC0415 - needs torch

    way = transformer_engine()
    assert asked["recipe"] == {
        "fp8_format": "E4M3 forward, E5M2 backward",
        "amax_history_len": 16,
        "amax_compute_algo": "max",
    }
    layer = way.linear(32, 16)
    with way.context():
        assert layer(torch.ones(2, 32)).shape == (2, 16)
    assert asked["bias"] is False
    assert asked["context"]["enabled"] is True
