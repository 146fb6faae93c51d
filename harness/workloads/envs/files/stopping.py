"""How likely a model is to stop, before and after it has done what was asked.

At a low temperature an evaluation sees stops that are likely, and no others: a model that stops
once in ten chances and one that never does look the same, and only the first can be trained to stop
by its own rollouts. The probability itself tells them apart.

It is the probability that a reply begins with the stop word, all its tokens, at temperature 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from statistics import fmean

from harness.records import record
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import Engine, PromptTooLongError
from harness.workloads.training.trace import Trace

_AT_ONCE = 8  # questions; a server answers several in hardly more time than one


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
    engine: Engine, chat_template: ChatTemplate, chances: Iterable[Chance]
) -> StopProbability:
    """Ask a model at the beginning of every turn how likely it stops.

    Turns are early or late by their number, whether or not the work was really done; of an oracle's
    demonstration it was.

    Raises:
        EngineError: the engine gives no answer.
    """
    early: list[tuple[int, ...]] = []
    late: list[tuple[int, ...]] = []
    for chance in chances:
        for number, prompt in enumerate(prompts(chance.trace)):
            stopped = (*prompt, *chat_template.stop_word)
            (late if number >= chance.work else early).append(stopped)
    ask = partial(_probability, engine, len(chat_template.stop_word))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        of_early, of_late = (
            [each for each in pool.map(ask, asked) if each is not None] for asked in (early, late)
        )
    return StopProbability(
        early=fmean(of_early) if of_early else None,
        late=fmean(of_late) if of_late else None,
        num_early=len(of_early),
        num_late=len(of_late),
    )


def prompts(trace: Trace) -> Iterator[tuple[int, ...]]:
    """Yield all that was shown and said before each turn's reply."""
    replies = ((), *(turn.reply for turn in trace.turns))
    added = ((*reply, *turn.context) for reply, turn in zip(replies, trace.turns, strict=False))
    yield from accumulate(added)


def _probability(engine: Engine, last: int, tokens: Sequence[int]) -> float | None:
    """Return the probability of the last tokens together; None where there is no room for them."""
    try:
        return math.exp(math.fsum(engine.score(tokens)[-last:]))
    except PromptTooLongError:
        return None  # at the end of its context a model cannot stop either
