from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from harness.workloads.training.loop import Batch, TrainingRun, cross_entropy, repeated_batch

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
