"""Workload ``autoresearch.loop``: run the search loop and report its results."""

from __future__ import annotations

import time

from harness.experiments.a22 import report
from harness.workloads.api.context import Context
from harness.workloads.autoresearch.llm_proposer import served
from harness.workloads.autoresearch.loop import BASELINE_FILE, TRAJECTORY_FILE, Session
from harness.workloads.autoresearch.loop_process import complete
from harness.workloads.autoresearch.summary import read_finished
from harness.workloads.autoresearch.trajectory import read_baseline
from harness.workloads.data.wikitext import pack_wikitext


def run(context: Context) -> None:
    """Search once, and report.

    Raises:
        HostError: the loop cannot be done here.
    """
    corpus = corpus_of(context)
    with served(context.params, context.out) as params:
        session = Session(params=params, seed=context.spec.seed)
        began = time.monotonic()
        kills = complete(session, context.out, corpus)
        wall_s = time.monotonic() - began
    baseline = read_baseline(context.out / BASELINE_FILE)
    context.emit.started(baseline.device)
    loop = read_finished(context.out)
    report.loop(context.emit, loop, baseline, params.alpha)
    report.resume(context.emit, loop, params.iterations, kills)
    report.rails(context.emit, session.search_space)
    report.time(context.emit, loop, wall_s, params.alpha)
    context.emit.artefact("trajectory", context.out / TRAJECTORY_FILE)


def corpus_of(context: Context) -> str:
    """Return the folder of the packed corpus, where the loop is to read one; made here."""
    if context.params.corpus == "source":
        return ""
    folder = context.out / "packed"
    pack_wikitext(context, folder)
    return str(folder)
