"""A2TGPO (article 36; arXiv 2605.06200): advantages of turns from what they told of the answer.

A rollout of T turns has T - 1 process turns (calls of a tool) and an answer turn. With IG_t the
rise of the gold answer's probability over process turn t (`gains`):

- g_t = z-score of IG_t among the rollouts of the question that have a process turn t (eq. 6, 7);
  0 where only one has it.
- D_t = sum over k = t..T-1 of gamma^(k-t) g_k, of n_t = T - t terms (eq. 8).
- A_t = D_t / sqrt(n_t) + R for process turns, A_T = R: the outcome's z-score (eq. 9).
- c_t = 1 + b (2 sigmoid(g_t) - 1), which multiplies the clip width; 1 for the answer (eq. 11).

The released code differs in ten places. Each is a field of `A2tgpoSettings` with the paper's way as
its default; `RELEASED` has the code's. One is not a field: the code finds a turn's end in the text
and drops its gain where that end falls on a token of the tool. Turns are explicit here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from functools import partial

from harness.records import record
from harness.workloads.rl.advantages import (
    PLAIN,
    Advantages,
    Aggregation,
    Deviation,
    Group,
    Member,
    Objective,
    Rows,
    UnscorableError,
    advantages_of,
    by_turn,
    check,
    masked_group,
    pooled,
    reward_statistics,
    z_scores,
)
from harness.workloads.rl.advantages import RELEASED as RELEASED_DEVIATION


class GainOf(StrEnum):
    """Of what an information gain is the difference."""

    PROBABILITY = "probability"  # exp of the mean log-probability (eq. 2 and 3)
    LOG_PROBABILITY = "log-probability"  # the mean itself: the code, and the paper's figure 2


class ContextEnd(StrEnum):
    """What the context of the last call ends with when the gold answer is scored."""

    RESULT = "result"  # every call is scored after its result
    CALL = "call"  # the code cuts the last one before its result, which therefore never counts


class FirstCall(StrEnum):
    """What the first call's gain is taken against."""

    QUESTION = "question"  # the question alone (eq. 3)
    NOTHING = "nothing"  # the code: it has none, and shares the second call's credit


class GainMask(StrEnum):
    """Which process turns count as turns."""

    EVERY = "every"
    NON_ZERO = "non-zero"  # the code: a gain of exactly 0 joins its turn to the next one


class Normalisation(StrEnum):
    """Which numbers a gain is compared with."""

    TURN_GROUP = "turn-group"  # the same turn of the question's other rollouts: the method
    JOINT = "joint"  # all gains and outcomes of the question: IGPO (eq. 4 and 5)
    SEPARATE = "separate"  # all gains of the question; outcomes apart
    RELEASED_TURN_GROUP = "released-turn-group"  # the code's mode of that name: another thing


class Boundaries(StrEnum):
    """What is one turn when the ratio of a turn is taken."""

    EXPLICIT = "explicit"
    ADVANTAGE = "advantage"  # the code: neighbours with the same advantage are one


class RatioForm(StrEnum):
    """How the ratio of a turn is differentiated.

    Both have the same gradient while one ratio has one advantage and one clip scale.
    """

    GEOMETRIC = "geometric"  # as it stands (eq. 10)
    DETACHED = "detached"  # the code: its value held, each token's gradient its own; at most e^10


@record
class A2tgpoSettings:
    """A2TGPO's choices; the defaults are the paper's.

    Attributes:
        gain_of: what `gains` takes the difference of.
        context_end: where the last call's context ends; for whoever scores it.
        first_call: what the first gain is taken against.
        mask: which process turns count.
        normalisation: what gains are compared with.
        rescaled: whether D_t is divided by sqrt(n_t); of TURN_GROUP alone.
        alpha: weight of the process term; 0.3 in the released scripts; of TURN_GROUP alone.
        gamma: discount from turn to turn.
        clip_scale_beta: beta of equation 11; 0 leaves the clip width as it is.
        deviation: what keeps a deviation from being 0.
        boundaries: what one turn is for the ratio.
        ratio_form: how the ratio is differentiated.
        aggregation: how tokens are averaged.
    """

    gain_of: GainOf = GainOf.PROBABILITY
    context_end: ContextEnd = ContextEnd.RESULT
    first_call: FirstCall = FirstCall.QUESTION
    mask: GainMask = GainMask.EVERY
    normalisation: Normalisation = Normalisation.TURN_GROUP
    rescaled: bool = True
    alpha: float = 1.0
    gamma: float = 1.0
    clip_scale_beta: float = 0.3
    deviation: Deviation = PLAIN
    boundaries: Boundaries = Boundaries.EXPLICIT
    ratio_form: RatioForm = RatioForm.GEOMETRIC
    aggregation: Aggregation = Aggregation.SEQUENCE


