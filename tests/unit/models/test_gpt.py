from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.workloads.models.gpt import Gpt
from harness.workloads.models.shape import (
    Init,
    gpt_shape,
    initial_loss_nats,
    num_parameters,
    training_flop_per_token,
)
from harness.workloads.training.loop import cross_entropy, repeated_batch

_TINY = gpt_shape(
    vocab_size=13,
    num_positions=6,
    num_hidden_layers=2,
    hidden_size=8,
    num_attention_heads=2,
    intermediate_size=20,
)


def _tiny(seed: int = 0) -> Gpt:
    torch.manual_seed(seed)
    return Gpt(_TINY, dropout=0.0)


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def _reference(weights: dict[str, Tensor], ids: list[int]) -> Tensor:
    """Logits (S, V) in float64, position by position, from the definition."""
    w = {name: value.double() for name, value in weights.items()}
    x = torch.stack([w["tokens.weight"][i] + w["positions.weight"][s] for s, i in enumerate(ids)])
    size = _TINY.hidden_size // _TINY.num_attention_heads
    for layer in range(_TINY.num_hidden_layers):
        p = f"blocks.{layer}."
        normed = _norm(x, w[p + "attend_norm.weight"], w[p + "attend_norm.bias"])
        q, k, v = (normed @ w[p + "attend.qkv.weight"].T).chunk(3, dim=1)
        rows = []
        for s in range(len(ids)):
            heads = []
            for h in range(_TINY.num_attention_heads):
                part = slice(h * size, (h + 1) * size)
                scores = k[: s + 1, part] @ q[s, part] / math.sqrt(size)
                heads.append(scores.softmax(0) @ v[: s + 1, part])
            rows.append(torch.cat(heads))
        x = x + torch.stack(rows) @ w[p + "attend.out.weight"].T
        normed = _norm(x, w[p + "feed_norm.weight"], w[p + "feed_norm.bias"])
        up = normed @ w[p + "up.weight"].T
        x = x + (up * 0.5 * (1 + torch.erf(up / math.sqrt(2)))) @ w[p + "down.weight"].T
    return _norm(x, w["norm.weight"], w["norm.bias"]) @ w["tokens.weight"].T


def test_forward_agrees_with_the_definition() -> None:
    model = _tiny()
    with torch.no_grad():  # larger and uneven weights, so that every part shows
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    ids = [3, 1, 12, 1, 7]
    expected = _reference(model.state_dict(), ids)
    got = model(torch.tensor([ids]))[0]
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


def test_no_position_sees_a_later_one() -> None:
    model = _tiny()
    one, other = model(torch.tensor([[1, 2, 3, 4]])), model(torch.tensor([[1, 2, 3, 9]]))
    assert torch.equal(one[:, :3], other[:, :3])
    assert not torch.equal(one[:, 3], other[:, 3])


def test_has_as_many_parameters_as_the_formula_says() -> None:
    counted = sum(parameter.numel() for parameter in _tiny().parameters())
    assert counted == num_parameters(_TINY)


def test_the_articles_model_has_the_articles_size() -> None:
    shape = gpt_shape(
        vocab_size=50257,
        num_positions=1024,
        num_hidden_layers=24,
        hidden_size=1024,
        num_attention_heads=16,
        intermediate_size=4096,
    )
    with torch.device("meta"):
        model = Gpt(shape, dropout=0.1)
    assert sum(parameter.numel() for parameter in model.parameters()) == 354_601_984


def test_maps_into_the_residual_stream_start_smaller() -> None:
    shape = gpt_shape(
        vocab_size=64,
        num_positions=64,
        num_hidden_layers=2,
        hidden_size=64,
        num_attention_heads=2,
        intermediate_size=256,
    )
    torch.manual_seed(0)
    weights = Gpt(shape, dropout=0.0).state_dict()
    for name in ("tokens.weight", "positions.weight", "blocks.0.attend.qkv.weight"):
        assert weights[name].std().item() == pytest.approx(0.02, rel=0.05)
    for name in ("blocks.1.attend.out.weight", "blocks.1.down.weight"):
        assert weights[name].std().item() == pytest.approx(0.01, rel=0.05)  # 0.02 / sqrt(2 L)


