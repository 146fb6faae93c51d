"""Word search over passages: BM25 by the package bm25s."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np

from harness.workloads.envs.search.retriever import Hit


class Bm25:
    """A retriever over `passages`; the same answer to the same query on every machine.

    Passages of equal score keep their order, and one that holds no word of the query is never
    found. Words are letters and digits, two or more; English stop words do not count.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        self._passages = tuple(passages)
        self._index = bm25s.BM25()
        self._index.index(_words(self._passages), show_progress=False)

    def search(self, query: str, count: int) -> tuple[Hit, ...]:
        """Return at most `count` passages, best first."""
        (words,) = _words([query])
        known = [word for word in words if word in self._index.vocab_dict]
        if not known:
            return ()
        scores = self._index.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:count]
        return tuple(
            Hit(contents=self._passages[number], score=float(scores[number]))
            for number in best
            if scores[number] > 0
        )


def _words(texts: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords="en", return_ids=False, show_progress=False
    )
    return found
