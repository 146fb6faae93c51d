"""Stand-ins of the published files that GPU profiles read: wikitext-103, GPT-2's tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random

from harness.records import RunSpec
from harness.results.archive import sha256

_SYLLABLES = tuple("".join(each) for each in product("bdklmnrst", "aeo"))  # each is one merge
_LETTERS = [chr(code) for code in range(33, 127)]
_SPACE, _NEWLINE, _END = "Ġ", "Ċ", "<|endoftext|>"  # as GPT-2 writes them
VOCABULARY = len(_LETTERS) + 2 + len(_SYLLABLES) + 1
"""How many tokens the tokenizer has."""


def write_wikitext(folder: Path, *, documents: int = 240) -> Mapping[str, str]:
    """Write the corpus and the tokenizer below `folder`, as `harness fetch` would.

    Args:
        folder: of published files.
        documents: rows that every cleaner keeps; as many headings, which none does, are between.

    Returns:
        File -> sha256.
    """
    import pyarrow as pa  # noqa: PLC0415 - not in every environment that collects these tests
    from pyarrow import parquet  # noqa: PLC0415

    random = Random(0)  # noqa: S311 - text, no secret
    rows = []
    for number in range(documents):
        words = ("".join(random.choices(_SYLLABLES, k=random.randint(1, 4))) for _ in range(60))
        rows += [f" = {number} = \n", f" {' '.join(words)} . \n"]
    made = []
    for part, begin in enumerate(range(0, len(rows), documents)):
        path = folder / f"wikitext-103/train-0000{part}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"text": rows[begin : begin + documents]}), path)
        made.append(path)
    tokens = [*_LETTERS, _SPACE, _NEWLINE, *_SYLLABLES, _END]
    merges = ["#version: 0.2", *(" ".join(syllable) for syllable in _SYLLABLES)]
    for name, text in (
        ("encoder.json", json.dumps({token: at for at, token in enumerate(tokens)})),
        ("vocab.bpe", "\n".join(merges) + "\n"),
    ):
        path = folder / "gpt2" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        made.append(path)
    return {str(path.relative_to(folder)): sha256(path) for path in made}


def write_beginning(published: Path, folder: Path, name: str, lines: int) -> str:
    """Write the first lines of a published file below `folder`; return their sha256."""
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    text = (published / name).read_text(encoding="utf-8")
    place.write_text("".join(text.splitlines(keepends=True)[:lines]), encoding="utf-8")
    return sha256(place)


def reading(spec: RunSpec, written: Mapping[str, str]) -> RunSpec:
    """Return a run that takes these files for the published ones of the same names."""
    assert spec.evidence.keys() <= written.keys()
    return replace(spec, evidence={name: written[name] for name in spec.evidence})
