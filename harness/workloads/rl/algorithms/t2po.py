"""T2PO as article 34 ran it, and as its paper describes it: what differs from GRPO.

Two things differ while a rollout is sampled, one when it is scored.

**A turn is sampled again** while its uncertainty is nearly that of the turn before (`Resampling`).
In the article uncertainty is the mean entropy of the turn's tokens; in the paper it is the
geometric mean of M_t = a * H + (1 - a) * (1 - C), with H entropy and C confidence, both normalised.

**A token is forced** in the paper: once M_t has hardly changed for a while, the model is told to
stop thinking (`intervention`). The article only caps the reply at 450 tokens, which is looser than
the 400 of the run it compares with.

**Turns have advantages of their own**, z-scores of a reward of 0 or 1 among the rollouts that reach
the turn, added to the rollout's (`advantages`).

Where the paper's published formulas leave something open, the choice is a field of
`UncertaintyMixture` or `InterventionRule`, and its docstring says that it is ours. The released
code of the paper has neither the mixture nor the intervention: its training loop reads a score that
nothing computes, and its length of thought has no consumer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from harness.records import record
from harness.workloads.inference.engine import Reply
from harness.workloads.rl.advantages import (
    ARTICLE,
    NEGLIGIBLE,
    Advantages,
    Group,
    Objective,
    UnscorableError,
    advantages_of,
    by_turn,
    check,
    masked_group,
    z_scores,
)

# how uncertain a reply was, from the log-probabilities of its tokens' alternatives
Uncertainty = Callable[[Sequence[Sequence[float]]], float | None]

# --- Uncertainty --------------------------------------------------------------------------------


def token_entropy(alternatives: Sequence[float], top_k: int) -> float:
    """Return the entropy of one token, nats, over its `top_k` likeliest, renormalised.

    The tail is left out, so this is below the true entropy and at most ln(top_k).

    Args:
        alternatives: log-probabilities, highest first; minus infinity for an impossible token.
        top_k: how many of them to use.

    Raises:
        UnscorableError: there are fewer, or one is NaN or plus infinity: entropies over sets of
            different sizes must not be compared.
    """
    logprobs = _likeliest(alternatives, top_k)
    total = math.fsum(map(math.exp, logprobs))
    shares = (math.exp(logprob) / total for logprob in logprobs)
    return -math.fsum(share * math.log(share) for share in shares if share > 0)


def turn_entropy(alternatives: Sequence[Sequence[float]], top_k: int = 20) -> float | None:
    """Return the mean entropy of a reply's tokens, nats; None for a reply without tokens.

    Article 34, section "Turn-level": the 20 likeliest of each token.

    Raises:
        UnscorableError: a token has fewer alternatives.
    """
    if not alternatives:
        return None
    entropies = [token_entropy(each, top_k) for each in alternatives]
    return math.fsum(entropies) / len(entropies)


@record
class UncertaintyMixture:
    """The paper's uncertainty of one token: M = a * H + (1 - a) * (1 - C), in [0, 1].

    The paper normalises H and C without saying by what. Here H is divided by its maximum ln(k),
    and C runs from its least value ln(k), where the k likeliest are equally likely, to `certain`.

    Attributes:
        weight: the paper's alpha; its best is 0.4.
        top_k: how many of the likeliest tokens H and C are taken over.
        certain: mean negative log-probability of the likeliest at which C is 1, nats; ours.
        floor: least M in a geometric mean, so that one certain token does not make it 0; ours.
    """

    weight: float = 0.4
    top_k: int = 20
    certain: float = 20.0
    floor: float = 1e-3

    def token(self, alternatives: Sequence[float]) -> float:
        """Return M of one token.

        Raises:
            UnscorableError: it has fewer than `top_k` alternatives, or numbers that mean nothing.
        """
        logprobs = _likeliest(alternatives, self.top_k)
        least = math.log(self.top_k)
        entropy = token_entropy(logprobs, self.top_k) / least
        confidence = -math.fsum(logprobs) / self.top_k
        confidence = min(max((confidence - least) / (self.certain - least), 0.0), 1.0)
        return self.weight * entropy + (1 - self.weight) * (1 - confidence)

    def tokens(self, alternatives: Sequence[Sequence[float]]) -> tuple[float, ...]:
        """Return M of every token of a reply."""
        return tuple(map(self.token, alternatives))

    def turn(self, alternatives: Sequence[Sequence[float]]) -> float | None:
        """Return the geometric mean of M over a reply; None for a reply without tokens."""
        if not alternatives:
            return None
        logs = [math.log(max(value, self.floor)) for value in self.tokens(alternatives)]
        return math.exp(math.fsum(logs) / len(logs))


def _likeliest(alternatives: Sequence[float], top_k: int) -> Sequence[float]:
    if len(alternatives) < top_k:
        message = f"{len(alternatives)} alternatives of a token where {top_k} were asked for"
        raise UnscorableError(message)
    logprobs = alternatives[:top_k]
    if any(math.isnan(each) or each == math.inf for each in logprobs) or logprobs[0] == -math.inf:
        message = f"log-probabilities of a token are {list(logprobs)}"
        raise UnscorableError(message)
    return logprobs


# --- A turn sampled again -----------------------------------------------------------------------


def should_resample(distance: float, threshold: float, *, accept_equal: bool = True) -> bool:
    """Say whether a turn this far from the one before is sampled again.

    The article and the released code accept a distance of exactly 0; the paper's rule,
    |difference| < eta, does not.
    """
    if accept_equal and distance <= 0:
        return False
    return distance < threshold


@record
class ResampleRule:
    """When a turn is sampled again; article 34, section "Turn-level".

    Attributes:
        threshold: the paper's eta: distance from which on a turn is accepted; nats for entropy. At
            the article's 0.3 nearly every turn that could be sampled again was.
        max_resamples: how often it is sampled again at most. The released code has 2; the paper's
            bound has a name, B_max, and no published value.
        accept_equal: whether a distance of 0 is accepted.
    """

    threshold: float = 0.3
    max_resamples: int = 2
    accept_equal: bool = True


@record
class Resampling:
    """Where a rollout stands: feed it the uncertainty of every draw.

    The first turn is always accepted. From the second on a turn is sampled again while the rule
    says so, and the last draw is kept whatever it is.

    Attributes:
        previous: uncertainty of the last accepted turn; None before there is one.
        draws: of this turn so far.
        accepted: whether the last draw is kept.
    """

    rule: ResampleRule
    previous: float | None = None
    draws: int = 0
    accepted: bool = True

    def sampled(self, uncertainty: float | None) -> Resampling:
        """Return the state after one more draw; None (no token was sampled) is always accepted."""
        draws = 1 if self.accepted else self.draws + 1
        accepted = draws > self.rule.max_resamples or not self._near(uncertainty)
        kept = uncertainty if accepted and uncertainty is not None else self.previous
        return Resampling(rule=self.rule, previous=kept, draws=draws, accepted=accepted)

    def _near(self, uncertainty: float | None) -> bool:
        if self.previous is None or uncertainty is None:
            return False
        distance = abs(uncertainty - self.previous)
        return should_resample(distance, self.rule.threshold, accept_equal=self.rule.accept_equal)


class TurnResampler:
    """What T2PO adds to sampling: the `harness.workloads.rl.runner.TurnFilter` of one rollout."""

    def __init__(self, uncertainty: Uncertainty, rule: ResampleRule) -> None:
        self._uncertainty = uncertainty
        self._state = Resampling(rule=rule)

    def __call__(self, reply: Reply) -> tuple[float | None, bool]:
        """Return how uncertain a reply was, and whether it is kept."""
        uncertainty = self._uncertainty(reply.alternatives)
        self._state = self._state.sampled(uncertainty)
        return uncertainty, self._state.accepted


# --- A token forced -----------------------------------------------------------------------------


@record
class InterventionRule:
    """When a model is told to stop thinking; the paper's token-level rule, once a turn.

    The paper publishes the rule but none of the three figures, so all are ours. What it forces is
    ``</think>``, a line end and the tag of an action. A model that has no such token can only be
    cut there: its reply ends, or it is continued with tokens that its own protocol has.

    Attributes:
        least_tokens: L_min, tokens before it can fire.
        window: N, the changes that are averaged.
        still: epsilon, the mean change below which it fires.
    """

    least_tokens: int = 64
    window: int = 16
    still: float = 0.01


def intervention(uncertainties: Sequence[float], rule: InterventionRule) -> int | None:
    """Return after how many tokens of a reply the rule fires; None where it does not.

    It fires at the first t > L_min where the mean of |M_s - M_(s-1)| over the last N tokens is
    below epsilon. Tokens are drawn one after another, so cutting a finished reply there is the same
    as stopping it there.

    Args:
        uncertainties: M of every token of the reply (`UncertaintyMixture.tokens`).
        rule: its three figures.
    """
    changes = [abs(now - before) for before, now in zip(uncertainties, uncertainties[1:])]  # noqa: B905, RUF007 - shifted by one
    for count in range(max(rule.least_tokens, rule.window) + 1, len(uncertainties) + 1):
        recent = changes[count - 1 - rule.window : count - 1]
        if math.fsum(recent) < rule.still * rule.window:
            return count
    return None


# --- Advantages ---------------------------------------------------------------------------------


@record
class T2poSettings:
    """How a rollout's and a turn's advantage make a token's weight; article 34.

    Attributes:
        rollout_weight: alpha, the weight of the rollout's advantage.
        turn_weight: beta, the weight of the turn's. 0 is GRPO.
        rescue: whether turns' advantages are used in a group whose rewards are equal. The article
            drops such a group before it looks at them.
    """

    rollout_weight: float = 1.0
    turn_weight: float = 1.0
    rescue: bool = False


def advantages(group: Group, settings: T2poSettings) -> tuple[Advantages, ...]:
    """Return alpha * A + beta * A_turn for every turn of every member.

    A_turn is the z-score of the turn's reward among the members that reach it, 0 where only one
    does. A member all of whose sums are 0 is masked.

    Raises:
        UnscorableError: the group's numbers mean nothing, or a turn has no reward.
    """
    check(group, turn_rewards=True)
    scores = z_scores(group.rewards, ARTICLE)
    equal = all(abs(score) < NEGLIGIBLE for score in scores)
    if len(group.members) == 1 or (equal and not settings.rescue):
        return masked_group(group)
    of_turns = by_turn([member.turn_rewards for member in group.members], ARTICLE)
    if equal and not any(abs(score) >= NEGLIGIBLE for row in of_turns for score in row):
        return masked_group(group)
    return tuple(
        advantages_of(
            member,
            [settings.rollout_weight * whole + settings.turn_weight * turn for turn in row],
        )
        for member, whole, row in zip(group.members, scores, of_turns, strict=True)
    )


def objective(settings: T2poSettings | None = None) -> Objective:
    """Return the objective of these settings; the article's where none are given."""
    return partial(advantages, settings=settings or T2poSettings())
