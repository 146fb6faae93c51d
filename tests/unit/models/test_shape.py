from __future__ import annotations

import math

import pytest

from harness.workloads.models.shape import (
    Init,
    ModelShape,
    _gelu_second_moment,
    gpt_shape,
    initial_loss_nats,
    num_linear_parameters,
    num_parameters,
)


def _article(max_positions: int) -> ModelShape:
    return gpt_shape(
        vocab_size=50257,
        num_positions=max_positions,
        num_hidden_layers=24,
        hidden_size=1024,
        num_attention_heads=16,
        intermediate_size=4096,
    )


def test_counts_the_articles_parameters() -> None:
    assert num_parameters(_article(1024)) == 354_601_984
    assert num_parameters(_article(2048)) == 355_650_560


def test_counts_twelve_squared_widths_a_layer() -> None:
    assert num_linear_parameters(_article(1024)) == 24 * 12 * 1024**2


def test_an_untrained_model_of_article_19_loses_11_03_nats() -> None:
    # recorded: 11.020 to 11.042 over 16 configurations
    assert initial_loss_nats(_article(1024)) == pytest.approx(11.0297, abs=1e-4)


def test_tables_of_unit_spread_lose_597_nats() -> None:
    # recorded in article 18: 585.553; the law leaves out what attention adds to the stream
    assert initial_loss_nats(_article(1024), Init.TORCH) == pytest.approx(585.553, rel=0.025)
    assert initial_loss_nats(_article(1024), Init.SMALL_TABLES) == pytest.approx(11.0297, abs=1e-4)


@pytest.mark.parametrize("variance", [0.01, 1 / 3, 1.0, 4.0])
def test_gelus_second_moment_is_its_integral(variance: float) -> None:
    step, total = 1e-3, 0.0
    for index in range(-10_000, 10_001):
        z = index * step
        x = math.sqrt(variance) * z
        gelu = 0.5 * x * (1 + math.erf(x / math.sqrt(2)))
        total += gelu**2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * step
    assert _gelu_second_moment(variance) == pytest.approx(total, rel=1e-9)
