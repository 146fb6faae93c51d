"""A world of made facts, and questions that take one to three of them. Loads no torch.

The paper of article 36 asks questions of Wikipedia's 21 million passages, of which neither the
index nor the questions fit into a test. Here every fact is drawn from a seed, so that each question
has one answer, nobody knows it beforehand, and what a search should have found is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import product
from random import Random

from harness.records import record

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_SYLLABLES = tuple(map("".join, product(_CONSONANTS, _VOWELS)))
_TRIES = 1000  # draws of a question before a world counts as exhausted


class Kind(StrEnum):
    """What a name is the name of."""

    PERSON = "person"
    CITY = "city"
    COMPANY = "company"


# each kind has one relation to every kind; no word is also part of another one
RELATIONS: Mapping[Kind, Mapping[str, Kind]] = {
    Kind.PERSON: {"teacher": Kind.PERSON, "birthplace": Kind.CITY, "employer": Kind.COMPANY},
    Kind.CITY: {"mayor": Kind.PERSON, "twin": Kind.CITY, "brewery": Kind.COMPANY},
    Kind.COMPANY: {"founder": Kind.PERSON, "seat": Kind.CITY, "supplier": Kind.COMPANY},
}


@record
class Fact:
    """The `relation` of `subject` is `value`."""

    subject: str
    relation: str
    value: str

    @property
    def phrase(self) -> str:
        """What is searched for, and what a longer question is made of."""
        return f"{self.relation} of {self.subject}"

    @property
    def passage(self) -> str:
        """The fact as the retriever has it: a title in quotation marks, and a text below it."""
        return f'"{self.subject}"\nThe {self.phrase} is {self.value}.'


@record
class Question:
    """A question, and the facts that answer it.

    Attributes:
        task_id: names it.
        hops: facts in the order in which they must be found; each one's value is the next one's
            subject.
    """

    task_id: str
    hops: tuple[Fact, ...]

    @property
    def text(self) -> str:
        """What is asked: the last relation first."""
        outer = "".join(f"{fact.relation} of the " for fact in reversed(self.hops[1:]))
        return f"What is the {outer}{self.hops[0].phrase}?"

    @property
    def answer(self) -> str:
        """The only right one."""
        return self.hops[-1].value


class World:
    """All facts of one seed.

    Args:
        seed: draws names and facts.
        num_entities_per_type: how many persons, cities and companies there are, each.

    Attributes:
        facts: three of every name, in the order of the names.
    """

    def __init__(self, seed: int, num_entities_per_type: int) -> None:
        random = Random(seed)  # noqa: S311 - no secret
        drawn = _names(random, len(Kind) * num_entities_per_type)
        self._names = {
            kind: drawn[number * num_entities_per_type : (number + 1) * num_entities_per_type]
            for number, kind in enumerate(Kind)
        }
        self.facts = tuple(
            Fact(subject=name, relation=relation, value=_other(random, self._names[to], name))
            for kind, names in self._names.items()
            for name in names
            for relation, to in RELATIONS[kind].items()
        )
        self._by_phrase = {fact.phrase: fact for fact in self.facts}
        self._kinds = {name: kind for kind, names in self._names.items() for name in names}

    @property
    def passages(self) -> tuple[str, ...]:
        """What the retriever searches."""
        return tuple(fact.passage for fact in self.facts)

    def questions(self, seed: int, count: int, hops: Sequence[int]) -> tuple[Question, ...]:
        """Draw different questions; the numbers of hops take turns.

        No name comes twice in the facts of a question, so that none can be left out.

        Raises:
            ValueError: the world has not as many.
        """
        random = Random(f"{seed} questions")  # noqa: S311 - no secret
        found: dict[tuple[Fact, ...], Question] = {}
        for number in range(count):
            chain = self._new_chain(random, hops[number % len(hops)], found)
            found[chain] = Question(task_id=f"q{number:04}-{len(chain)}", hops=chain)
        return tuple(found.values())

    def _new_chain(
        self, random: Random, hops: int, taken: Mapping[tuple[Fact, ...], Question]
    ) -> tuple[Fact, ...]:
        for _ in range(_TRIES):
            chain = self._chain(random, hops)
            names = {fact.subject for fact in chain} | {chain[-1].value}
            if chain not in taken and len(names) == hops + 1:
                return chain
        message = f"a world of {len(self._kinds)} names has no more questions of {hops} hops"
        raise ValueError(message)

    def _chain(self, random: Random, hops: int) -> tuple[Fact, ...]:
        name = random.choice(tuple(self._kinds))
        chain: list[Fact] = []
        for _ in range(hops):
            relation = random.choice(tuple(RELATIONS[self._kinds[name]]))
            chain.append(self._by_phrase[f"{relation} of {name}"])
            name = chain[-1].value
        return tuple(chain)


def _names(random: Random, count: int) -> tuple[str, ...]:
    """Draw different names of two or three syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(random.choices(_SYLLABLES, k=random.randint(2, 3))).capitalize()] = None
    return tuple(found)


def _other(random: Random, names: Sequence[str], name: str) -> str:
    """Draw another name than `name`."""
    drawn = name
    while drawn == name:
        drawn = random.choice(names)
    return drawn
