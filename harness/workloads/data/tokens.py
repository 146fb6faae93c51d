"""From text to token ids: plain bytes, without any files, or GPT-2's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.records import record

Ids = NDArray[np.int32]
_SEPARATOR = 0xFF  # a byte that never occurs in UTF-8
_CHUNK_CHARACTERS = 4 << 20
_CHUNK_DOCUMENTS = 4096  # as article 20


@record
class Vocabulary:
    """What ids mean.

    Attributes:
        tokenizer: its name.
        size: ids are below it.
        end_id: follows every document.
    """

    tokenizer: str
    size: int
    end_id: int


class Tokenizer(Protocol):
    """Turns documents into ids and back."""

    @property
    def vocabulary(self) -> Vocabulary:
        """What its ids mean."""

    def encode(self, documents: Sequence[str]) -> Iterator[Ids]:
        """Yield the ids of all documents in order, each closed by the end mark, in parts."""

    def decode(self, ids: Ids) -> str:
        """Return the text of ids that hold no end mark."""


class ByteTokenizer:
    """Every byte of the UTF-8 text is a token; 256 is the end mark."""

    vocabulary = Vocabulary(tokenizer="bytes", size=257, end_id=256)

    def encode(self, documents: Sequence[str]) -> Iterator[Ids]:
        """Yield the ids; many documents at once, told apart by a byte that none of them has."""
        separator = bytes([_SEPARATOR])
        for chunk in _chunks(documents):
            joined = separator.join(map(str.encode, chunk)) + separator
            ids = np.frombuffer(joined, dtype=np.uint8).astype(np.int32)
            ids[ids == _SEPARATOR] = self.vocabulary.end_id
            yield ids

    def decode(self, ids: Ids) -> str:
        """Return the text."""
        return ids.astype(np.uint8).tobytes().decode()


class Gpt2Tokenizer:
    """GPT-2's byte-level BPE, from its two published files; encodes on all cores.

    Args:
        encoder: ``encoder.json``, token to id.
        merges: ``vocab.bpe``, the merges in their order.
    """

    def __init__(self, encoder: Path, merges: Path) -> None:
        # in the images and the comparisons that need GPT-2's vocabulary, nowhere else
        from tokenizers import Tokenizer as Rust  # noqa: PLC0415
        from tokenizers import decoders, models, pre_tokenizers  # noqa: PLC0415

        self._rust: Any = Rust(models.BPE.from_file(str(encoder), str(merges)))
        self._rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._rust.decoder = decoders.ByteLevel()
        self.vocabulary = Vocabulary(
            tokenizer="gpt2",
            size=self._rust.get_vocab_size(),
            end_id=self._rust.token_to_id("<|endoftext|>"),
        )

    def encode(self, documents: Sequence[str]) -> Iterator[Ids]:
        """Yield the ids, some thousand documents at a time."""
        waiting = iter(documents)
        while chunk := list(islice(waiting, _CHUNK_DOCUMENTS)):
            encoded = self._rust.encode_batch(chunk, add_special_tokens=False)
            ids = [[*each.ids, self.vocabulary.end_id] for each in encoded]
            yield np.concatenate([np.asarray(each, dtype=np.int32) for each in ids])

    def decode(self, ids: Ids) -> str:
        """Return the text."""
        return str(self._rust.decode(ids.tolist()))


def _chunks(documents: Sequence[str]) -> Iterator[list[str]]:
    """Yield the documents in groups of about so many characters."""
    group: list[str] = []
    size = 0
    for text in documents:
        group.append(text)
        size += len(text)
        if size >= _CHUNK_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group
