from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.workloads.pretrain.gpt import Gpt
from harness.workloads.pretrain.shape import GptShape, num_parameters

_TINY = GptShape(vocab_size=13, max_positions=6, num_layers=2, width=8, num_heads=2, ff_width=20)


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
    size = _TINY.width // _TINY.num_heads
    for layer in range(_TINY.num_layers):
        p = f"blocks.{layer}."
        normed = _norm(x, w[p + "attend_norm.weight"], w[p + "attend_norm.bias"])
        q, k, v = (normed @ w[p + "attend.qkv.weight"].T).chunk(3, dim=1)
        rows = []
        for s in range(len(ids)):
            heads = []
            for h in range(_TINY.num_heads):
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
    shape = GptShape(
        vocab_size=50257,
        max_positions=1024,
        num_layers=24,
        width=1024,
        num_heads=16,
        ff_width=4096,
    )
    with torch.device("meta"):
        model = Gpt(shape, dropout=0.1)
    assert sum(parameter.numel() for parameter in model.parameters()) == 354_601_984


def test_maps_into_the_residual_stream_start_smaller() -> None:
    shape = GptShape(
        vocab_size=64, max_positions=64, num_layers=2, width=64, num_heads=2, ff_width=256
    )
    torch.manual_seed(0)
    weights = Gpt(shape, dropout=0.0).state_dict()
    for name in ("tokens.weight", "positions.weight", "blocks.0.attend.qkv.weight"):
        assert weights[name].std().item() == pytest.approx(0.02, rel=0.05)
    for name in ("blocks.1.attend.out.weight", "blocks.1.down.weight"):
        assert weights[name].std().item() == pytest.approx(0.01, rel=0.05)  # 0.02 / sqrt(2 L)


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
