"""The article's corpus, made on the way: wikitext-103, cleaned and packed as article 20 does it.

With our own cleaner in place of NeMo Curator, which keeps and mends the same documents but for a
handful (article 20's scenario counts them).
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path

from harness.workloads.api.context import Context
from harness.workloads.data.clean import Fate, FilterLimits, clean, first_of_each
from harness.workloads.data.corpus import parquet_rows
from harness.workloads.data.pack import pack
from harness.workloads.data.tokens import Gpt2Tokenizer

_FILES = tuple(f"wikitext-103/train-0000{part}-of-00002.parquet" for part in range(2))
_TOKENIZER = ("gpt2/encoder.json", "gpt2/vocab.bpe")
_SHARD_TOKENS = 1 << 30  # all in one file, so that an evaluation maps one


def pack_wikitext(context: Context, folder: Path) -> None:
    """Pack the corpus into `folder`, and report its size.

    Raises:
        HostError: a published file is not here.
        InputError: it cannot be read.
    """
    files = [context.evidence(name) for name in _FILES]
    encoder, merges = (context.evidence(name) for name in _TOKENIZER)
    raw = parquet_rows("wikitext", files).documents
    kept = [each.text for each in clean(raw, FilterLimits()) if each.fate is Fate.KEPT]
    unique = [*compress(kept, first_of_each(kept))]
    tokenizer = Gpt2Tokenizer(encoder, merges)
    sidecar = pack(tokenizer.encode(unique), folder, tokenizer.vocabulary, _SHARD_TOKENS)
    context.emit.measured("corpus.tokens", sidecar.tokens)
