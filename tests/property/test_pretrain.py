"""What holds for the pretraining room whatever the numbers are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.probes.nvidia_smi import PowerSample, energy_wh, mean_power_w, window
from harness.statistics import least_squares
from harness.workloads.models.memory import layer_bytes_per_token
from harness.workloads.models.peak_memory import (
    peak_bytes,
    published_peak_bytes,
)
from harness.workloads.models.shape import ModelShape, Precision, gpt_shape, num_parameters
from harness.workloads.training.pretrain_laws import flop_per_token
from harness.workloads.training.pretrain_params import EnvelopeParams
from harness.workloads.training.schedule import warmup_cosine

_SHAPES = st.builds(
    lambda layers, heads, size, positions, vocab: gpt_shape(
        vocab_size=vocab,
        num_positions=positions,
        num_hidden_layers=layers,
        hidden_size=heads * size,
        num_attention_heads=heads,
        intermediate_size=4 * heads * size,
    ),
    st.integers(1, 48),
    st.integers(1, 32),
    st.integers(8, 64),
    st.integers(1, 4096),
    st.integers(2, 200_000),
)
_PRECISIONS = st.sampled_from(Precision)
_TOKENS = st.integers(1, 1 << 16)


@given(_SHAPES)
def test_the_parameter_formula_is_the_articles(shape: ModelShape) -> None:
    d, layers = shape.hidden_size, shape.num_hidden_layers
    tables = (shape.vocab_size + shape.num_positions) * d
    assert num_parameters(shape) == tables + layers * (12 * d * d + 4 * d) + 2 * d


def test_the_operations_of_a_token_are_palms() -> None:
    """Article 19's model by hand: six a weight, and twelve a layer, unit of width and position."""
    weights = 24 * 12 * 1024**2 + 50257 * 1024
    for seq_len in (1024, 2048):
        params = EnvelopeParams(seq_len=seq_len, batch_size=1, precision="bf16")
        assert flop_per_token(params) == 6 * weights + 12 * 24 * 1024 * seq_len


@given(_SHAPES, _PRECISIONS, _TOKENS, _TOKENS)
def test_more_tokens_never_need_less_memory(
    shape: ModelShape, precision: Precision, one: int, other: int
) -> None:
    fewer, more = sorted((one, other))
    for dropout in (False, True):
        needed = peak_bytes(shape, fewer, precision, dropout=dropout)
        assert needed <= peak_bytes(shape, more, precision, dropout=dropout)


@given(_SHAPES, _TOKENS)
def test_fp32_needs_most_and_dropout_is_never_free(shape: ModelShape, tokens: int) -> None:
    for dropout in (False, True):
        wide = peak_bytes(shape, tokens, Precision.FP32, dropout=dropout)
        assert wide > peak_bytes(shape, tokens, Precision.BF16, dropout=dropout)
        mixed = peak_bytes(shape, tokens, Precision.MIXED, dropout=dropout)
        assert mixed > peak_bytes(shape, tokens, Precision.BF16, dropout=dropout)
    for precision in Precision:
        without, with_masks = (
            layer_bytes_per_token(shape, precision, dropout=dropout) for dropout in (False, True)
        )
        assert with_masks - without == 2 * shape.hidden_size


@given(_SHAPES, _TOKENS)
def test_both_loops_hold_alike_in_bf16(shape: ModelShape, tokens: int) -> None:
    """They differ by what the loops keep beside the layers, a few bytes a token and width."""
    ours = peak_bytes(shape, tokens, Precision.BF16, dropout=True)
    published = published_peak_bytes(shape, tokens, Precision.BF16)
    beside = tokens * (
        5 * shape.hidden_size + shape.num_hidden_layers * (8 + 4 * shape.num_attention_heads) + 20
    )
    tables = 8 * shape.num_positions * shape.hidden_size  # the position table in float32
    assert abs(ours - published) <= beside + tables


@given(
    st.floats(-100, 100),
    st.floats(-100, 100),
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True),
)
def test_least_squares_finds_the_line_that_the_points_are_on(
    slope: float, intercept: float, xs: list[int]
) -> None:
    line = least_squares((float(x), slope * x + intercept) for x in xs)
    assert line.slope == pytest.approx(slope, abs=1e-6)
    assert line.intercept == pytest.approx(intercept, abs=1e-6)
    assert line.residual == pytest.approx(0.0, abs=1e-6)


@given(st.integers(1, 50), st.integers(1, 50), st.floats(1e-6, 1.0))
def test_the_rate_rises_to_its_peak_then_falls_but_not_to_zero(
    num_warmup: int, num_after: int, peak: float
) -> None:
    schedule = warmup_cosine(peak, num_warmup, num_warmup + num_after)
    rates = [schedule.lr_at(step) for step in range(schedule.num_steps)]
    assert rates[:num_warmup] == sorted(rates[:num_warmup])
    assert rates[num_warmup:] == sorted(rates[num_warmup:], reverse=True)
    assert max(rates) == pytest.approx(peak)
    assert min(rates) > 0


@given(
    st.lists(
        st.tuples(st.floats(0.1, 10.0), st.one_of(st.none(), st.floats(0.0, 200.0))),
        min_size=2,
        max_size=30,
    )
)
def test_energy_lies_between_the_least_and_the_highest_power(
    gaps_and_powers: list[tuple[float, float | None]],
) -> None:
    at_s, samples = 0.0, []
    for gap_s, power_w in gaps_and_powers:
        at_s += gap_s
        samples.append(PowerSample(at_s=at_s, power_w=power_w))
    known = [(s.at_s, s.power_w) for s in samples if s.power_w is not None]
    energy, mean = energy_wh(samples), mean_power_w(samples)
    if len(known) < 2:
        assert energy is None
        return
    assert energy is not None
    assert mean is not None
    hours = (known[-1][0] - known[0][0]) / 3600
    powers = [power_w for _, power_w in known]
    assert min(powers) * hours <= energy + 1e-9
    assert energy <= max(powers) * hours + 1e-9
    assert min(powers) - 1e-9 <= mean <= max(powers) + 1e-9
    assert window(samples, samples[0].at_s, samples[-1].at_s) == tuple(samples)
