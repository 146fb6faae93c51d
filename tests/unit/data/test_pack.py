"""What is packed comes back as it was, whole or not at all, and a damaged shard is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.errors import InputError
from harness.workloads.data.pack import SIDECAR, Packed, open_packed, pack
from harness.workloads.data.tokens import ByteTokenizer, Gpt2Tokenizer, Ids, Vocabulary

_TOKENIZER = ByteTokenizer()
_DOCUMENTS = ["one", "", "zwölf Boxkämpfer", "日本"]


def _packed(folder: Path, shard_tokens: int = 8) -> Packed:
    pack(_TOKENIZER.encode(_DOCUMENTS), folder, _TOKENIZER.vocabulary, shard_tokens)
    return open_packed(folder)


def _ids(*values: int) -> Ids:
    return np.array(values, dtype=np.int32)


def test_documents_come_back_each_closed_by_its_end_mark(tmp_path: Path) -> None:
    packed = _packed(tmp_path / "packed")
    ids = packed.read(0, packed.num_tokens)
    parts = np.split(ids, np.flatnonzero(ids == 256) + 1)[:-1]
    assert [_TOKENIZER.decode(part[:-1]) for part in parts] == _DOCUMENTS
    assert packed.sidecar.documents == len(_DOCUMENTS)
    assert packed.sidecar.largest_id == 256
    assert packed.sidecar.tokens == sum(len(text.encode()) + 1 for text in _DOCUMENTS)


def test_how_it_is_cut_into_shards_changes_neither_ids_nor_hash(tmp_path: Path) -> None:
    one, many = _packed(tmp_path / "one", 1 << 20), _packed(tmp_path / "many", 3)
    assert (len(one.sidecar.shards), len(many.sidecar.shards)) == (1, 11)
    assert one.sidecar.sha256 == many.sidecar.sha256
    for start in range(one.num_tokens - 5):
        assert one.read(start, 5).tolist() == many.read(start, 5).tolist()


def test_what_stops_half_way_leaves_no_folder(tmp_path: Path) -> None:
    def parts() -> Iterator[Ids]:
        yield _ids(1, 2, 256)
        message = "the corpus went away"
        raise OSError(message)

    with pytest.raises(OSError, match="went away"):
        pack(parts(), tmp_path / "packed", _TOKENIZER.vocabulary)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"packed\.json: is not here"):
        open_packed(tmp_path / "packed")


def test_what_a_killed_packer_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".packed.new").mkdir()
    (tmp_path / ".packed.new" / "tokens-00000.bin").write_bytes(b"torn")
    assert _packed(tmp_path / "packed").num_tokens == 31
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_every_damaged_shard_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    _packed(folder)
    altered, short, missing = (folder / f"tokens-0000{number}.bin" for number in range(3))
    altered.write_bytes(b"\x01" + altered.read_bytes()[1:])
    short.write_bytes(short.read_bytes()[:-4])
    missing.unlink()
    with pytest.raises(InputError) as caught:
        open_packed(folder)
    assert [(p.path, p.message) for p in caught.value.problems] == [
        (altered, "was altered: its sha256 differs"),
        (short, "is cut short"),
        (missing, "is missing"),
    ]


@pytest.mark.parametrize("text", ["", "{", '{"tokens": 1}', "[]"])
def test_a_damaged_sidecar_is_named(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "packed"
    _packed(folder)
    (folder / SIDECAR).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"packed\.json: is damaged"):
        open_packed(folder)


@pytest.mark.parametrize("wrong", [-1, 257])
def test_an_id_beyond_the_vocabulary_is_refused_and_nothing_is_written(
    tmp_path: Path, wrong: int
) -> None:
    with pytest.raises(InputError, match=f"beyond the vocabulary .got {wrong}; allowed: 0 to 256"):
        pack([_ids(1, wrong)], tmp_path / "packed", _TOKENIZER.vocabulary)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("parts", [[], [_ids()]])
def test_an_empty_corpus_is_refused(tmp_path: Path, parts: list[Ids]) -> None:
    with pytest.raises(InputError, match="the corpus is empty"):
        pack(parts, tmp_path / "packed", _TOKENIZER.vocabulary)


def test_gpt2s_vocabulary_is_read_from_its_two_files(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="GPT-2's tokenizer runs in the curator session")
    tokens = {"h": 0, "e": 1, "Ġ": 2, "he": 3, "Ġhe": 4, "<|endoftext|>": 5}
    encoder, merges = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    encoder.write_text(json.dumps(tokens), encoding="utf-8")
    merges.write_text("#version: 0.2\nh e\nĠ he\n", encoding="utf-8")
    tokenizer = Gpt2Tokenizer(encoder, merges)
    assert tokenizer.vocabulary == Vocabulary(tokenizer="gpt2", size=6, end_id=5)
    (ids,) = tokenizer.encode(["he he", "eh"])
    assert ids.tolist() == [3, 4, 5, 1, 0, 5]
    assert tokenizer.decode(ids[:2]) == "he he"
