"""The same five operations by NeMo Curator itself, in a Ray cluster of this machine's own.

Runs in the image of the `spark` profile and in the environment of the comparison; nowhere else is
Curator installed. Its pipeline is article 20's: reader, two modifiers, three filters, writer.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemo_curator.core.client import RayClient
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.text.filters import (
    RepeatingTopNGramsFilter,
    SymbolsToWordsFilter,
    WordCountFilter,
)
from nemo_curator.stages.text.io.reader import JsonlReader, ParquetReader
from nemo_curator.stages.text.io.writer import JsonlWriter
from nemo_curator.stages.text.modifiers import NewlineNormalizer, UnicodeReformatter
from nemo_curator.stages.text.modules import Modify, ScoreFilter

from harness.workloads.curate.clean import Limits
from harness.workloads.curate.corpus import lines_of

_LEAST_OBJECT_STORE_BYTES = 300_000_000
_STORE_PER_FILE_BYTE = 8  # whole files pass from stage to stage through it, unpacked


def write_jsonl(documents: Sequence[str], path: Path) -> Path:
    """Write documents as Curator reads them, and return the path."""
    lines = (json.dumps({"text": text}) + "\n" for text in documents)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def curated(files: Sequence[Path], folder: Path, limits: Limits, executor: str) -> list[str]:
    """Clean the documents of parquet or JSON-lines files; return what is kept, in file order.

    The order of the files in `folder` is that of their names, which Curator makes from a hash.

    Args:
        files: all parquet, or all JSON lines; the text is in the column ``text``.
        folder: for the cleaned files; Curator makes it.
        limits: what a document may be.
        executor: ``xenna``, as the article, which wants more than two cores; or ``ray-data``.
    """
    pipeline = Pipeline(name="clean", stages=_stages(files, folder, limits))
    with _cluster(sum(path.stat().st_size for path in files)):
        pipeline.run(_executor(executor))
    return [
        json.loads(line)["text"]
        for path in sorted(folder.glob("*.jsonl"))
        for line in lines_of(path)
    ]


def _stages(files: Sequence[Path], folder: Path, limits: Limits) -> list[Any]:
    reader = ParquetReader if files[0].suffix == ".parquet" else JsonlReader
    filters = (
        WordCountFilter(min_words=limits.min_words, max_words=limits.max_words),
        RepeatingTopNGramsFilter(n=limits.ngram, max_repeating_ngram_ratio=limits.max_ngram_share),
        SymbolsToWordsFilter(max_symbol_to_word_ratio=limits.max_symbol_share),
    )
    return [
        reader(file_paths=[str(path) for path in files], fields=["text"], files_per_partition=1),
        *(
            Modify(each, input_fields="text")
            for each in (UnicodeReformatter(), NewlineNormalizer())
        ),
        *(ScoreFilter(each, text_field="text") for each in filters),
        JsonlWriter(path=str(folder), write_kwargs={"force_ascii": False}),
    ]


def _executor(name: str) -> Any:
    if name == "xenna":
        from nemo_curator.backends.xenna import XennaExecutor  # noqa: PLC0415 - one of two

        return XennaExecutor()
    from nemo_curator.backends.experimental.ray_data import RayDataExecutor  # noqa: PLC0415

    return RayDataExecutor()


@contextmanager
def _cluster(corpus_bytes: int) -> Iterator[None]:
    """Keep a Ray cluster on this machine, while the block runs."""
    folder = str(Path(sys.executable).parent)  # Curator starts Ray by its command's name
    os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])
    client = RayClient(
        num_cpus=len(os.sched_getaffinity(0)),
        include_dashboard=False,
        object_store_memory=max(_LEAST_OBJECT_STORE_BYTES, _STORE_PER_FILE_BYTE * corpus_bytes),
    )
    client.start()
    try:
        yield
    finally:
        client.stop()