PAPER = A2tgpoSettings()
RELEASED = A2tgpoSettings(
    gain_of=GainOf.LOG_PROBABILITY,
    context_end=ContextEnd.CALL,
    first_call=FirstCall.NOTHING,
    mask=GainMask.NON_ZERO,
    alpha=0.3,
    deviation=RELEASED_DEVIATION,
    boundaries=Boundaries.ADVANTAGE,
    ratio_form=RatioForm.DETACHED,
    aggregation=Aggregation.TOKEN,
)
IGPO = A2tgpoSettings(normalisation=Normalisation.JOINT, rescaled=False, clip_scale_beta=0.0)

_OUTCOME_WEIGHT = 1.5  # of R in the released turn-group mode


# --- Gains --------------------------------------------------------------------------------------


def gains(answers: Sequence[Sequence[float]], gain_of: GainOf) -> tuple[float, ...]:
    """Return the information gain of every process turn (eq. 2 and 3).

    Args:
        answers: log-probabilities of the gold answer's tokens given the question alone, then given
            the context after each process turn; one row more than there are process turns.
        gain_of: probabilities or their logarithms.

    Raises:
        UnscorableError: no row, rows of different lengths or empty, or one with a number that is
            not finite. The released code prints a line and trains on the outcome alone.
    """
    if problem := _answer_problem(answers):
        message = f"information gain cannot be taken: {problem}"
        raise UnscorableError(message)
    means = [math.fsum(row) / len(row) for row in answers]
    known = means if gain_of is GainOf.LOG_PROBABILITY else [math.exp(mean) for mean in means]
    return tuple(now - before for before, now in zip(known, known[1:]))  # noqa: B905, RUF007 - shifted by one


def _answer_problem(answers: Sequence[Sequence[float]]) -> str:
    if not answers or not answers[0]:
        return "the gold answer was not scored"
    for number, row in enumerate(answers):
        if len(row) != len(answers[0]):
            return f"context {number} scored {len(row)} of {len(answers[0])} answer tokens"
        if not all(map(math.isfinite, row)):
            return f"context {number} scored {list(row)}"
    return ""


# --- Advantages ---------------------------------------------------------------------------------


def advantages(group: Group, settings: A2tgpoSettings) -> tuple[Advantages, ...]:
    """Return advantage and clip scale of every turn of every member.

    A group with equal rewards is used where its gains differ. One with a single member is not:
    there is nothing to compare it with, whatever the normalisation would make of it.

    Raises:
        UnscorableError: the group's numbers mean nothing, or a process turn has no gain.
    """
    check(group, gains=True)
    if len(group.members) == 1:
        return masked_group(group)
    counted = [_counted(member, settings) for member in group.members]
    rows = _rows(group, counted)
    scores = _scores(rows, group.rewards, settings)
    values = _per_counted_turn(scores, rows, group.rewards, settings)
    found = []
    for member, turns, row, own in zip(group.members, counted, scores, values, strict=True):
        scales = (*(clip_scale(score, settings.clip_scale_beta) for score in row), 1.0)
        num_turns = len(member.trace.turns)
        per_turn = _by_turn_of(own, turns, num_turns)
        found.append(advantages_of(member, per_turn, _by_turn_of(scales, turns, num_turns)))
    return tuple(found) if any(each.masked is None for each in found) else masked_group(group)


def turn_scores(group: Group, settings: A2tgpoSettings) -> Rows:
    """Return g of every process turn that counts: one row a member."""
    counted = [_counted(member, settings) for member in group.members]
    return _scores(_rows(group, counted), group.rewards, settings)


def _rows(group: Group, counted: Sequence[Sequence[int]]) -> Rows:
    return tuple(
        tuple(member.gains[turn] for turn in turns)
        for member, turns in zip(group.members, counted, strict=True)
    )


def objective(settings: A2tgpoSettings = PAPER) -> Objective:
    """Return the objective of these settings."""
    return partial(advantages, settings=settings)


def clip_scale(score: float, clip_scale_beta: float = 0.3) -> float:
    """Return c = 1 + b (2 sigmoid(g) - 1), in (1 - b, 1 + b) (eq. 11)."""
    return 1.0 + clip_scale_beta * math.tanh(score / 2)  # 2 sigmoid(x) - 1 = tanh(x / 2)


