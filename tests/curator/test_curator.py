"""Our five operations and NeMo Curator's, on the same documents.

Runs in the environment of the session ``curator``; a Ray cluster is started, about half a minute.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.workloads.data.by_curator import curated, write_jsonl
from harness.workloads.data.clean import Fate, FilterLimits, clean
from harness.workloads.data.corpus import standard_library
from harness.workloads.data.planted import planted

pytest.importorskip("nemo_curator", reason="needs NeMo Curator: nox -s curator")


def _kept_by_us(documents: list[str]) -> Counter[str]:
    return Counter(each.text for each in clean(documents, FilterLimits()) if each.fate is Fate.KEPT)


def test_both_keep_the_same_documents_and_mend_them_alike(tmp_path: Path) -> None:
    documents = [*(each.text for each in planted(7)), *standard_library().documents]
    raw = write_jsonl(documents, tmp_path / "raw.jsonl")
    theirs = Counter(curated([raw], tmp_path / "clean", FilterLimits(), "ray-data"))
    ours = _kept_by_us(documents)
    assert ours.total() > 3000
    assert (ours - theirs, theirs - ours) == (Counter(), Counter())


def test_parquet_files_are_read_as_the_article_reads_them(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415 - here only where Curator is
    from pyarrow import parquet  # noqa: PLC0415

    halves = [[f"{part} " + " ".join(f"w{n}" for n in range(60)), "short\n"] for part in "ab"]
    files = [tmp_path / f"train_{number}.parquet" for number in range(2)]
    for path, texts in zip(files, halves, strict=True):
        parquet.write_table(pa.table({"text": texts}), path)
    theirs = curated(files, tmp_path / "clean", FilterLimits(), "ray-data")
    assert Counter(theirs) == _kept_by_us([text for half in halves for text in half])


@pytest.mark.parametrize(
    "text",
    [
        "naÃ¯ve cafÃ©, â€œquotedâ€\x9d",
        "fish &amp; chips\n<b>&amp;</b>\n&amp;",
        "P&EACUTE;REZ &unknown; &amp",
        "\x1b[31mred\x1b[0m\x00 it\x80s",
        "\ud83d\ude00 and a half \ud83d",
        "a\n\n\n\nb\r\n\r\n\r\nc",
    ],
)
def test_a_broken_text_is_mended_alike(text: str) -> None:
    from nemo_curator.stages.text.modifiers import (  # noqa: PLC0415 - see above
        NewlineNormalizer,
        UnicodeReformatter,
    )

    theirs = NewlineNormalizer().modify_document(UnicodeReformatter().modify_document(text))
    (ours,) = clean([text], FilterLimits())
    assert ours.text == theirs


def test_mojibake_within_a_line_is_mended_by_theirs_alone() -> None:
    from nemo_curator.stages.text.modifiers import UnicodeReformatter  # noqa: PLC0415 - see above

    text = "cafÃ© 日本"  # the line as a whole was never one byte a letter
    (ours,) = clean([text], FilterLimits())
    assert ours.text == text
    assert UnicodeReformatter().modify_document(text) == "café 日本"
