"""What the model that searches is trained on: questions of made-up worlds. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from harness.workloads.envs.search.bm25 import Bm25
from harness.workloads.envs.search.demonstrations import NONE, Demonstrator, Faults
from harness.workloads.inference.chat_template import Message
from harness.workloads.tiny_models.recipe import TrainingPhase

HOPS = (1, 2, 3)
NAMES_PER_KIND = 40  # of the worlds that it learns from
VOCABULARY = 640  # with all bytes, before the phrases
# each comes before or after a name, so that a name has the same tokens everywhere
PHRASES = (
    *("<search>", "</search>", "<answer>", "</answer>"),
    *("What is the ", " of the ", " of ", "The ", " is "),
)
_WASTE = 0.5  # wasted calls for each time that a demonstration gives up
_TOKENIZER_SEED, _TOKENIZER_CONVERSATIONS = 7, 2000


def conversations(random: Random, _: Sequence[str]) -> Callable[[TrainingPhase], Sequence[Message]]:
    """Return what draws a conversation; a phase's operations are its questions' facts at most."""
    demonstrator = Demonstrator(random, Bm25, NAMES_PER_KIND)

    def draw(phase: TrainingPhase) -> Sequence[Message]:
        faults = Faults(give_up=phase.hazard, waste=_WASTE * phase.hazard)
        return demonstrator.draw(HOPS[: phase.operations], faults)

    return draw


def texts() -> Iterator[str]:
    """Yield what the tokenizer is trained on."""
    demonstrator = Demonstrator(Random(_TOKENIZER_SEED), Bm25, NAMES_PER_KIND)  # noqa: S311
    for _ in range(_TOKENIZER_CONVERSATIONS):
        yield from (each.content for each in demonstrator.draw(HOPS, NONE))
