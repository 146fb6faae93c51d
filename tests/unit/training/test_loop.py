from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.workloads.training.loop import (
    AdamW,
    Batch,
    TrainingRun,
    cross_entropy,
    repeated_batch,
)

_CPU = torch.device("cpu")


class _Table(nn.Module):
    """The smallest language model: a row of logits for every token."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(5, 5))

    def forward(self, ids: Tensor) -> Tensor:
        return self.weight[ids]


def _fixed(_: int) -> Batch:
    ids = torch.tensor([[0, 1, 2, 3, 4]])
    return ids, ids.roll(-1, dims=1)


def _run(model: nn.Module, *, max_grad_norm: float = 1e9, rate: float = 0.5) -> TrainingRun:
    return TrainingRun(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=99.0),
        learning_rate=lambda step: rate * (step + 1),
        batch=_fixed,
        forward_context=nullcontext,
        max_grad_norm=max_grad_norm,
    )


def test_takes_the_step_that_plain_torch_takes() -> None:
    ours, theirs = _Table(), _Table()
    steps = list(_run(ours).steps(num_steps=2))
    losses = []
    for rate in (0.5, 1.0):
        optimizer = torch.optim.SGD(theirs.parameters(), lr=rate)
        ids, targets = _fixed(0)
        loss = nn.functional.cross_entropy(theirs(ids)[0], targets[0])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert torch.equal(ours.weight, theirs.weight)
    assert [step.loss for step in steps] == losses
    assert [step.learning_rate for step in steps] == [0.5, 1.0]
    assert [step.index for step in steps] == [0, 1]
    assert all(step.step_s > 0 for step in steps)


def test_clips_the_gradients_to_the_norm() -> None:
    model = _Table()
    list(_run(model, max_grad_norm=0.01, rate=1.0).steps(num_steps=1))
    assert model.weight.norm().item() == pytest.approx(0.01, rel=1e-4)


def test_steps_are_taken_one_by_one_as_they_are_asked_for() -> None:
    model = _Table()
    steps = _run(model).steps(num_steps=10)
    next(steps)
    after_one = model.weight.detach().clone()
    next(steps)
    assert not torch.equal(after_one, model.weight)


def test_the_batch_is_the_same_at_every_step_and_shifted_by_one() -> None:
    batch = repeated_batch(vocab_size=50, batch_size=2, seq_len=4, seed=0, device=_CPU)
    ids, targets = batch(0)
    assert torch.equal(ids, batch(7)[0])
    assert torch.equal(targets[:, :-1], ids[:, 1:])
    assert torch.equal(targets[:, -1], ids[:, 0])
    other = repeated_batch(vocab_size=50, batch_size=2, seq_len=4, seed=1, device=_CPU)
    assert not torch.equal(ids, other(0)[0])


def test_the_loss_is_taken_in_float32() -> None:
    logits = torch.randn(2, 3, 7, dtype=torch.bfloat16)
    targets = torch.zeros(2, 3, dtype=torch.long)
    loss = cross_entropy(logits, targets)
    expected = -logits.double().log_softmax(-1)[..., 0].mean()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def _adamw(**changes: Any) -> AdamW:
    given: dict[str, Any] = {"learning_rate": 0.1, "num_warmup": 1, "num_steps": 3}
    given |= {"betas": (0.8, 0.7), "weight_decay": 0.25, "max_grad_norm": 1e9}
    return AdamW(**{**given, **changes})


def test_a_step_is_adamws_by_hand() -> None:
    """Loshchilov and Hutter 2019 (arXiv 1711.05101), algorithm 2, in double precision."""
    model = _Table().double()
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(3))
    weight = model.weight.detach().clone()
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for step in _adamw().run(model, _fixed, nullcontext).steps(3):
        assert model.weight.grad is not None
        gradient, number = model.weight.grad, step.index + 1
        first = 0.8 * first + 0.2 * gradient
        second = 0.7 * second + 0.3 * gradient**2
        weight -= step.learning_rate * 0.25 * weight
        scaled = (first / (1 - 0.8**number)) / ((second / (1 - 0.7**number)).sqrt() + 1e-8)
        weight -= step.learning_rate * scaled
        torch.testing.assert_close(model.weight.detach(), weight, rtol=1e-12, atol=1e-14)
        assert (step.weight_decay, step.betas) == (0.25, (0.8, 0.7))


def test_a_step_says_what_it_was_fed() -> None:
    def batch(step: int) -> Batch:
        ids = torch.tensor([[0, 1, 2, 3, min(step, 1)]])
        return ids, ids.roll(-1, dims=1)

    steps = [*replace(_run(_Table()), batch=batch).steps(num_steps=3)]
    assert [step.tokens for step in steps] == [5, 5, 5]
    assert steps[0].batch != steps[1].batch == steps[2].batch


class _Clock:
    """A clock that moves only where work is done."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class _Slow(torch.autograd.Function):
    """Takes 3 s forward and 5 s back, by the clock."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, clock: _Clock) -> Tensor:
        ctx.clock = clock
        clock.now_s += 3
        return weight.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.clock.now_s += 5
        return gradients[0], None


def test_the_window_holds_forward_backward_and_the_optimizer_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = _Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(time, "monotonic", clock)

    class Model(_Table):
        def forward(self, ids: Tensor) -> Tensor:
            slow: Tensor = _Slow.apply(self.weight, clock)  # type: ignore[no-untyped-call]
            return slow[ids]

    def batch(step: int) -> Batch:
        clock.now_s += 11
        return _fixed(step)

    def optimizing(*_: object) -> None:
        clock.now_s += 7

    run = replace(_run(Model()), batch=batch)
    run.optimizer.register_step_pre_hook(optimizing)
    for step in run.steps(num_steps=2):
        assert (step.step_s, step.batch_s, step.whole_s) == (15.0, 11.0, 26.0)
        clock.now_s += 100  # whoever asks for steps may take its time


def test_each_row_is_scored_by_its_own_targets() -> None:
    ids, targets = torch.tensor([[0, 1], [3, 4]]), torch.tensor([[1, 2], [4, 0]])
    model = _Table()
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(5))
    rows = [nn.functional.cross_entropy(model(ids)[row], targets[row]) for row in (0, 1)]
    (step,) = replace(_run(model), batch=lambda _: (ids, targets)).steps(num_steps=1)
    assert step.loss == pytest.approx(sum(each.item() for each in rows) / 2, rel=1e-6)
