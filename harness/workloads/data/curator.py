"""``python -m harness.workloads.data.curator REQUEST``: the five operations by NeMo Curator.

A separate process (see `by_curator`), because Ray leaves threads in the process that uses it.
Curator is installed in the image of the `spark` profile and in the environment of the comparison.
Its pipeline is article 20's: reader, two modifiers, three filters, writer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
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

from harness.reading import read_json
from harness.records import from_json
from harness.workloads.data.by_curator import CurationRequest

_LEAST_OBJECT_STORE_BYTES = 300_000_000
_STORE_PER_FILE_BYTE = 8  # whole files pass from stage to stage through it, unpacked


def main(request: str) -> None:
    """Clean what a request, in JSON, asks for."""
    asked = from_json(CurationRequest, read_json(request))
    files = [Path(file) for file in asked.files]
    reader = ParquetReader if files[0].suffix == ".parquet" else JsonlReader
    filters = (
        WordCountFilter(min_words=asked.limits.min_words, max_words=asked.limits.max_words),
        RepeatingTopNGramsFilter(
            n=asked.limits.ngram, max_repeating_ngram_ratio=asked.limits.max_ngram_share
        ),
        SymbolsToWordsFilter(max_symbol_to_word_ratio=asked.limits.max_symbol_share),
    )
    pipeline = Pipeline(
        name="clean",
        stages=[
            reader(
                file_paths=[str(path) for path in files], fields=["text"], files_per_partition=1
            ),
            *(
                Modify(each, input_fields="text")
                for each in (UnicodeReformatter(), NewlineNormalizer())
            ),
            *(ScoreFilter(each, text_field="text") for each in filters),
            JsonlWriter(path=str(Path(asked.folder)), write_kwargs={"force_ascii": False}),
        ],
    )
    with _cluster(sum(path.stat().st_size for path in files)):
        pipeline.run(_executor(asked.executor))


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


if __name__ == "__main__":
    main(sys.argv[1])
