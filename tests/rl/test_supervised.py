"""Supervised fine-tuning: what a step's loss is a mean of, its schedule, and that it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

NEEDS = "needs the environment `rl`: nox -s rl"
pytest.importorskip("transformers", reason=NEEDS)
pytest.importorskip("peft", reason=NEEDS)

from harness.errors import InputError  # noqa: E402
from harness.workloads.models.example import Example, masked  # noqa: E402
from harness.workloads.models.lora import LoraPolicy  # noqa: E402
from harness.workloads.models.lora_settings import Dropout  # noqa: E402
from harness.workloads.training.errors import DivergedError  # noqa: E402
from harness.workloads.training.sft import Fitted, fit, mean_loss, supervise  # noqa: E402
from harness.workloads.training.sft_settings import (  # noqa: E402
    LastStep,
    SupervisedSettings,
    Weighting,
)

from .small import CPU, LORA, VOCABULARY, new_examples, new_policy  # noqa: E402

STILL = SupervisedSettings(dropout=Dropout.OFF)


def fitted(examples: Sequence[Example]) -> Fitted:
    return fit(examples, max_tokens=2048)


def losses(policy: LoraPolicy, examples: Sequence[Example]) -> list[Tensor]:
    return [-logprobs.mean() for logprobs in policy.logprobs(examples)]


def gradient(policy: LoraPolicy, value: Tensor) -> Tensor:
    parts = torch.autograd.grad(value, policy.parameters)
    return torch.cat([part.flatten() for part in parts])


def kept(policy: LoraPolicy) -> Tensor:
    parts = [each.grad for each in policy.parameters if each.grad is not None]
    return torch.cat([part.flatten() for part in parts])


def test_article_32_makes_eleven_steps_of_forty_two_examples(base: Path) -> None:
    steps = list(supervise(new_policy(base), fitted(new_examples(42)), STILL))
    assert [step.step for step in steps] == list(range(1, 12))
    assert [step.examples for step in steps] == [4] * 10 + [2]
    assert [step.learning_rate for step in steps] == pytest.approx(
        [0.0, *(2e-5 * tenths for tenths in range(10, 0, -1))]
    )


def test_article_25_makes_thirty_steps_in_five_epochs(base: Path) -> None:
    settings = replace(
        STILL, per_device_train_batch_size=2, num_train_epochs=5, weighting=Weighting.TOKENS
    )
    steps = list(supervise(new_policy(base), fitted(new_examples(42)), settings))
    assert [step.examples for step in steps] == [8, 8, 8, 8, 8, 2] * 5
    assert settings.schedule(42).num_warmup == 3


def test_the_first_step_moves_nothing_and_the_second_does(base: Path) -> None:
    policy = new_policy(base)
    steps = supervise(policy, fitted(new_examples(8)), replace(STILL, num_train_epochs=2))
    before = policy.weights()
    moved = []
    for _ in range(2):
        next(steps)
        now = policy.weights()
        moved.append(any(not torch.equal(before[name], now[name]) for name in now))
    assert moved == [False, True]


@pytest.mark.parametrize(
    ("change", "divisor"),
    [({}, 4), ({"last_step": LastStep.OWN}, 2), ({"per_device_train_batch_size": 4}, 4)],
)
def test_a_short_last_step_is_divided_as_it_says(
    base: Path, change: dict[str, object], divisor: int
) -> None:
    policy, examples = new_policy(base), new_examples(2)
    settings = replace(STILL, max_grad_norm=1e9, **change)  # type: ignore[arg-type]
    (step,) = supervise(policy, fitted(examples), settings)
    tokens = [len(example.trained) for example in examples]
    if settings.per_device_train_batch_size == 1:
        total = torch.stack(losses(policy, examples)).sum()
        mean = total / 2
    else:
        parts = zip(losses(policy, examples), tokens, strict=True)
        total = mean = torch.stack([loss * count for loss, count in parts]).sum() / sum(tokens)
    expected = gradient(policy, total / divisor)
    torch.testing.assert_close(kept(policy), expected, rtol=1e-4, atol=1e-6)
    assert step.loss == pytest.approx(mean.item(), rel=1e-5)
    assert step.tokens == sum(tokens)


def test_tokens_count_alike_where_they_are_averaged(base: Path) -> None:
    policy, examples = new_policy(base), new_examples(3)
    settings = replace(STILL, max_grad_norm=1e9, weighting=Weighting.TOKENS)
    (step,) = supervise(policy, fitted(examples), settings)
    every = -torch.cat(policy.logprobs(examples)).mean()
    torch.testing.assert_close(kept(policy), gradient(policy, every), rtol=1e-4, atol=1e-6)
    assert step.loss == pytest.approx(mean_loss(policy, examples), rel=1e-5)


def test_what_is_shown_is_not_trained(base: Path) -> None:
    policy = new_policy(base)
    shown, said = (7, 8, 9), (3, 4)
    mask = [False] * 3 + [True] * 2
    (step,) = supervise(policy, fitted([masked(shown + said, mask)]), STILL)
    last = [Example(tokens=shown + said, trained=(at,)) for at in (3, 4)]
    assert step.tokens == 2
    assert step.loss == pytest.approx(torch.stack(losses(policy, last)).mean().item(), rel=1e-5)


def test_the_loss_falls(base: Path) -> None:
    examples = [masked([5, 6, 7, 8] * 4, [False] * 4 + [True] * 12)] * 8
    policy = LoraPolicy.open(base, LORA, CPU)
    before = mean_loss(policy, examples)
    settings = SupervisedSettings(learning_rate=1e-2, num_train_epochs=20)
    steps = list(supervise(policy, fitted(examples), settings))
    assert steps[-1].loss < 0.1 * steps[0].loss
    assert mean_loss(policy, examples) < 0.1 * before


def test_it_stops_after_the_epoch_that_suffices(base: Path) -> None:
    asked: list[int] = []

    def enough(epoch: int) -> bool:
        asked.append(epoch)
        return epoch == 2

    settings = replace(STILL, num_train_epochs=5)
    steps = list(supervise(new_policy(base), fitted(new_examples(4)), settings, enough))
    assert (len(steps), asked) == (2, [1, 2])
    assert steps[-1].learning_rate == pytest.approx(2e-4)  # the schedule is that of five


def test_the_same_seed_gives_the_same_weights(base: Path) -> None:
    def trained(seed: int, draws_before: int) -> Tensor:
        torch.manual_seed(draws_before)
        policy = new_policy(base)
        settings = SupervisedSettings(seed=seed, num_train_epochs=2)
        for _ in supervise(policy, fitted(new_examples(12)), settings):
            pass
        return torch.cat([each.flatten() for each in policy.weights().values()])

    assert torch.equal(trained(1, draws_before=0), trained(1, draws_before=5))
    assert not torch.equal(trained(1, draws_before=0), trained(2, draws_before=0))


def test_tails_are_cut_and_counted() -> None:
    long, short = Example(tokens=(1,) * 9, trained=(2, 8)), Example(tokens=(1, 2), trained=(1,))
    cut = fit([long, short], max_tokens=4)
    assert cut.truncated == 1
    assert cut.examples == (Example(tokens=(1,) * 4, trained=(2,)), short)


def test_examples_whose_answer_was_cut_off_are_named() -> None:
    late, short = Example(tokens=(1,) * 9, trained=(8,)), Example(tokens=(1, 2), trained=(1,))
    with pytest.raises(InputError) as refused:
        fit([short, late, late], max_tokens=4)
    assert [problem.key for problem in refused.value.problems] == ["example 1", "example 2"]
    with pytest.raises(InputError, match="no example to train on"):
        fit([], max_tokens=4)


def test_a_step_that_is_not_finite_is_not_made(base: Path) -> None:
    policy = new_policy(base)
    weights = dict(policy.weights())
    first = next(iter(weights))
    weights[first] = torch.full_like(weights[first], float("inf"))
    policy.put(weights)
    with pytest.raises(DivergedError, match="supervised step 1: loss nan"):
        next(supervise(policy, fitted(new_examples(2)), STILL))
    assert all(torch.equal(weights[name], value) for name, value in policy.weights().items())


def test_an_untrained_policy_s_loss_is_near_that_of_its_vocabulary(base: Path) -> None:
    policy = new_policy(base)
    assert mean_loss(policy, new_examples(20)) > float(torch.tensor(VOCABULARY).log())
