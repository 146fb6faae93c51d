from __future__ import annotations

import pytest

from harness.workloads.pretrain.shape import (
    GptShape,
    initial_loss_nats,
    num_linear_parameters,
    num_parameters,
)


def _article(max_positions: int) -> GptShape:
    return GptShape(
        vocab_size=50257,
        max_positions=max_positions,
        num_layers=24,
        width=1024,
        num_heads=16,
        ff_width=4096,
    )


def test_counts_the_articles_parameters() -> None:
    assert num_parameters(_article(1024)) == 354_601_984
    assert num_parameters(_article(2048)) == 355_650_560


def test_counts_twelve_squared_widths_a_layer() -> None:
    assert num_linear_parameters(_article(1024)) == 24 * 12 * 1024**2


def test_an_untrained_model_of_article_19_loses_11_03_nats() -> None:
    # recorded: 11.020 to 11.042 over 16 configurations
    assert initial_loss_nats(_article(1024)) == pytest.approx(11.0297, abs=1e-4)
