"""How likely a model is to stop, before and after it has done what was asked.

At a low temperature an evaluation sees stops that are likely, and no others: a model that stops
once in ten chances and one that never does look the same, and only the first can be trained to stop
by its own rollouts. The probability itself tells them apart.

It is the probability that a reply begins with the stop word, all its tokens, at temperature 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import accumulate
from statistics import fmean

from harness.records import record
from harness.workloads.clawgym.dialogue import Dialogue
from harness.workloads.rl.trace import Trace
from harness.workloads.serving.engine import Engine, PromptTooLongError


@record
class Chance:
    """One conversation, and from which turn on there is nothing left to do.

    Attributes:
        trace: of a rollout, or of a demonstration, which gives every model the same chances.
        work: how many commands the task takes; turns after those are late.
    """

    trace: Trace
    work: int


@record
class StopProbability:
    """Mean probabilities of stopping.

    Attributes:
        early: at turns before all commands that the task takes were given; None without any.
        late: at the turns after those; None without any.
        num_early: how many turns that is.
        num_late: the same.
    """

    early: float | None
    late: float | None
    num_early: int
    num_late: int


def stop_probability(
    engine: Engine, dialogue: Dialogue, chances: Iterable[Chance]
) -> StopProbability:
    """Ask a model at the beginning of every turn how likely it stops.

    Turns are early or late by their number, whether or not the work was really done; of an oracle's
    demonstration it was.

    Raises:
        EngineError: the engine gives no answer.
    """
    found: dict[bool, list[float]] = {True: [], False: []}
    for chance in chances:
        for number, prompt in enumerate(prompts(chance.trace)):
            probability = _probability(engine, (*prompt, *dialogue.stop_word), dialogue)
            if probability is not None:
                found[number >= chance.work].append(probability)
    return StopProbability(
        early=fmean(found[False]) if found[False] else None,
        late=fmean(found[True]) if found[True] else None,
        num_early=len(found[False]),
        num_late=len(found[True]),
    )


def prompts(trace: Trace) -> Iterator[tuple[int, ...]]:
    """Yield all that was shown and said before each turn's reply."""
    replies = ((), *(turn.reply for turn in trace.turns))
    added = ((*reply, *turn.context) for reply, turn in zip(replies, trace.turns, strict=False))
    yield from accumulate(added)


def _probability(engine: Engine, tokens: tuple[int, ...], dialogue: Dialogue) -> float | None:
    try:
        scores = engine.score(tokens)
    except PromptTooLongError:
        return None  # at the end of its context a model cannot stop either
    return math.exp(math.fsum(scores[-len(dialogue.stop_word) :]))
