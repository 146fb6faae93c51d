"""GRPO's loss, and what A2TGPO and GSPO change in it: from log-probabilities and advantages.

Of one rollout with N sampled tokens, each with the advantage A of its turn (`algorithms/`):

`reinforce`   mean over tokens of  -A log pi  +  beta K3
              Articles 33 and 34, section "Loss". One update a batch is made, so that the ratio to
              the weights that sampled is 1 and GRPO's clip has nothing to do.
`clipped`     mean over tokens of  -min(s A, clip(s, 1 - e_low, 1 + e_high) A)  +  beta K3
              with s = pi / pi_old. Shao et al. 2024 (arXiv 2402.03300), equation 3, where the ratio
              is of each TOKEN; GSPO where it is of the SEQUENCE; A2TGPO, equations 10 to 12, where
              it is of each TURN.
`k3`          K3 = exp(-d) + d - 1 with d = log pi - log pi_ref; the paper's equation 4: an estimate
              of the KL divergence without bias, and never below 0.

`batch_weights` says how rollouts are put together. The paper averages within each rollout first.

Shapes: N sampled tokens of one rollout, T of its turns. All log-probabilities are nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from harness.records import record
from harness.workloads.rl.advantages import Advantages, Aggregation, UnscorableError
from harness.workloads.rl.algorithms.a2tgpo import Boundaries, RatioForm

KL_COEF = 0.04  # articles 33 and 34
_MAX_LOG_RATIO = 10.0  # the released code of A2TGPO


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledTokens:
    """The trained tokens of one sequence, in order.

    Attributes:
        name: of the sequence, for an error's message.
        new: log-probabilities under the weights that are trained; carries gradients: (N,).
        old: under the weights that sampled them, without gradients: (N,).
        reference: under the weights that the policy is kept near, without gradients: (N,); None
            where there are none.
        turn_ids: of each token its turn, from 0, ascending; whole numbers: (N,).
    """

    name: str
    new: Tensor
    old: Tensor
    reference: Tensor | None = None
    turn_ids: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceLoss:
    """The loss of one sequence.

    Attributes:
        value: a scalar with gradients.
        num_tokens: N.
        statistics: means over its tokens. ``kl``: K3 to the reference, nats, where there is one,
            and ``kl_term``, that times its coefficient; ``importance_ratio_mean``: of the ratios to
            the weights that sampled; ``clip_ratio``: share whose gradient the clip took.
    """

    value: Tensor
    num_tokens: int
    statistics: Mapping[str, float]


Loss = Callable[[SampledTokens, Advantages], SequenceLoss]


class RatioOf(StrEnum):
    """What shares one ratio to the weights that sampled it."""

    TOKEN = "token"  # noqa: S105 - not a password
    TURN = "turn"
    SEQUENCE = "sequence"


@record
class Clip:
    """How a ratio is taken and clipped.

    Attributes:
        ratio_of: what shares one ratio: the geometric mean of its tokens'.
        low: clip width below 1, before a turn's scale.
        high: above 1.
        kl_coef: of K3 to the reference; 0 for none.
        boundaries: what one turn is.
        ratio_form: how the ratio is differentiated.
    """

    ratio_of: RatioOf
    low: float
    high: float
    kl_coef: float = 0.0
    boundaries: Boundaries = Boundaries.EXPLICIT
    ratio_form: RatioForm = RatioForm.GEOMETRIC


GRPO_CLIP = Clip(ratio_of=RatioOf.TOKEN, low=0.2, high=0.2, kl_coef=0.001)  # table 3
GSPO_CLIP = Clip(ratio_of=RatioOf.SEQUENCE, low=3e-4, high=4e-4)  # its bullet in the appendix
TURN_CLIP = Clip(ratio_of=RatioOf.TURN, low=3e-3, high=4e-3)  # A2TGPO


def reinforce(
    sampled: SampledTokens, advantages: Advantages, kl_coef: float = KL_COEF
) -> SequenceLoss:
    """Return mean(-A log p) + beta mean(K3); articles 33 and 34, section "Loss".

    Raises:
        UnscorableError: names the sequence and what is wrong with its numbers.
    """
    _check(sampled, advantages)
    weights_N = _of_turns(advantages.per_turn, sampled).index_select(0, sampled.turn_ids)
    policy = -torch.dot(weights_N, sampled.new) / sampled.new.numel()
    with torch.no_grad():
        ratio_mean = torch.exp(sampled.new - sampled.old).mean().item()  # 1 where it is on-policy
    return _with_kl(policy, sampled, kl_coef, {"importance_ratio_mean": ratio_mean})


def clipped(sampled: SampledTokens, advantages: Advantages, clip: Clip) -> SequenceLoss:
    """Return -mean(min(s A, clip(s, 1 - c low, 1 + c high) A)) + beta mean(K3) (eq. 12).

    s is the ratio, c the turn's clip scale, which carries no gradient; 1 where the advantages
    have none.

    Raises:
        UnscorableError: names the sequence and what is wrong with its numbers.
    """
    _check(sampled, advantages)
    if clip.ratio_of is RatioOf.TOKEN or clip.ratio_form is RatioForm.DETACHED:
        policy, statistics = _clipped_by_token(sampled, advantages, clip)
    else:
        policy, statistics = _clipped_by_turn(sampled, advantages, clip)
    return _with_kl(policy, sampled, clip.kl_coef, statistics)


def batch_weights(num_tokens: Sequence[int], aggregation: Aggregation) -> tuple[float, ...]:
    """Return what each sequence's loss is multiplied with; their sum is 1.

    Args:
        num_tokens: of each sequence that is used, at least 1.
        aggregation: SEQUENCE weighs sequences alike, TOKEN by their tokens.
    """
    if aggregation is Aggregation.SEQUENCE:
        return (1 / len(num_tokens),) * len(num_tokens)
    return tuple(count / sum(num_tokens) for count in num_tokens)


def k3(new: Tensor, reference: Tensor) -> Tensor:
    """Return exp(-d) + d - 1 with d = new - reference, token by token; never below 0."""
    difference = new - reference
    return torch.expm1(-difference) + difference


# --- Parts --------------------------------------------------------------------------------------


def _clipped_by_turn(
    sampled: SampledTokens, advantages: Advantages, clip: Clip
) -> tuple[Tensor, dict[str, float]]:
    """Work on T numbers instead of N: all that differs between a turn's tokens is in their mean.

    A turn of n tokens stands for n equal terms. Where the ratio is of more than one turn, they
    share its value and keep their own advantage and clip scale.
    """
    tokens_T = _tokens_of_turns(sampled, advantages)
    share_T = tokens_T.to(sampled.new) / sampled.new.numel()
    ratio_T = torch.exp(_mean_log_ratios(sampled, advantages, clip, tokens_T))
    held_T = torch.clamp(ratio_T, *_bounds(sampled, advantages, clip))
    value = -torch.dot(held_T, _of_turns(advantages.per_turn, sampled) * share_T)
    with torch.no_grad():
        statistics = {
            "importance_ratio_mean": torch.dot(ratio_T, share_T).item(),
            "clip_ratio": torch.dot((held_T != ratio_T).to(share_T), share_T).item(),
        }
    return value, statistics


def _clipped_by_token(
    sampled: SampledTokens, advantages: Advantages, clip: Clip
) -> tuple[Tensor, dict[str, float]]:
    ratio_N = torch.exp(_log_ratios(sampled, advantages, clip))
    advantage_N, low_N, high_N = (
        each_T.index_select(0, sampled.turn_ids)
        for each_T in (_of_turns(advantages.per_turn, sampled), *_bounds(sampled, advantages, clip))
    )
    held_N = torch.clamp(ratio_N, low_N, high_N)
    value = -torch.dot(held_N, advantage_N) / sampled.new.numel()
    with torch.no_grad():
        statistics = {
            "importance_ratio_mean": ratio_N.mean().item(),
            "clip_ratio": int(torch.count_nonzero(held_N != ratio_N)) / sampled.new.numel(),
        }
    return value, statistics


def _log_ratios(sampled: SampledTokens, advantages: Advantages, clip: Clip) -> Tensor:
    """Return one log-ratio a token: (N,); its own, or its turn's value with its own gradient."""
    if clip.ratio_of is RatioOf.TOKEN:
        return sampled.new - sampled.old
    with torch.no_grad():
        means_T = _mean_log_ratios(sampled, advantages, clip, _tokens_of_turns(sampled, advantages))
        means_N = means_T.index_select(0, sampled.turn_ids)
    return torch.clamp(sampled.new - sampled.new.detach() + means_N, max=_MAX_LOG_RATIO)


