"""The arm out of Megatron-Core is the function that the hand-written arm is.

Both start from the same weights; what differs is the order of sums and, in bfloat16, where the
softmax is rounded. Needs Megatron-Core: ``nox -s megatron``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from harness.records import Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.models.conditions import ARMS, Conditions, Framework
from harness.workloads.models.frameworks import hand_written, library
from harness.workloads.models.gpt import Gpt
from harness.workloads.models.peak_memory import local_peak_bytes
from harness.workloads.models.precision import arithmetic
from harness.workloads.models.shape import Init, Precision, gpt_shape, num_parameters
from harness.workloads.training.loop import repeated_batch
from harness.workloads.training.memory_tracker import LiveStorages
from harness.workloads.training.pretrain import training_run
from harness.workloads.training.pretrain_params import FrameworksParams

pytest.importorskip("megatron.core", reason="needs megatron-core: use nox -s megatron")

from megatron.core.transformer import TransformerConfig

from harness.workloads.models import megatron

pytestmark = pytest.mark.filterwarnings("ignore:::megatron")  # it warns of itself

_CPU = torch.device("cpu")
_SHAPE = gpt_shape(
    vocab_size=101,
    num_positions=12,
    num_hidden_layers=2,
    hidden_size=32,
    num_attention_heads=4,
    intermediate_size=96,
)
_SHARED = Conditions(
    framework=Framework.MEGATRON, precision=Precision.FP32, init=Init.SHARED, dropout=0.0
)


@pytest.fixture
def world() -> Iterator[None]:
    with megatron.world(0, device=_CPU):
        yield


def _pair(dtype: torch.dtype) -> tuple[Gpt, megatron.MegatronGpt]:
    """Both models with the same large and uneven weights, so that every part shows."""
    way = replace(arithmetic(Precision.FP32, _CPU), parameter_dtype=dtype)
    torch.manual_seed(1)
    by_hand = hand_written(_SHAPE, _SHARED, way, device=_CPU)
    with torch.no_grad():
        for parameter in by_hand.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    built = megatron.model(_SHAPE, _SHARED, way, device=_CPU)
    megatron.load(built, by_hand.state_dict(), _SHAPE)
    if dtype is torch.float64:  # the position tables too, which stay in float32 otherwise
        by_hand.double()
        built.double()
    return by_hand, built


def _loss(model: nn.Module) -> Tensor:
    batch = repeated_batch(vocab_size=101, batch_size=3, seq_len=12, seed=0, device=_CPU)
    ids, targets = batch(0)
    logits = model(ids)
    wide = logits if logits.dtype is torch.float64 else logits.float()
    return F.cross_entropy(wide.flatten(0, 1), targets.flatten())


# measured: logits 2.7e-15, 1.3e-6 and 0.034 apart, of 4; gradients 1.1e-15, 1.0e-6 and 0.023 of
# the largest of their tensor
@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("dtype", "logits_abs", "loss_abs", "gradient_share"),
    [
        (torch.float64, 1e-13, 1e-13, 1e-13),
        (torch.float32, 1e-5, 1e-5, 1e-5),
        (torch.bfloat16, 0.1, 0.01, 0.1),
    ],
)
def test_both_frameworks_are_one_function_with_one_gradient(
    dtype: torch.dtype, logits_abs: float, loss_abs: float, gradient_share: float
) -> None:
    by_hand, built = _pair(dtype)
    ids = torch.arange(12).expand(2, 12)
    assert (by_hand(ids) - built(ids)).abs().max().item() <= logits_abs
    one, other = _loss(by_hand), _loss(built)
    assert abs(one.item() - other.item()) <= loss_abs
    one.backward()  # type: ignore[no-untyped-call]
    other.backward()  # type: ignore[no-untyped-call]
    gradients = {n: p.grad for n, p in by_hand.named_parameters() if p.grad is not None}
    for name, parameter in built.core.named_parameters():
        expected = megatron.as_megatron(name, gradients, _SHAPE)
        furthest = (parameter.grad - expected).abs().max()
        assert furthest <= gradient_share * expected.abs().max(), name


@pytest.mark.usefixtures("world")
def test_every_weight_has_one_counterpart() -> None:
    by_hand, built = _pair(torch.float32)
    names = [megatron.hand_written_name(name) for name, _ in built.core.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in by_hand.named_parameters())
    assert sum(p.numel() for p in built.parameters()) == num_parameters(_SHAPE)


def test_transformer_engines_names_are_known_too() -> None:
    layer = "decoder.layers.11."
    for name, own in (
        ("self_attention.linear_qkv.layer_norm_weight", "attend_norm.weight"),
        ("mlp.linear_fc1.layer_norm_bias", "feed_norm.bias"),
    ):
        assert megatron.hand_written_name(layer + name) == f"blocks.11.{own}"
    with pytest.raises(KeyError):
        megatron.hand_written_name("decoder.layers.0.mlp.linear_fc1.bias")


def test_queries_keys_and_values_are_laid_out_head_by_head() -> None:
    shape = replace(_SHAPE, hidden_size=4, num_attention_heads=2, num_key_value_heads=2, head_dim=2)
    rows = torch.arange(12.0)[:, None].expand(12, 4)  # by hand: q0 q0 q1 q1, k..., v...
    weights = {"blocks.0.attend.qkv.weight": rows}
    fused = megatron.as_megatron(
        "decoder.layers.0.self_attention.linear_qkv.weight", weights, shape
    )
    assert fused[:, 0].tolist() == [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]


@pytest.mark.usefixtures("world")
def test_megatron_draws_what_scaled_says_and_drops_out_what_the_article_never_asked_for() -> None:
    way = arithmetic(Precision.FP32, _CPU)
    shape = replace(_SHAPE, vocab_size=400, hidden_size=64, intermediate_size=256, head_dim=16)
    torch.manual_seed(0)
    built = megatron.model(shape, replace(_SHARED, init=Init.SCALED), way, device=_CPU)
    weights = dict(built.core.named_parameters())
    for name, std in (
        ("embedding.word_embeddings.weight", 0.02),
        ("decoder.layers.0.mlp.linear_fc1.weight", 0.02),
        ("decoder.layers.1.mlp.linear_fc2.weight", 0.01),  # 0.02 / sqrt(2 L)
    ):
        assert weights[name].std().item() == pytest.approx(std, rel=0.05)
    unset = TransformerConfig(num_layers=1, hidden_size=8, num_attention_heads=1)
    assert unset.hidden_dropout == unset.attention_dropout == ARMS["nemo"].dropout
    assert unset.init_method_std == 0.02


@pytest.mark.usefixtures("world")
def test_in_bfloat16_only_the_position_table_is_wider() -> None:
    _, built = _pair(torch.bfloat16)
    dtypes = {name: parameter.dtype for name, parameter in built.core.named_parameters()}
    assert dtypes.pop("embedding.position_embeddings.weight") == torch.float32
    assert set(dtypes.values()) == {torch.bfloat16}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("batch_size", [2, 16])  # each side of where the two moments cross
def test_the_law_of_the_local_layers_is_what_is_counted(batch_size: int) -> None:
    params = _params("nemo-plain", batch_size=batch_size, seq_len=32)
    with LiveStorages() as counter:
        training = training_run(
            params, arithmetic(Precision.BF16, _CPU), library(Framework.MEGATRON, _CPU)
        )
        deque(training.steps(3), maxlen=0)
    law = local_peak_bytes(params.shape, params.tokens_per_step, Precision.BF16, dropout=False)
    assert 0 <= counter.peak_bytes - law <= 4 * 50


def test_matched_arms_lose_alike_all_the_way(tmp_path: Path) -> None:
    by_hand, built = (_losses(arm, tmp_path / arm) for arm in ("vanilla-bf16", "nemo-plain"))
    assert built[0] == pytest.approx(by_hand[0], abs=0.001)
    assert built[-1] < built[0] - 0.5
    assert max(abs(a - b) for a, b in zip(by_hand, built, strict=True)) < 0.05


def _losses(arm: str, out: Path) -> list[float]:
    out.mkdir()
    params = {**defaults_of(FrameworksParams), **_TINY, "variant": arm}
    spec = RunSpec(
        scenario="a18-nemo-framework",
        profile=Profile.CPU,
        workload="pretrain.frameworks",
        params=params,
        seed=3,
    )
    run(spec.workload, spec, out)
    events = read_events(out / EVENTS_FILE)
    measured = {e.payload["metric"]: e.payload["value"] for e in events if e.kind == "measured"}
    assert measured["conditions"] == ARMS[arm].text
    return [event.payload["values"]["loss"] for event in events if event.kind == "step"]


_TINY = {
    "batch_size": 2,
    "seq_len": 16,
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 61,
    "max_steps": 12,
    "warmup_steps": 2,
    "learning_rate": 0.01,
    "device": "cpu",
}


def _params(arm: str, *, batch_size: int, seq_len: int) -> FrameworksParams:
    return FrameworksParams(
        variant=arm,
        batch_size=batch_size,
        seq_len=seq_len,
        num_hidden_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=128,
        vocab_size=257,
        device="cpu",
    )
