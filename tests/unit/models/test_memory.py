"""Memory arithmetic against published parameter counts and measured peaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.workloads.autoresearch.trajectory import TrainConfig
from harness.workloads.models import memory as capacity
from harness.workloads.models import presets
from harness.workloads.models.memory import GIB, ForwardPass, Need, NumberFormat
from harness.workloads.models.shape import ModelShape, Projection, lora_parameters, num_parameters

ATTENTION = frozenset({Projection.Q, Projection.K, Projection.V, Projection.O})


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (presets.GPT_354M, 354_601_984),
        (presets.QWEN25_3B, 3_085_938_688),
        (presets.QWEN3_4B, 4_022_468_096),
        (presets.QWEN25_7B, 7_615_616_512),
        (presets.LLAMA31_8B, 8_030_261_248),
    ],
)
def test_parameter_counts_are_the_published_ones(shape: ModelShape, parameters: int) -> None:
    assert num_parameters(shape) == parameters


def test_the_candidates_of_article_22_have_this_shape_too() -> None:
    gpt = presets.GPT_354M
    baseline = TrainConfig(
        n_layer=gpt.num_hidden_layers,
        n_head=gpt.num_attention_heads,
        d_model=gpt.hidden_size,
        d_ff=gpt.intermediate_size,
        lr=3e-4,
        lr_warmup=5,
        grad_clip=1.0,
        weight_decay=0.0,
        beta1=0.9,
        beta2=0.95,
        batch_size=16,
        seq_len=gpt.num_positions,
        precision="fp8",
        vocab_size=gpt.vocab_size,
        steps=60,
        val_chunk_tokens=16_384,
        seed=0,
    )
    assert baseline.shape == replace(gpt, name="")


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (presets.QWEN25_7B, 40_370_176),  # articles 32 to 34: 7 615 616 512 + this = 7 655 986 688
        (presets.QWEN25_3B, 29_933_568),  # article 25
    ],
)
def test_rank_16_on_all_seven_projections(shape: ModelShape, parameters: int) -> None:
    assert lora_parameters(shape, 16) == parameters
    assert lora_parameters(shape, 16, frozenset(Projection)) == parameters


def test_fewer_targets_are_fewer_parameters() -> None:
    shape = presets.QWEN25_7B
    attention = lora_parameters(shape, 16, ATTENTION)
    rest = lora_parameters(shape, 16, frozenset(Projection) - ATTENTION)
    assert attention + rest == 40_370_176


def test_a_model_without_a_gate_has_none_to_adapt() -> None:
    with pytest.raises(ValueError, match="GPT 354M has no gate_proj"):
        lora_parameters(presets.GPT_354M, 16, frozenset({Projection.GATE}))


@pytest.mark.parametrize(
    ("regime", "bytes_each", "gigabytes"),
    [
        (capacity.EIGHT_BIT_ADAM, 6, 48.2),
        (capacity.PURE_BF16, 8, 64.2),
        (capacity.PRECISION_AWARE, 10, 80.3),
        (capacity.FP32_MOMENTS, 12, 96.4),
        (capacity.MIXED, 16, 128.5),
        (capacity.PURE_FP32, 16, 128.5),
        (capacity.MEGATRON, 18, 144.5),
    ],
)
def test_states_of_an_8b_model(
    regime: capacity.Regime, bytes_each: float, gigabytes: float
) -> None:
    need = capacity.training_need(presets.LLAMA31_8B, regime, ForwardPass(tokens=0))
    assert regime.bytes_per_parameter == bytes_each
    assert need.total / 1e9 == pytest.approx(gigabytes, abs=0.05)
    assert need.total == bytes_each * 8_030_261_248


def test_the_textbook_layer_is_34_d_and_its_scores_5_a_s() -> None:
    gpt, seq = presets.GPT_354M, 1024
    fused = ForwardPass(tokens=1, dropout=True)
    plain = ForwardPass(tokens=1, dropout=True, scores_context=seq)
    outside = 5 * gpt.hidden_size + 4 * gpt.vocab_size
    layers = capacity.activation_bytes_per_token(gpt, fused) - outside
    assert layers == gpt.num_hidden_layers * 34 * gpt.hidden_size
    scores = capacity.activation_bytes_per_token(gpt, plain) - layers - outside
    assert scores == gpt.num_hidden_layers * 5 * gpt.num_attention_heads * seq


def test_a_recomputed_layer_keeps_its_input_and_one_layer_is_whole() -> None:
    llama = presets.LLAMA31_8B
    kept, again = ForwardPass(tokens=1), ForwardPass(tokens=1, recompute=True)
    outside = 4 * llama.hidden_size + 4 * llama.vocab_size
    layer = (capacity.activation_bytes_per_token(llama, kept) - outside) // 32
    found = capacity.activation_bytes_per_token(llama, again)
    assert found == 32 * 2 * 4096 + layer - 2 * 4096 + outside


# article 19, sweep_results.json, bf16 rows: tokens in a step, peak GiB allocated
MEASURED = {2048: 5.26, 4096: 7.94, 8192: 13.83, 16_384: 25.63, 32_768: 49.24}


@pytest.mark.parametrize(("tokens", "peak_gib"), MEASURED.items())
def test_measured_peaks_come_from_either_end_of_the_backward_pass(
    tokens: int, peak_gib: float
) -> None:
    def need(logit_bytes: int) -> Need:
        step = ForwardPass(tokens=tokens, dropout=True, logit_bytes=logit_bytes)
        return capacity.training_need(presets.GPT_354M, capacity.PURE_BF16, step)

    # the softmax gradient is alive where the pass begins; the parameters' own come after it
    begins = need(logit_bytes=14).total - need(logit_bytes=14).gradients
    goes_on = need(logit_bytes=10).total
    assert max(begins, goes_on) / GIB == pytest.approx(peak_gib, rel=0.015)


@pytest.mark.parametrize(
    ("shape", "kib"), [(presets.QWEN25_7B, 56), (presets.LLAMA31_8B, 128), (presets.QWEN3_4B, 144)]
)
def test_cache_of_a_token(shape: ModelShape, kib: int) -> None:
    assert capacity.kv_bytes_per_token(shape, NumberFormat.BF16) == kib * 1024


def test_cache_grows_with_context_and_sessions_alike() -> None:
    shape = presets.QWEN25_7B
    assert capacity.kv_cache_bytes(shape, NumberFormat.BF16, 32_768, 4) == 7 * GIB
    assert capacity.kv_cache_bytes(shape, NumberFormat.FP8, 32_768, 8) == 7 * GIB


def test_half_a_byte_is_rounded_up_to_a_whole_one() -> None:
    assert capacity.stored_bytes(16, NumberFormat.NVFP4) == 9
    assert capacity.stored_bytes(1, NumberFormat.NVFP4) == 1


def test_lora_trains_little_but_keeps_the_activations() -> None:
    shape, step = presets.QWEN25_7B, ForwardPass(tokens=1000)
    lora = capacity.lora_need(shape, NumberFormat.BF16, capacity.MIXED, 16, step)
    full = capacity.training_need(shape, capacity.MIXED, step)
    assert lora.activations == full.activations > 0
    assert lora.gradients == 2 * 40_370_176
    assert lora.optimizer == 12 * 40_370_176
    assert lora.weights == 2 * 7_655_986_688


def test_a_fit_says_by_how_much() -> None:
    need = Need(weights=3 * GIB, kv_cache=GIB)
    assert str(capacity.fits(need, 6 * GIB)) == "4.0 GiB, fits with 2.0 GiB to spare"
    short = capacity.fits(need, 3 * GIB)
    assert not short.fits
    assert short.spare_gib == -1.0
    assert str(short) == "4.0 GiB, does not fit: 1.0 GiB short"
    assert capacity.fits(need, 4 * GIB).fits


def test_what_the_spark_has_in_memory() -> None:
    spark = presets.DGX_SPARK
    assert int(spark.visible / GIB) == 121  # article 22: "121 GiB usable"
    assert 128e9 < spark.visible < spark.fitted


def test_what_a_machine_can_hold() -> None:
    def short(available_gib: float) -> set[tuple[str, presets.Use]]:
        rows = presets.holdings(available_gib)
        return {(row.model, row.use) for row in rows if not row.fit.fits}

    everything = short(0.0)
    assert len(everything) == len(presets.MODELS) * len(presets.Use)
    assert short(presets.DGX_SPARK.visible / GIB) == {
        (presets.QWEN25_7B.name, presets.Use.TRAIN_MIXED),
        (presets.LLAMA31_8B.name, presets.Use.TRAIN_MIXED),
    }
    assert short(1e6) == set()


def test_a_model_over_two_nodes_takes_half_on_each() -> None:
    shape = presets.LLAMA31_8B
    need = presets.need_of(shape, presets.Use.SERVE_BF16)
    share = capacity.share_of(need, shape, 2)
    assert need.total <= 2 * share.total <= need.total + 4
    assert capacity.share_of(need, shape, 1) == need
    with pytest.raises(ValueError, match="num_attention_heads 28 do not divide over 8 nodes"):
        capacity.share_of(need, presets.QWEN25_7B, 8)
