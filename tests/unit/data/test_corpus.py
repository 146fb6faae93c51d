from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.workloads.data.corpus import (
    lines_of,
    parquet_rows,
    source_files,
    standard_library,
)


def test_the_standard_library_is_text() -> None:
    corpus = standard_library()
    assert len(corpus.documents) > 100
    assert corpus.num_characters == sum(len(text) for text in corpus.documents)
    assert not any("site-packages" in cause for cause in corpus.unreadable)


def test_a_source_is_read_in_its_own_encoding_and_what_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes("# coding: latin-1\ns = 'é'\n".encode("latin-1"))
    (tmp_path / "wrong.py").write_bytes(b"s = '\xff'\n")
    (tmp_path / "unknown.py").write_bytes(b"# coding: no-such-code\n")
    corpus = source_files("files", tmp_path, sorted(tmp_path.iterdir()))
    assert corpus.documents == ["# coding: latin-1\ns = 'é'\n"]
    assert [cause.partition(":")[0] for cause in corpus.unreadable] == ["unknown.py", "wrong.py"]


def test_a_file_that_is_not_utf8_is_named_with_its_first_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "cleaned.jsonl"
    path.write_bytes(b"good\nbad \xff\n")
    with pytest.raises(InputError, match=r"cleaned\.jsonl: is not UTF-8 from byte 9 on"):
        lines_of(path)


def test_rows_come_in_file_order_and_a_null_is_left_out(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet is read in the curator session")
    parquet = pytest.importorskip("pyarrow.parquet")
    files = [tmp_path / "b.parquet", tmp_path / "a.parquet"]
    for path, texts in zip(files, (["one\n", None], ["two"]), strict=True):
        parquet.write_table(pyarrow.table({"text": pyarrow.array(texts, pyarrow.string())}), path)
    corpus = parquet_rows("rows", files)
    assert corpus.documents == ["one\n", "two"]
    assert corpus.unreadable == ["row 1: null"]


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("pyarrow", reason="parquet is read in the curator session")
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.parquet: text: cannot be read as parquet"):
        parquet_rows("rows", [path])


def test_a_parquet_file_without_the_column_is_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet is read in the curator session")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.table({"words": ["one"]}), path)
    with pytest.raises(InputError, match=r"train\.parquet: text: cannot be read"):
        parquet_rows("rows", [path])