def _counted(member: Member, settings: A2tgpoSettings) -> tuple[int, ...]:
    """Return the process turns that have a gain of their own."""
    first = 1 if settings.first_call is FirstCall.NOTHING else 0
    turns = range(first, len(member.gains))
    if settings.mask is GainMask.EVERY:
        return tuple(turns)
    return tuple(turn for turn in turns if member.gains[turn])


def _per_counted_turn(
    scores: Rows, rows: Rows, rewards: Sequence[float], settings: A2tgpoSettings
) -> Rows:
    """Return of each member one advantage a counted turn, and the answer's."""
    outcomes = z_scores(rewards, settings.deviation)
    match settings.normalisation:
        case Normalisation.TURN_GROUP:
            terms = tuple(process_terms(row, settings) for row in scores)
            return _over_outcomes(terms, outcomes, settings.alpha, 1.0)
        case Normalisation.RELEASED_TURN_GROUP:
            return _over_outcomes(scores, outcomes, 1.0, _OUTCOME_WEIGHT)
        case Normalisation.JOINT:
            outcomes = tuple(row[-1] for row in _joint(rows, rewards, settings))
        case Normalisation.SEPARATE:
            pass
    return tuple(
        _accumulated((*row, outcome), settings.gamma)
        for row, outcome in zip(scores, outcomes, strict=True)
    )


def _scores(rows: Rows, rewards: Sequence[float], settings: A2tgpoSettings) -> Rows:
    """Return the score g of every counted turn."""
    match settings.normalisation:
        case Normalisation.TURN_GROUP:
            return by_turn(rows, settings.deviation)
        case Normalisation.RELEASED_TURN_GROUP:
            return by_turn(_seeded(rows, rewards, settings), settings.deviation)
        case Normalisation.JOINT:
            return tuple(row[:-1] for row in _joint(rows, rewards, settings))
        case Normalisation.SEPARATE:
            return pooled(rows, settings.deviation)


def _joint(rows: Rows, rewards: Sequence[float], settings: A2tgpoSettings) -> Rows:
    joined = [(*row, reward) for row, reward in zip(rows, rewards, strict=True)]
    return pooled(joined, settings.deviation)


def _seeded(rows: Rows, rewards: Sequence[float], settings: A2tgpoSettings) -> Rows:
    """Return gains on the outcomes' scale, accumulated from the raw outcome, as released.

    The outcome is discounted twice before the last gain is added. The code takes both deviations
    over the whole batch; a group is all that is seen here.
    """
    values = [gain for row in rows for gain in row]
    scale = _released_deviation(rewards) / _released_deviation(values)
    return tuple(
        _accumulated((*(gain * scale for gain in row), settings.gamma * reward), settings.gamma)[
            :-1
        ]
        for row, reward in zip(rows, rewards, strict=True)
    )


def _released_deviation(values: Sequence[float]) -> float:
    return max(reward_statistics(values).deviation, 1e-6) if len(values) > 1 else 1.0


def process_terms(row: Sequence[float], settings: A2tgpoSettings) -> tuple[float, ...]:
    """Return D_t, divided by the root of its number of terms (eq. 8 and 9)."""
    sums = _accumulated(row, settings.gamma)
    if not settings.rescaled:
        return sums
    return tuple(value / math.sqrt(len(sums) - turn) for turn, value in enumerate(sums))


def _over_outcomes(
    terms: Rows, outcomes: Sequence[float], of_term: float, of_outcome: float
) -> Rows:
    return tuple(
        (*(of_term * term + of_outcome * outcome for term in row), outcome)
        for row, outcome in zip(terms, outcomes, strict=True)
    )


def _accumulated(row: Sequence[float], gamma: float) -> tuple[float, ...]:
    """Return of each place the discounted sum from there on."""
    sums: list[float] = []
    for value in reversed(row):
        sums.append(value + gamma * sums[-1] if sums else value)
    return tuple(reversed(sums))


def _by_turn_of(spans: Sequence[float], counted: Sequence[int], turns: int) -> tuple[float, ...]:
    """Return for every turn the value of the span that it lies in.

    A span ends with a counted turn; the last holds what follows, the answer included.
    """
    starts = (0, *(turn + 1 for turn in counted))
    ends = (*starts[1:], turns)
    lengths = (end - start for start, end in zip(starts, ends, strict=True))
    return tuple(value for value, length in zip(spans, lengths, strict=True) for _ in range(length))
