"""Memory needs are linear in tokens and grow with whatever grows the model."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from harness.workloads.models import memory as capacity
from harness.workloads.models.memory import ForwardPass, NumberFormat
from harness.workloads.models.shape import ModelShape, lora_parameters, num_parameters

small = st.integers(min_value=1, max_value=64)
tokens = st.integers(min_value=0, max_value=10_000)
dtypes = st.sampled_from(NumberFormat)
regimes = st.sampled_from(capacity.REGIMES)
shapes = st.builds(
    ModelShape,
    name=st.just("any"),
    vocab_size=small,
    num_hidden_layers=small,
    hidden_size=small,
    intermediate_size=small,
    num_attention_heads=small,
    num_key_value_heads=small,
    head_dim=small,
    num_positions=st.integers(min_value=0, max_value=64),
    tied=st.booleans(),
    gated=st.booleans(),
    qkv_bias=st.booleans(),
    qk_norm=st.booleans(),
    norm_bias=st.booleans(),
)
grown = st.sampled_from(
    (
        "vocab_size",
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
    )
)


@given(shapes, grown, st.integers(min_value=1, max_value=8))
def test_a_larger_model_needs_no_less(shape: ModelShape, name: str, more: int) -> None:
    larger = replace(shape, **{name: getattr(shape, name) + more})
    step = ForwardPass(tokens=1)
    assert num_parameters(larger) > num_parameters(shape)
    assert capacity.activation_bytes_per_token(larger, step) >= (
        capacity.activation_bytes_per_token(shape, step)
    )
    assert lora_parameters(larger, 4) >= lora_parameters(shape, 4)
    assert capacity.kv_bytes_per_token(larger, NumberFormat.BF16) >= (
        capacity.kv_bytes_per_token(shape, NumberFormat.BF16)
    )


@given(shapes, regimes, tokens, tokens)
def test_activations_are_linear_in_tokens(
    shape: ModelShape, regime: capacity.Regime, one: int, other: int
) -> None:
    def need(count: int) -> int:
        step = ForwardPass(tokens=count, dropout=True)
        return capacity.training_need(shape, regime, step).total

    assert need(one) + need(other) == need(one + other) + need(0)


@given(shapes, st.integers(min_value=1, max_value=64), st.integers(min_value=1, max_value=64))
def test_adapters_are_linear_in_their_rank(shape: ModelShape, one: int, other: int) -> None:
    def parameters(rank: int) -> int:
        return lora_parameters(shape, rank)

    assert parameters(one) + parameters(other) == parameters(one + other)


@given(shapes, dtypes, tokens, st.integers(min_value=0, max_value=50))
def test_the_cache_knows_only_the_tokens_in_it(
    shape: ModelShape, dtype: NumberFormat, context: int, sessions: int
) -> None:
    together = capacity.kv_cache_bytes(shape, dtype, context * sessions, 1)
    assert capacity.kv_cache_bytes(shape, dtype, context, sessions) == together


@given(st.integers(min_value=0, max_value=10**12), dtypes)
def test_storage_is_never_less_than_the_bits(numbers: int, dtype: NumberFormat) -> None:
    bits = numbers * capacity.BITS[dtype]
    assert 0 <= capacity.stored_bytes(numbers, dtype) * 8 - bits < 8
