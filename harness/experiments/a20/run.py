"""Article 20, whole: a raw corpus becomes training steps, and each part is timed and counted.

Differences from the article: the packed corpus is in shards with hashes that are checked
before it is trained on; each configuration also runs with batches made ahead; and models that
differ only in their token table are compared.
"""

from __future__ import annotations

import platform
import shutil
import time

import torch

from harness.experiments.a20.params import PathParams
from harness.experiments.a20.prepare import PACKED, prepare
from harness.experiments.a20.sweep import ConfigurationSweep
from harness.experiments.a20.vocabulary import compare_tables
from harness.records import to_json
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name, torch_device
from harness.workloads.data.pack import Packed, open_packed

# params of what is prepared; the others are of what is trained on it
_DECIDING = (
    *("datasets", "parquet", "planted_scale", "filters", "executor", "min_words", "max_words"),
    *("ngram", "max_ngram_share", "max_symbol_share", "tokenizer", "tokenizer_files"),
    "shard_tokens",
)


def run(context: Context) -> None:
    """Prepare the corpus, train on it, compare the tables."""
    params: PathParams = context.params
    device = torch_device(params.device, params.num_threads)
    context.emit.started(
        device_name(device.type), torch=torch.__version__, threads=torch.get_num_threads()
    )
    packed = packed_corpus(context)
    for stage, work in (
        ("sweep", ConfigurationSweep(context, packed, device).run),
        ("tables", lambda: compare_tables(context, packed, device)),
    ):
        began = time.perf_counter()
        work()
        where = {"corpus": "all", "stage": stage}
        context.emit.measured("stage.time", time.perf_counter() - began, where=where)


def packed_corpus(context: Context) -> Packed:
    """Return the packed corpus: a step of the run, which a replicate shares with no other.

    Its times are figures of the article, so each seed measures them anew.
    """
    params = to_json(context.params)
    with context.steps.step(
        "packed corpus",
        decides={
            "seed": context.spec.seed,
            "params": {name: params[name] for name in _DECIDING},
            "files": dict(context.spec.evidence),
            "python": platform.python_version(),  # its library is one of the corpora
        },
        code=("harness.experiments.a20.prepare",),
    ) as step:
        if step.is_new:
            corpus = context.out / "corpus"
            try:
                prepare(context, corpus)
                shutil.move(corpus / PACKED, step.folder / PACKED)
            finally:
                shutil.rmtree(corpus, ignore_errors=True)
    return open_packed(step.folder / PACKED)
