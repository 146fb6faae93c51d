"""What a small policy learns searching from: conversations in which questions are answered.

The worlds are of other seeds than any that is played in, so no name can be learnt by heart. Each
conversation is asked of the real retriever. Two faults can be put in, which make a policy that can
do the work but does not always: it gives up, answering with what it has found on the way, and it
wastes a call on a fact that the question does not ask for. Learning from rewards can undo both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from harness.records import record
from harness.workloads.envs.search.protocol import (
    MAX_CALLS,
    TOP_K,
    SearchPromptStyle,
    answer,
    opening,
    result,
    search,
)
from harness.workloads.envs.search.retriever import Retriever
from harness.workloads.envs.search.world import RELATIONS, Fact, Question, World
from harness.workloads.inference.chat_template import Message, Role

FIRST_SEED = 100_000  # worlds that are played in have smaller ones
_LAST_SEED = 2**31
_PER_WORLD = 96  # conversations of a world before the next one

Open = Callable[[Sequence[str]], Retriever]  # from passages to what finds them


@record
class Faults:
    """How often a demonstration goes wrong.

    Attributes:
        give_up: probability, after each fact but the last, of answering with its value.
        waste: probability, before each fact, of a search for another relation of its subject.
    """

    give_up: float = 0.0
    waste: float = 0.0


NONE = Faults()


class Demonstrator:
    """Draws conversations, world after world.

    Args:
        random: all that is drawn.
        open_: makes a world's retriever.
        num_entities_per_type: of a world.
    """

    def __init__(self, random: Random, open_: Open, num_entities_per_type: int) -> None:
        self._random, self._open, self._names_per_kind = random, open_, num_entities_per_type
        self._left: Iterator[Question] = iter(())
        self._retriever: Retriever

    def draw(self, hops: Sequence[int], faults: Faults) -> list[Message]:
        """Return the conversation of a new question with as many hops."""
        question = next(self._left, None)
        while question is None or len(question.hops) not in hops:
            if question is None:
                seed = self._random.randrange(FIRST_SEED, _LAST_SEED)
                world = World(seed, self._names_per_kind)
                self._retriever = self._open(world.passages)
                self._left = iter(world.questions(seed, _PER_WORLD, (1, 2, 3)))
            question = next(self._left, None)
        return conversation(question, self._retriever, self._random, faults)


def conversation(
    question: Question, retriever: Retriever, random: Random, faults: Faults = NONE
) -> list[Message]:
    """Return how a question is answered, fact by fact; the oracle, where there are no faults."""
    messages = list(opening(question.text, SearchPromptStyle.BRIEF))
    for query in _queries(question, random, faults):
        found = retriever.search(query, TOP_K)
        shown = result([hit.contents for hit in found], SearchPromptStyle.BRIEF)
        messages.append(Message(role=Role.ASSISTANT, content=search(query)))
        messages.append(Message(role=Role.USER, content=shown))
    said = _found_by(messages[-2].content, question) if len(messages) > 1 else ""
    messages.append(Message(role=Role.ASSISTANT, content=answer(said)))
    return messages


def _queries(question: Question, random: Random, faults: Faults) -> Iterator[str]:
    calls = 0
    for number, fact in enumerate(question.hops):
        spare = MAX_CALLS - calls - (len(question.hops) - number)
        if spare > 0 and random.random() < faults.waste:
            calls += 1
            # a search for another fact of the same subject
            relations = next(each for each in RELATIONS.values() if fact.relation in each)
            relation = random.choice([each for each in relations if each != fact.relation])
            yield Fact(subject=fact.subject, relation=relation, value="").phrase
        calls += 1
        yield fact.phrase
        if random.random() < faults.give_up:
            return


def _found_by(reply: str, question: Question) -> str:
    """Return the value of the fact that the last search was for."""
    return next(fact.value for fact in question.hops if search(fact.phrase) == reply)
