"""``python -m tests.bench.objectives``: what credit and loss of a batch cost, beside plain GRPO.

One batch has 1,000 rollouts of 12 turns and 6,192 drawn tokens, in groups of 8: a reply as long as
article 36 allows. Plain GRPO is its loss as it is usually written, on the same tensors, with
nothing checked and nothing counted. Times are of one thread, forward and backward.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from tabulate import tabulate
from torch import Tensor

from harness.workloads.rl.advantages import Group, Member, Objective
from harness.workloads.rl.algorithms import a2tgpo, grpo, t2po
from harness.workloads.rl.losses import (
    GRPO_CLIP,
    TURN_CLIP,
    Clip,
    Loss,
    SampledTokens,
    clipped,
    reinforce,
)
from harness.workloads.rl.rollout import Trace, TurnTrace
from tests.bench.cost import Cost

_TURNS, _TOKENS, _GROUP = 12, 516, 8  # 12 x 516 = 6,192


def main() -> None:
    """Measure every objective with its loss."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.objectives", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5, help="samples for each row")
    given = parser.parse_args()
    torch.set_num_threads(1)
    groups, drawn = list(_groups(given.rollouts)), list(_batch(given.rollouts))
    ways: dict[str, Callable[[], None]] = {
        "plain GRPO": partial(_plain, groups, drawn),
        "grpo, token clip": partial(_ours, grpo.advantages, _with_clip(GRPO_CLIP), groups, drawn),
        "grpo, reinforce": partial(_ours, grpo.advantages, reinforce, groups, drawn),
        "t2po, reinforce": partial(_ours, t2po.objective(), reinforce, groups, drawn),
        "a2tgpo, turn clip": partial(
            _ours, a2tgpo.objective(), _with_clip(TURN_CLIP), groups, drawn
        ),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.times):  # in turn, so that a busy machine disturbs all alike
        for name, way in ways.items():
            began = time.process_time()
            way()
            samples[name].append(time.process_time() - began)
    costs = {name: Cost(samples_s=tuple(each)) for name, each in samples.items()}
    plain = costs["plain GRPO"].median_s
    rows = [
        [name, cost.median_s, cost.lowest_s, cost.highest_s, cost.median_s / plain]
        for name, cost in costs.items()
    ]
    print(tabulate(rows, ("CPU s", "median", "lowest", "highest", "of plain"), floatfmt=".2f"))


def _with_clip(clip: Clip) -> Loss:
    return partial(clipped, clip=clip)


def _groups(rollouts: int) -> Iterator[Group]:
    draw = random.Random(0)  # noqa: S311 - no secret
    reply, logprobs = (2,) * _TOKENS, (-0.5,) * _TOKENS
    trace = Trace(turns=(TurnTrace(context=(1,), reply=reply, logprobs=logprobs),) * _TURNS)
    members = [
        Member(
            trace=trace,
            reward=draw.random(),
            turn_rewards=tuple(float(draw.random() < 0.7) for _ in range(_TURNS)),
            gains=tuple(draw.gauss(0, 0.1) for _ in range(_TURNS - 1)),
        )
        for _ in range(rollouts)
    ]
    for start in range(0, rollouts, _GROUP):
        yield Group(key=str(start), members=tuple(members[start : start + _GROUP]))


def _batch(rollouts: int) -> Iterator[SampledTokens]:
    torch.manual_seed(0)
    turn_ids = torch.arange(_TURNS).repeat_interleave(_TOKENS)
    for number in range(rollouts):
        old = -torch.rand(_TURNS * _TOKENS)
        new = (old + 0.01 * torch.randn_like(old)).requires_grad_()
        reference = old + 0.1 * torch.randn_like(old)
        yield SampledTokens(
            name=str(number), new=new, old=old, reference=reference, turn_ids=turn_ids
        )


def _ours(
    objective: Objective, loss: Loss, groups: Sequence[Group], drawn: Sequence[SampledTokens]
) -> None:
    credits_ = [credit for group in groups for credit in objective(group)]
    for each, credit in zip(drawn, credits_, strict=True):
        torch.autograd.grad(loss(each, credit).value, each.new)


def _plain(groups: Sequence[Group], drawn: Sequence[SampledTokens]) -> None:
    rewards = [torch.tensor([member.reward for member in group.members]) for group in groups]
    advantages = torch.cat([(each - each.mean()) / (each.std() + 1e-8) for each in rewards])
    for each, advantage in zip(drawn, advantages, strict=True):
        torch.autograd.grad(_plain_loss(each, advantage), each.new)


def _plain_loss(drawn: SampledTokens, advantage: Tensor) -> Tensor:
    assert drawn.reference is not None
    ratio_N = torch.exp(drawn.new - drawn.old)
    held_N = torch.clamp(ratio_N, 0.8, 1.2)
    policy_N = -torch.minimum(ratio_N * advantage, held_N * advantage)
    apart_N = drawn.reference - drawn.new
    return (policy_N + 0.001 * (torch.exp(apart_N) - apart_N - 1)).mean()


if __name__ == "__main__":
    main()