def _mean_log_ratios(
    sampled: SampledTokens, advantages: Advantages, clip: Clip, tokens_T: Tensor
) -> Tensor:
    """Return the mean log-ratio of the unit that each turn belongs to: (T,); 0 without tokens."""
    log_ratio_N = sampled.new - sampled.old
    sums_T = torch.segment_reduce(log_ratio_N, "sum", lengths=tokens_T, unsafe=True)
    units = _units(advantages, clip)
    if units[-1] == len(units) - 1:  # each turn is a unit
        return sums_T / tokens_T.clamp(min=1)
    unit_T = torch.tensor(units, device=sampled.new.device)
    sums_U = torch.zeros_like(sums_T).index_add(0, unit_T, sums_T)
    tokens_U = torch.zeros_like(tokens_T).index_add(0, unit_T, tokens_T)
    return (sums_U / tokens_U.clamp(min=1))[unit_T]


def _tokens_of_turns(sampled: SampledTokens, advantages: Advantages) -> Tensor:
    """Return how many tokens each turn has: (T,), whole numbers."""
    starts = torch.arange(len(advantages.per_turn) + 1, device=sampled.new.device)
    return torch.searchsorted(sampled.turn_ids, starts).diff()


def _units(advantages: Advantages, clip: Clip) -> tuple[int, ...]:
    """Return for each turn the number of the unit whose tokens share one ratio."""
    turns = len(advantages.per_turn)
    if clip.ratio_of is RatioOf.SEQUENCE:
        return (0,) * turns
    if clip.boundaries is Boundaries.EXPLICIT:
        return tuple(range(turns))
    changes = (now != before for before, now in pairwise(advantages.per_turn))
    return tuple(accumulate(changes, initial=0))


