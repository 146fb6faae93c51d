"""Workload ``autoresearch.loop``: run the search loop and report its results."""

from __future__ import annotations

import shutil

from harness.experiments.a22 import report
from harness.workloads.api.context import Context
from harness.workloads.api.steps import Step
from harness.workloads.autoresearch.llm_proposer import served
from harness.workloads.autoresearch.loop import BASELINE_FILE, TRAJECTORY_FILE, Session
from harness.workloads.autoresearch.loop_process import PACKED, searched
from harness.workloads.autoresearch.summary import read_finished
from harness.workloads.autoresearch.trajectory import read_baseline
from harness.workloads.data.wikitext import pack_wikitext


def run(context: Context) -> None:
    """Search once, and report.

    Raises:
        HostError: the loop cannot be done here.
    """
    corpus = corpus_of(context)
    with served(context, context.params) as params:
        session = Session(params=params, seed=context.spec.seed)
        step = searched(context, "search", session, corpus)
    shutil.copytree(step.folder, context.out, dirs_exist_ok=True)
    baseline = read_baseline(context.out / BASELINE_FILE)
    context.emit.started(baseline.device)
    loop = read_finished(context.out)
    report.loop(context.emit, loop, baseline, params.alpha)
    report.resume(context.emit, loop, params.iterations, step.facts["kills"])
    report.rails(context.emit, session.search_space)
    report.time(context.emit, loop, step.wall_s, params.alpha)
    context.emit.artefact("trajectory", context.out / TRAJECTORY_FILE)


def corpus_of(context: Context) -> Step | None:
    """Return the step that packs the corpus, where the loop is to read one."""
    if context.params.corpus == "source":
        return None
    with context.steps.step(
        "packed corpus",
        decides={"files": dict(context.spec.evidence)},
        code=("harness.workloads.data.wikitext",),
        portable=True,
    ) as step:
        if step.is_new:
            pack_wikitext(context, step.folder / PACKED)
    return step
