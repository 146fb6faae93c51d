"""Exact duplicates, as article 20 finds them: the same words whatever their case and spacing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator


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
