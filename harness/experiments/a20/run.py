"""Article 20, whole: a raw corpus becomes training steps, and each part is timed and counted.

Differences from the article: the packed corpus is in shards with hashes that are checked
before it is trained on; each configuration also runs with batches made ahead; and models that
differ only in their token table are compared.
"""

from __future__ import annotations

import shutil
import time

import torch

from harness.experiments.a20.params import PathParams
from harness.experiments.a20.prepare import prepare
from harness.experiments.a20.sweep import ConfigurationSweep
from harness.experiments.a20.vocabulary import compare_tables
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name, torch_device


def run(context: Context) -> None:
    """Prepare the corpus, train on it, compare the tables; the corpus is removed at the end."""
    params: PathParams = context.params
    device = torch_device(params.device, params.num_threads)
    context.emit.started(
        device_name(device.type), torch=torch.__version__, threads=torch.get_num_threads()
    )
    corpus = context.out / "corpus"
    try:
        packed = prepare(context, corpus)
        for stage, work in (
            ("sweep", ConfigurationSweep(context, packed, device).run),
            ("tables", lambda: compare_tables(context, packed, device)),
        ):
            began = time.perf_counter()
            work()
            where = {"corpus": "all", "stage": stage}
            context.emit.measured("stage.time", time.perf_counter() - began, where=where)
    finally:
        shutil.rmtree(corpus, ignore_errors=True)
