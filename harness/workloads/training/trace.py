"""A rollout's tokens: those in the prompts and those sampled. Loads no torch."""

from __future__ import annotations

from itertools import chain

from harness.records import record

NOT_TRAINED = -1  # the turn of a token that the policy did not draw


@record
class TurnTrace:
    """One turn.

    Attributes:
        context: tokens shown since the last reply; the whole prompt for the first turn.
        reply: tokens that the policy drew.
        logprobs: of each of them when it was drawn, nats.
        entropy: mean over the reply's tokens, nats (`rl.algorithms.t2po`); None where it was not
            taken.
        draws: how many replies were drawn for this turn; the last one was kept.
    """

    context: tuple[int, ...]
    reply: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropy: float | None = None
    draws: int = 1


@record
class Trace:
    """All turns of one rollout, and the weights that drew them.

    Attributes:
        served: what the engine said it serves.
    """

    turns: tuple[TurnTrace, ...]
    served: str = ""

    @property
    def tokens(self) -> tuple[int, ...]:
        """Everything in order: T tokens."""
        return tuple(chain.from_iterable((*turn.context, *turn.reply) for turn in self.turns))

    @property
    def turn_ids(self) -> tuple[int, ...]:
        """The turn of each token, from 0; `NOT_TRAINED` for prompt tokens: T numbers."""
        return tuple(
            number
            for turn_number, turn in enumerate(self.turns)
            for number in (NOT_TRAINED,) * len(turn.context) + (turn_number,) * len(turn.reply)
        )

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Of each token that the policy drew, in order: N numbers, N <= T."""
        return tuple(chain.from_iterable(turn.logprobs for turn in self.turns))
