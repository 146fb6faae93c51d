"""Token ids on disk: int32 shards to be mapped into memory, and a sidecar that vouches for them.

A packed corpus is a folder that is written whole or not at all. `open_packed` checks every shard's
size and hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.atomic import new_folder
from harness.errors import InputError, Problem
from harness.reading import read_json
from harness.records import from_json, record, to_json
from harness.workloads.data.tokens import Ids, Vocabulary

SIDECAR = "packed.json"
_BYTES_PER_TOKEN = 4


@record
class Shard:
    """One file of ids."""

    file: str
    tokens: int
    sha256: str


@record
class Sidecar:
    """What a packed corpus says of itself.

    Attributes:
        tokens: over all shards, end marks included.
        documents: as many as there are end marks.
        largest_id: the highest id that occurs.
        sha256: over all shards' ids, however they are cut into shards.
    """

    vocabulary: Vocabulary
    tokens: int
    documents: int
    largest_id: int
    sha256: str
    shards: tuple[Shard, ...]
    dtype: str = "<i4"


def pack(
    parts: Iterable[Ids], folder: Path, vocabulary: Vocabulary, shard_tokens: int = 1 << 26
) -> Sidecar:
    """Write ids into `folder`, all of them or no folder at all, and return its sidecar.

    Raises:
        InputError: there are no ids, or one is beyond the vocabulary.
    """
    with new_folder(folder) as new:
        sidecar = _Packer(new, vocabulary, shard_tokens).write(parts)
        text = json.dumps(to_json(sidecar), indent=1) + "\n"
        (new / SIDECAR).write_text(text, encoding="utf-8")
    return sidecar


class _Packer:
    """Cuts a stream of ids into shards and sums it up on the way."""

    def __init__(self, folder: Path, vocabulary: Vocabulary, shard_tokens: int) -> None:
        self._folder = folder
        self._vocabulary = vocabulary
        self._shard_tokens = shard_tokens
        self._all = hashlib.sha256()
        self._documents = 0
        self._largest = -1
        self._shards: list[Shard] = []

    def write(self, parts: Iterable[Ids]) -> Sidecar:
        waiting = (ids for ids in map(self._counted, parts) if ids.size)
        ids = next(waiting, None)
        while ids is not None:
            ids = self._write_shard(ids, waiting)
        if not self._shards:
            message = "no token to pack: the corpus is empty"
            raise InputError([Problem(message=message)])
        return Sidecar(
            vocabulary=self._vocabulary,
            tokens=sum(shard.tokens for shard in self._shards),
            documents=self._documents,
            largest_id=self._largest,
            sha256=self._all.hexdigest(),
            shards=tuple(self._shards),
        )

    def _counted(self, ids: Ids) -> Ids:
        if ids.size:
            self._documents += int(np.count_nonzero(ids == self._vocabulary.end_id))
            self._largest = max(self._largest, int(ids.max()))
            refuse_ids(int(ids.min()), self._largest, self._vocabulary.size)
        return ids

    def _write_shard(self, ids: Ids | None, waiting: Iterator[Ids]) -> Ids | None:
        """Fill one shard; return the ids that no longer fit into it, None where none are left."""
        name = f"tokens-{len(self._shards):05d}.bin"
        room, hashed = self._shard_tokens, hashlib.sha256()
        with (self._folder / name).open("wb") as file:
            while ids is not None and room:
                now, rest = ids[:room], ids[room:]
                content = np.ascontiguousarray(now, dtype="<i4").data
                for each in (hashed, self._all):
                    each.update(content)
                file.write(content)
                room -= now.size
                ids = rest if rest.size else next(waiting, None)
        tokens = self._shard_tokens - room
        self._shards.append(Shard(file=name, tokens=tokens, sha256=hashed.hexdigest()))
        return ids


def refuse_ids(smallest: int, largest: int, vocab_size: int) -> None:
    """Refuse ids beyond the vocabulary.

    Raises:
        InputError: one is below 0 or beyond the vocabulary.
    """
    wrong = next((each for each in (smallest, largest) if not 0 <= each < vocab_size), None)
    if wrong is not None:
        message = "token id is beyond the vocabulary"
        allowed = f"0 to {vocab_size - 1}"
        raise InputError([Problem(message=message, value=str(wrong), allowed=allowed)])


class Packed:
    """A packed corpus, mapped into memory.

    Attributes:
        sidecar: its description.
    """

    def __init__(self, sidecar: Sidecar, shards: list[NDArray[np.int32]]) -> None:
        self.sidecar = sidecar
        self._shards = shards
        self._ends = np.cumsum([shard.size for shard in shards])

    @property
    def num_tokens(self) -> int:
        """Over all shards."""
        return int(self._ends[-1])

    def read(self, start: int, count: int) -> Ids:
        """Return ids `start` to `start` + `count`; a view where one shard holds them all."""
        first = int(np.searchsorted(self._ends, start, side="right"))
        begin = start - (int(self._ends[first - 1]) if first else 0)
        ids = self._shards[first][begin : begin + count]
        if ids.size == count:
            return ids
        return np.concatenate([ids, self.read(start + ids.size, count - ids.size)])


def open_packed(folder: Path) -> Packed:
    """Map a packed corpus into memory, after its shards were checked against its sidecar.

    Raises:
        InputError: it is not there as a whole, or a shard is missing, cut short or altered; names
            every such file.
    """
    path = folder / SIDECAR
    try:
        sidecar = from_json(Sidecar, read_json(path.read_bytes()))
    except FileNotFoundError:
        message = "is not here: the corpus was not packed, or not to its end"
        raise InputError([Problem(message=message, path=path)]) from None
    except ValueError as error:
        raise InputError([Problem(message=f"is damaged: {error}", path=path)]) from None
    if problems := [*_shard_problems(folder, sidecar)]:
        raise InputError(problems)
    shards = [np.memmap(folder / shard.file, dtype="<i4", mode="r") for shard in sidecar.shards]
    return Packed(sidecar, [*shards])


def _shard_problems(folder: Path, sidecar: Sidecar) -> Iterator[Problem]:
    for shard in sidecar.shards:
        path, size = folder / shard.file, shard.tokens * _BYTES_PER_TOKEN
        if not path.is_file():
            yield Problem(message="is missing", path=path)
        elif (found := path.stat().st_size) != size:
            message = "is cut short" if found < size else "is too long"
            yield Problem(message=message, path=path, value=f"{found} B", allowed=f"{size} B")
        else:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != shard.sha256:
                message = "was altered: its sha256 differs"
                yield Problem(message=message, path=path, value=digest, allowed=shard.sha256)
