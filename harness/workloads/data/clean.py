"""The operations of article 20 on documents, by their definitions.

The five on one document are those of NeMo Curator 1.1.0, written anew: two mend the text, three
decide whether it is kept (Rae et al. 2021, arXiv 2112.11446, appendix A.1). A word is what
whitespace separates, a document of the published corpus is one line. Where several word n-grams
are the most frequent, Curator takes whichever its set yields first, which changes with
PYTHONHASHSEED; here it is the one that comes first in the text, and documents whose fate hangs on
that choice are counted. Of the documents that are kept, exact duplicates are left out: the same
words, whatever their case and spacing.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from harness.records import record
from harness.workloads.data.repair import repair

_NEWLINES = re.compile(r"\n{3,}")
_WINDOWS_NEWLINES = re.compile(r"(?:\r\n){3,}")
_HASHES = re.compile(r"#+")
_ELLIPSES = frozenset({"...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more"})
_MOSTLY = 0.5  # a word of more hash runs a letter than this is a symbol: in effect, a lone hash


class Fate(StrEnum):
    """What becomes of a document."""

    KEPT = "kept"
    SHORT = "short"
    LONG = "long"
    REPETITIVE = "repetitive"
    SYMBOLS = "symbols"
    DUPLICATE = "duplicate"  # decided later, over all documents that are kept


@record
class FilterLimits:
    """What a document may be; the defaults are the article's.

    Attributes:
        min_words: fewer are too short.
        max_words: more are too long.
        ngram: n of the word n-grams.
        max_ngram_share: of its characters that its most frequent n-gram may take.
        max_symbol_share: of its words that may be ellipses or hashes.
    """

    min_words: int = 50
    max_words: int = 100_000
    ngram: int = 3
    max_ngram_share: float = 0.18
    max_symbol_share: float = 0.20


@record
class FilteredDocument:
    """A document and its fate.

    Attributes:
        text: repaired; the form in which it is kept.
        undecided: another of its most frequent n-grams would have decided otherwise.
    """

    text: str
    fate: Fate
    undecided: bool = False


def normalise_newlines(text: str) -> str:
    """Return the text with three and more line ends in a row reduced to two."""
    return _WINDOWS_NEWLINES.sub("\r\n\r\n", _NEWLINES.sub("\n\n", text))


def judge(text: str, limits: FilterLimits) -> FilteredDocument:
    """Mend a document and decide on it; the first filter that refuses it is its fate."""
    text = normalise_newlines(repair(text))
    words = text.split()
    if len(words) < limits.min_words:
        return FilteredDocument(text=text, fate=Fate.SHORT)
    if len(words) > limits.max_words:
        return FilteredDocument(text=text, fate=Fate.LONG)
    first, *others = ngram_shares(text, words, limits)
    repetitive = first > limits.max_ngram_share
    undecided = any((share > limits.max_ngram_share) != repetitive for share in others)
    if repetitive:
        return FilteredDocument(text=text, fate=Fate.REPETITIVE, undecided=undecided)
    symbols = symbol_share(words) > limits.max_symbol_share
    return FilteredDocument(
        text=text, fate=Fate.SYMBOLS if symbols else Fate.KEPT, undecided=undecided
    )


def ngram_shares(text: str, words: Sequence[str], limits: FilterLimits) -> list[float]:
    """Return the share of the characters that a most frequent word n-gram takes.

    The first is that of the n-gram that comes first in the text. All others of the same frequency
    follow, unless even twice that frequency of the longest words would stay within the limit:
    an n-gram also counts inside longer words.
    """
    if len(words) < limits.ngram:
        return [1.0]
    counts = Counter(zip(*(words[start:] for start in range(limits.ngram)), strict=False))
    most = max(counts.values())
    top = (" ".join(ngram) for ngram, count in counts.items() if count == most)
    first = share_taken(text, next(top))
    longest = limits.ngram * (max(map(len, words)) + 1)
    if 2 * most * longest <= limits.max_ngram_share * len(text):
        return [first]
    return [first, *(share_taken(text, ngram) for ngram in top)]


def share_taken(text: str, part: str) -> float:
    """Return by how much of its characters the text shrinks without any occurrence of `part`."""
    return (len(text) - len(text.replace(part, ""))) / len(text)


def symbol_share(words: Sequence[str]) -> float:
    """Return the share of the words that are ellipses, or for more than half runs of hashes."""
    symbols = sum(
        word in _ELLIPSES or ("#" in word and len(_HASHES.findall(word)) / len(word) > _MOSTLY)
        for word in words
    )
    return symbols / len(words)


def clean(documents: Iterable[str], limits: FilterLimits) -> list[FilteredDocument]:
    """Return every document, judged, in order."""
    return [judge(text, limits) for text in documents]


def key(text: str) -> bytes:
    """Return what two duplicates share: SHA-256 of the lower-case text, each space made one."""
    return hashlib.sha256(" ".join(text.lower().split()).encode("utf-8", "surrogatepass")).digest()


def first_of_each(documents: Iterable[str]) -> Iterator[bool]:
    """Say of each document, in order, whether none before it has its key."""
    seen: set[bytes] = set()
    for text in documents:
        mark = key(text)
        yield mark not in seen
        seen.add(mark)