def _bounds(sampled: SampledTokens, advantages: Advantages, clip: Clip) -> tuple[Tensor, Tensor]:
    """Return between what each turn's ratio is held: (T,) each.

    min(s A, clip(s) A) holds s from above alone where A is positive, from below where negative.
    """
    scales = advantages.clip_scales or (1.0,) * len(advantages.per_turn)
    pairs = list(zip(advantages.per_turn, scales, strict=True))
    low = [1 - clip.low * scale if advantage < 0 else -math.inf for advantage, scale in pairs]
    high = [1 + clip.high * scale if advantage > 0 else math.inf for advantage, scale in pairs]
    return _of_turns(low, sampled), _of_turns(high, sampled)


def _of_turns(values: Sequence[float], sampled: SampledTokens) -> Tensor:
    return torch.tensor(values, dtype=sampled.new.dtype, device=sampled.new.device)


def _with_kl(
    policy: Tensor, sampled: SampledTokens, coefficient: float, statistics: dict[str, float]
) -> SequenceLoss:
    value = policy
    if sampled.reference is not None:
        with torch.set_grad_enabled(coefficient != 0):
            kl = k3(sampled.new, sampled.reference).mean()
        value = policy + coefficient * kl
        statistics["kl"] = kl.item()
        statistics["kl_term"] = coefficient * statistics["kl"]
    elif coefficient:
        message = f"{sampled.name}: a KL term needs log-probabilities of the reference"
        raise ValueError(message)
    if not torch.isfinite(value):
        message = f"{sampled.name}: its loss is {value.item()}"
        raise UnscorableError(message)
    return SequenceLoss(value=value, num_tokens=sampled.new.numel(), statistics=statistics)


def _check(sampled: SampledTokens, advantages: Advantages) -> None:
    if problem := _problem(sampled, advantages):
        message = f"{sampled.name}: {problem}"
        raise UnscorableError(message)


def _problem(sampled: SampledTokens, advantages: Advantages) -> str:
    logprobs = {"new": sampled.new.detach(), "old": sampled.old}
    if sampled.reference is not None:
        logprobs["reference"] = sampled.reference
    shapes = {name: tuple(each.shape) for name, each in logprobs.items()}
    shapes["turn_ids"] = tuple(sampled.turn_ids.shape)
    if len(set(shapes.values())) > 1 or sampled.new.dim() != 1:
        return f"shapes differ: {shapes}"
    if not sampled.new.numel():
        return "it has no trained token"
    turns = len(advantages.per_turn)
    first, last = int(sampled.turn_ids[0]), int(sampled.turn_ids[-1])
    if first < 0 or last >= turns:
        return f"tokens of turns {first}..{last}, advantages for {turns} turns"
    if not bool((sampled.turn_ids[1:] >= sampled.turn_ids[:-1]).all()):
        return "its turns are not one after the other"
    if advantages.clip_scales and len(advantages.clip_scales) != turns:
        return f"{len(advantages.clip_scales)} clip scales for {turns} turns"
    # a sum of log-probabilities is finite exactly where each of them is
    if torch.isfinite(torch.stack([each.sum() for each in logprobs.values()]).sum()):
        return ""
    broken = [name for name, each in logprobs.items() if not torch.isfinite(each).all()]
    return f"log-probabilities are not finite: {', '.join(broken)}"
