from __future__ import annotations

import pytest

from harness.statistics import least_squares
from harness.workloads.models.memory import layer_bytes_per_token
from harness.workloads.models.peak_memory import (
    local_peak_bytes,
    peak_bytes,
    published_peak_bytes,
    weight_copy_bytes,
)
from harness.workloads.models.shape import ModelShape, Precision, gpt_shape

_GIB = 1024.0**3

# article 19, sweep_results.json: (precision, sequence, batch) -> peak_gpu_mem_gib
PUBLISHED_GIB = {
    (Precision.BF16, 1024, 2): 5.26,
    (Precision.BF16, 1024, 4): 7.94,
    (Precision.BF16, 1024, 8): 13.83,
    (Precision.BF16, 1024, 16): 25.63,
    (Precision.BF16, 2048, 2): 7.95,
    (Precision.BF16, 2048, 4): 13.85,
    (Precision.BF16, 2048, 8): 25.65,
    (Precision.BF16, 2048, 16): 49.24,
    (Precision.FP8, 1024, 2): 5.60,
    (Precision.FP8, 1024, 4): 8.03,
    (Precision.FP8, 1024, 8): 13.49,
    (Precision.FP8, 1024, 16): 24.33,
    (Precision.FP8, 2048, 2): 8.05,
    (Precision.FP8, 2048, 4): 13.52,
    (Precision.FP8, 2048, 8): 24.34,
    (Precision.FP8, 2048, 16): 46.06,
}


def _article(max_positions: int = 1024) -> ModelShape:
    return gpt_shape(
        vocab_size=50257,
        num_positions=max_positions,
        num_hidden_layers=24,
        hidden_size=1024,
        num_attention_heads=16,
        intermediate_size=4096,
    )


@pytest.mark.parametrize(("cell", "published_gib"), PUBLISHED_GIB.items())
def test_both_laws_are_within_1_1_percent_of_every_published_peak(
    cell: tuple[Precision, int, int], published_gib: float
) -> None:
    precision, seq_len, batch_size = cell
    shape, tokens = _article(seq_len), seq_len * batch_size
    of_article = published_peak_bytes(shape, tokens, precision) / _GIB
    of_ours = peak_bytes(shape, tokens, precision, dropout=True) / _GIB
    assert of_article == pytest.approx(published_gib, rel=0.011)
    assert of_ours == pytest.approx(published_gib, rel=0.011)


def test_the_laws_are_within_0_7_percent_of_article_18s_two_peaks() -> None:
    shape, tokens = _article(), 4096
    vanilla = peak_bytes(shape, tokens, Precision.MIXED, dropout=False) / _GIB
    nemo = published_peak_bytes(shape, tokens, Precision.BF16) / _GIB
    assert vanilla == pytest.approx(11.28, rel=0.002)
    assert nemo == pytest.approx(7.94, rel=0.007)


def test_mixed_is_sixteen_bytes_a_parameter_and_a_copy_of_two() -> None:
    shape = _article()
    assert layer_bytes_per_token(shape, Precision.MIXED, dropout=False) == 36 * shape.hidden_size
    multiplied = 12 * 24 * 1024**2 + 50257 * 1024
    assert weight_copy_bytes(shape, Precision.MIXED) == 2 * multiplied


def test_without_dropout_the_published_loop_keeps_no_masks() -> None:
    shape, tokens = _article(), 4096
    with_masks, without = (
        published_peak_bytes(shape, tokens, Precision.BF16, dropout=dropout)
        for dropout in (True, False)
    )
    assert with_masks - without == tokens * 1024 * (2 * 24 + 1)


def test_local_layers_keep_a_score_matrix_a_layer() -> None:
    shape, tokens = _article(), 4096
    for precision, scores in ((Precision.FP32, 4), (Precision.BF16, 6)):
        more = local_peak_bytes(shape, tokens, precision, dropout=False) - peak_bytes(
            shape, tokens, precision, dropout=False
        )
        matrices = 24 * 16 * tokens * 1024 * scores
        assert more == pytest.approx(matrices, rel=0.002)


def test_a_layer_keeps_the_textbooks_34_bytes_a_token_and_width() -> None:
    shape = _article()
    assert layer_bytes_per_token(shape, Precision.BF16, dropout=True) == 34 * shape.hidden_size
    assert layer_bytes_per_token(shape, Precision.BF16, dropout=False) == 32 * shape.hidden_size
    assert layer_bytes_per_token(shape, Precision.FP32, dropout=False) == 64 * shape.hidden_size
    assert layer_bytes_per_token(shape, Precision.FP8, dropout=True) == 29 * shape.hidden_size


def test_two_eight_bit_weight_copies_are_0_5625_gib() -> None:
    assert weight_copy_bytes(_article(), Precision.FP8) / _GIB == 0.5625
    assert weight_copy_bytes(_article(), Precision.BF16) == 0


def test_least_squares_agrees_with_the_published_bf16_line() -> None:
    points = [
        (float(seq_len * batch_size), gib)
        for (precision, seq_len, batch_size), gib in PUBLISHED_GIB.items()
        if precision is Precision.BF16 and seq_len * batch_size >= 4096
    ]
    line = least_squares(points)
    assert line.slope * 1024 == pytest.approx(1.4749, abs=1e-4)  # MiB, where the article has KiB
    assert line.intercept == pytest.approx(2.043, abs=1e-3)
    assert line.residual == pytest.approx(0.012, abs=1e-3)


def test_no_line_goes_through_points_of_one_x() -> None:
    with pytest.raises(ValueError, match="no line through 2 points of one x"):
        least_squares([(1.0, 2.0), (1.0, 3.0)])