_SMALL = gpt_shape(
    vocab_size=1021,
    num_positions=64,
    num_hidden_layers=4,
    hidden_size=128,
    num_attention_heads=4,
    intermediate_size=512,
)


@pytest.mark.parametrize(
    ("init", "table_std", "linear_std"),
    [
        (Init.SCALED, 0.02, 0.02),
        (Init.TORCH, 1.0, 1 / math.sqrt(3 * 128)),  # uniform between -1 and 1 over sqrt(inputs)
        (Init.SMALL_TABLES, 0.02, 1 / math.sqrt(3 * 128)),
    ],
)
def test_each_init_draws_tables_and_maps_of_its_own_spread(
    init: Init, table_std: float, linear_std: float
) -> None:
    torch.manual_seed(0)
    weights = Gpt(_SMALL, dropout=0.0, init=init).state_dict()
    for name in ("tokens.weight", "positions.weight"):
        assert weights[name].std().item() == pytest.approx(table_std, rel=0.05)
    for name in ("blocks.0.attend.qkv.weight", "blocks.3.up.weight"):
        assert weights[name].std().item() == pytest.approx(linear_std, rel=0.05)


def test_torchs_init_is_what_torchs_own_layers_draw() -> None:
    drawn = Gpt(_SMALL, dropout=0.0, init=Init.TORCH).state_dict()["blocks.0.up.weight"]
    own = torch.nn.Linear(128, 512, bias=False).weight.detach()
    assert drawn.std().item() == pytest.approx(own.std().item(), rel=0.02)
    assert drawn.abs().max() <= 1 / math.sqrt(128)


def test_shared_weights_are_the_scaled_ones() -> None:
    drawn = []
    for init in (Init.SCALED, Init.SHARED):
        torch.manual_seed(0)
        drawn.append(Gpt(_TINY, dropout=0.0, init=init).state_dict())
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])


# by 40 draws the mean over 1024 tokens of torch's init is 85.9 with a deviation of 0.8; the law
# leaves out what attention adds to the stream and lies 1.4 % above
@pytest.mark.parametrize(
    ("init", "tolerance"), [(Init.SCALED, 0.05), (Init.SMALL_TABLES, 0.05), (Init.TORCH, 4.0)]
)
def test_the_untrained_model_loses_what_the_law_says(init: Init, tolerance: float) -> None:
    torch.manual_seed(2)
    model = Gpt(_SMALL, dropout=0.0, init=init)
    batch = repeated_batch(
        vocab_size=1021, batch_size=16, seq_len=64, seed=0, device=torch.device("cpu")
    )
    ids, targets = batch(0)
    with torch.no_grad():
        logits = model(ids)
    loss = cross_entropy(logits, targets).item()
    assert loss == pytest.approx(initial_loss_nats(_SMALL, init), abs=tolerance)
    of_the_input = logits.softmax(-1).gather(-1, ids[..., None]).mean().item()
    assert of_the_input > 0.999 if init is Init.TORCH else of_the_input < 0.01


def test_only_the_position_table_stays_in_float32() -> None:
    model = _tiny()
    model.store_in(torch.bfloat16)
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert dtypes.pop("positions.weight") == torch.float32
    assert set(dtypes.values()) == {torch.bfloat16}
    assert model(torch.tensor([[1, 2]])).dtype == torch.bfloat16


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = Gpt(_TINY, dropout=0.5)
    ids = torch.tensor([[1, 2, 3]])
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))


def test_the_operations_of_the_products_are_those_that_pytorch_counts() -> None:
    """On a CPU its counter has none of attention's scores, as if there were nothing to look at."""
    model, ids = _tiny(), torch.randint(_TINY.vocab_size, (3, 6))
    with FlopCounterMode(display=False) as counter:
        cross_entropy(model(ids), ids).backward()  # type: ignore[no-untyped-call]  # torch's
    assert counter.get_total_flops() == ids.numel() * training_flop_per_token(_TINY, seq_len=0)
