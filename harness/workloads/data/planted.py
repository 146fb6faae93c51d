"""A made-up corpus whose every document has a known fate, decided as it is written.

Article 20's corpus, wikitext-103, is not on every machine, and it is unknown how many documents of
it a filter should drop. Here that is known without asking a filter: so many documents of each kind
are planted, kinds at the very edge of every limit among them, and shuffled. Only
``random.Random(seed).random`` is drawn from, whose stream Python promises never to change, so a
seed means the same bytes everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType

from harness.records import record
from harness.workloads.data.clean import Fate

_ONSETS = (*"bcdfghjklmnprstvwyz", "br", "ch", "gr", "pl", "qu", "sh", "st", "th", "tr", "")
_RHYMES = (*"aeiou", "ai", "ar", "ea", "en", "er", "in", "ing", "is", "on", "or", "ou", "um")
_RHYMES_OF_OTHERS = ("é", "ü", "ą")  # so that there is something to decode wrongly
_NUM_WORDS = 4000
_EDGE_CHARACTERS = 1000  # of a document at the edge of the n-gram limit
_EDGE_NGRAM = "norima belu tasqua"  # 18 characters; ten of it are 18 % of a thousand


class PlantedKind(StrEnum):
    """What was planted."""

    PROSE = "prose"
    FEWEST_WORDS = "fewest-words"  # exactly as many as are kept
    MOST_WORDS = "most-words"
    ONE_TOO_FEW = "one-too-few"
    ONE_TOO_MANY = "one-too-many"
    EMPTY = "empty"
    HEADING = "heading"
    NGRAM_AT_LIMIT = "ngram-at-limit"
    NGRAM_OVER_LIMIT = "ngram-over-limit"
    SYMBOLS_AT_LIMIT = "symbols-at-limit"
    SYMBOLS_OVER_LIMIT = "symbols-over-limit"
    MANY_NEWLINES = "many-newlines"
    MOJIBAKE = "mojibake"
    COPY = "copy"  # of a prose document, byte for byte
    SPACED_COPY = "spaced-copy"  # in other case and spacing
    MOJIBAKE_COPY = "mojibake-copy"  # a copy only once it is mended
    NEAR_COPY = "near-copy"  # one word differs: no duplicate


# how many of each kind, at a scale of one; shares of empty lines and headings as in wikitext-103
COUNTS: Mapping[PlantedKind, int] = MappingProxyType(
    {
        PlantedKind.PROSE: 3000,
        PlantedKind.FEWEST_WORDS: 40,
        PlantedKind.MOST_WORDS: 1,
        PlantedKind.ONE_TOO_FEW: 40,
        PlantedKind.ONE_TOO_MANY: 1,
        PlantedKind.EMPTY: 3200,
        PlantedKind.HEADING: 1600,
        PlantedKind.NGRAM_AT_LIMIT: 30,
        PlantedKind.NGRAM_OVER_LIMIT: 250,
        PlantedKind.SYMBOLS_AT_LIMIT: 30,
        PlantedKind.SYMBOLS_OVER_LIMIT: 200,
        PlantedKind.MANY_NEWLINES: 60,
        PlantedKind.MOJIBAKE: 80,
        PlantedKind.COPY: 150,
        PlantedKind.SPACED_COPY: 90,
        PlantedKind.MOJIBAKE_COPY: 60,
        PlantedKind.NEAR_COPY: 100,
    }
)


@record
class Planted:
    """A document and what should become of it.

    Attributes:
        text: as the corpus has it.
        clean: as it should be after mending.
        fate: what should become of it.
        original: documents of one original are copies of each other; the first is kept.
    """

    kind: PlantedKind
    text: str
    clean: str
    fate: Fate
    original: int | None = None


def planted(seed: int, scale: int = 1) -> list[Planted]:
    """Return the corpus: `scale` times `COUNTS`, shuffled; of copies the first is kept."""
    author = _Author(random.Random(seed).random)  # noqa: S311 - repeatable, not secret
    documents = author.shuffled(list(author.documents(scale)))
    seen: set[int] = set()
    for place, document in enumerate(documents):
        if document.original is not None:
            fate = Fate.DUPLICATE if document.original in seen else Fate.KEPT
            documents[place] = replace(document, fate=fate)
            seen.add(document.original)
    return documents


def expected(scale: int = 1) -> dict[Fate, int]:
    """Return how many documents meet each fate: the counts alone say it."""
    copies = (PlantedKind.COPY, PlantedKind.SPACED_COPY, PlantedKind.MOJIBAKE_COPY)
    fates = {
        Fate.SHORT: (PlantedKind.ONE_TOO_FEW, PlantedKind.EMPTY, PlantedKind.HEADING),
        Fate.LONG: (PlantedKind.ONE_TOO_MANY,),
        Fate.REPETITIVE: (PlantedKind.NGRAM_OVER_LIMIT,),
        Fate.SYMBOLS: (PlantedKind.SYMBOLS_OVER_LIMIT,),
        Fate.DUPLICATE: copies,
    }
    counts = {fate: scale * sum(COUNTS[kind] for kind in kinds) for fate, kinds in fates.items()}
    return {Fate.KEPT: scale * sum(COUNTS.values()) - sum(counts.values()), **counts}


class _Author:
    """Writes documents.

    Args:
        draw: gives numbers in [0, 1).
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        syllables = [onset + rhyme for onset in _ONSETS for rhyme in (*_RHYMES, *_RHYMES_OF_OTHERS)]
        self._words = [
            "".join(syllables[int(len(syllables) * draw())] for _ in range(self._between(1, 3)))
            for _ in range(_NUM_WORDS)
        ]

    def documents(self, scale: int) -> Iterator[Planted]:
        """Yield every document, kind by kind; copies have prose to be copies of."""
        prose = []
        for number in range(scale * COUNTS[PlantedKind.PROSE]):
            text = self._text(self._between(60, 160))
            prose.append(
                Planted(
                    kind=PlantedKind.PROSE, text=text, clean=text, fate=Fate.KEPT, original=number
                )
            )
        yield from prose
        for kind, write in self._writers().items():
            for _ in range(scale * COUNTS[kind]):
                yield write(kind)
        originals = iter(prose)
        for kind, copy in self._copiers().items():
            for _ in range(scale * COUNTS[kind]):
                yield copy(kind, next(originals))

    def shuffled(self, documents: list[Planted]) -> list[Planted]:
        """Return them in another order (Fisher and Yates)."""
        for last in range(len(documents) - 1, 0, -1):
            other = self._between(0, last)
            documents[last], documents[other] = documents[other], documents[last]
        return documents

    def _writers(self) -> dict[PlantedKind, Callable[[PlantedKind], Planted]]:
        return {
            PlantedKind.FEWEST_WORDS: lambda kind: _as_is(kind, self._text(50)),
            PlantedKind.MOST_WORDS: lambda kind: _as_is(kind, self._text(100_000)),
            PlantedKind.ONE_TOO_FEW: lambda kind: _as_is(kind, self._text(49), Fate.SHORT),
            PlantedKind.ONE_TOO_MANY: lambda kind: _as_is(kind, self._text(100_001), Fate.LONG),
            PlantedKind.EMPTY: lambda kind: _as_is(kind, "\n", Fate.SHORT),
            PlantedKind.HEADING: lambda kind: _as_is(kind, f" = {self._text(3)} = \n", Fate.SHORT),
            PlantedKind.NGRAM_AT_LIMIT: lambda kind: _as_is(
                kind, self._repetitive(_EDGE_CHARACTERS)
            ),
            PlantedKind.NGRAM_OVER_LIMIT: lambda kind: _as_is(
                kind, self._repetitive(_EDGE_CHARACTERS - 1), Fate.REPETITIVE
            ),
            PlantedKind.SYMBOLS_AT_LIMIT: lambda kind: _as_is(kind, self._symbols(20)),
            PlantedKind.SYMBOLS_OVER_LIMIT: lambda kind: _as_is(
                kind, self._symbols(21), Fate.SYMBOLS
            ),
            PlantedKind.MANY_NEWLINES: self._many_newlines,
            PlantedKind.MOJIBAKE: self._mojibake,
        }

    def _copiers(self) -> dict[PlantedKind, Callable[[PlantedKind, Planted], Planted]]:
        return {
            PlantedKind.COPY: lambda kind, one: replace(one, kind=kind),
            PlantedKind.SPACED_COPY: lambda kind, one: replace(
                one,
                kind=kind,
                text=(spaced := "  ".join(one.text.upper().split(" "))),
                clean=spaced,
            ),
            PlantedKind.MOJIBAKE_COPY: lambda kind, one: replace(
                one, kind=kind, text=_read_wrongly(one.text)
            ),
            PlantedKind.NEAR_COPY: lambda kind, one: _as_is(kind, f"{one.text} {self._word()}"),
        }

    def _many_newlines(self, kind: PlantedKind) -> Planted:
        one, other = self._text(40), self._text(40)
        end = "\r\n" if self._draw() < 1 / 2 else "\n"
        return Planted(
            kind=kind,
            text=one + end * self._between(3, 6) + other,
            clean=one + end * 2 + other,
            fate=Fate.KEPT,
        )

    def _mojibake(self, kind: PlantedKind) -> Planted:
        clean = f"{self._text(70)} café"
        return Planted(kind=kind, text=_read_wrongly(clean), clean=clean, fate=Fate.KEPT)

    def _repetitive(self, num_characters: int) -> str:
        """Return ten times the same n-gram, each between others, and so many characters in all."""
        text = " ".join(f"{_EDGE_NGRAM} {self._text(4)}" for _ in range(10))
        tail = self._text(num_characters)[: num_characters - len(text) - 1]
        return f"{text} {tail[:-1]}{tail[-1].replace(' ', 'x')}"

    def _symbols(self, num_symbols: int) -> str:
        """Return a hundred words, with a given number of symbols and no repeated n-gram."""
        words = [self._word() for _ in range(100)]
        for number in range(num_symbols):
            words[4 * number] = ("#", "...", "…")[number % 3]
        return " ".join(words)

    def _text(self, num_words: int) -> str:
        return " ".join(self._word() for _ in range(num_words))

    def _word(self) -> str:
        return self._words[int(_NUM_WORDS * self._draw() ** 2.5)]  # few are frequent, as in texts

    def _between(self, low: int, high: int) -> int:
        return low + int((high - low + 1) * self._draw())


def _as_is(kind: PlantedKind, text: str, fate: Fate = Fate.KEPT) -> Planted:
    return Planted(kind=kind, text=text, clean=text, fate=fate)


def _read_wrongly(text: str) -> str:
    """Return what becomes of UTF-8 that is read as Latin-1."""
    return text.encode("utf-8").decode("latin-1")
