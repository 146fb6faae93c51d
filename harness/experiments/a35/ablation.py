"""Workload ``autoresearch.ablation``: the same search with and without the record of past trials.

Article 35 compares one search of each kind, by agents whose prompt and tools both change. Here one
proposer searches twice from one seed; only its view of the past differs. So replicates are
pairs, and their differences can be tested.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import fields
from itertools import accumulate
from types import MappingProxyType

from harness.experiments.a22 import report
from harness.experiments.a22.run import corpus_of
from harness.experiments.a35.params import ARM_FIGURES, AblationParams
from harness.records import Scalar
from harness.workloads.api.context import Context
from harness.workloads.autoresearch.as_trials import ProposerContext
from harness.workloads.autoresearch.llm_proposer import served
from harness.workloads.autoresearch.loop import BASELINE_FILE, Session
from harness.workloads.autoresearch.loop_process import searched
from harness.workloads.autoresearch.params import LoopParams, SearchParams
from harness.workloads.autoresearch.summary import (
    FinishedLoop,
    Tally,
    missing,
    read_finished,
    tally,
)
from harness.workloads.autoresearch.trajectory import Evaluated, read_baseline

ARMS = MappingProxyType(
    {"with_lineage": ProposerContext.LINEAGE, "without_lineage": ProposerContext.NONE}
)
_PERCENT = 100.0

Figures = Mapping[str, float]  # name -> figure, as `ARM_FIGURES` has them


def run(context: Context) -> None:
    """Search twice, and report both searches and how they differ.

    Raises:
        HostError: the searches cannot be done here.
    """
    emit, seed, corpus = context.emit, context.spec.seed, corpus_of(context)
    arms: dict[str, FinishedLoop] = {}
    measured: tuple[float, ...] = ()  # the noise, in the first search: it is of the baseline alone
    with served(context, context.params) as params:
        # over the replicates neither is always first
        for arm in ARMS if seed % 2 else reversed(ARMS):
            session = _session(params, seed, ARMS[arm], measured)
            step = searched(context, f"search {arm}", session, corpus)
            shutil.copytree(step.folder, context.out / arm)
            arms[arm] = read_finished(context.out / arm)
            measured = measured or arms[arm].header.noise_val_bpb
    emit.started(read_baseline(context.out / "with_lineage" / BASELINE_FILE).device)
    found = {arm: figures_of(tally(loop, params.alpha)) for arm, loop in arms.items()}
    for name in ARM_FIGURES:
        shown, hidden = found["with_lineage"][name], found["without_lineage"][name]
        emit.measured(f"with_lineage.{name}", shown)
        emit.measured(f"without_lineage.{name}", hidden)
        emit.measured(f"lineage_effect.{name}", shown - hidden)
    for arm, loop in arms.items():
        values = (
            each.val_bpb if isinstance(each, Evaluated) else math.inf
            for each in loop.trajectory.iterations
        )
        lowest = accumulate(values, min, initial=loop.header.baseline_val_bpb)
        for iteration, value in enumerate(lowest):
            emit.measured("eval.val_bpb_min", value, where={"variant": arm, "iteration": iteration})
        for trial in loop.history.trials:
            place: dict[str, Scalar] = {"variant": arm, "trial": int(trial.exp_id)}
            depth = len(loop.history.chain(trial)) - 1
            emit.measured("trial.depth", depth, where={**place, "label": trial.status.value})
    noise = arms["with_lineage"].noise
    emit.measured("noise.std", noise.std, count=noise.count)
    lacking = sum(len(missing(loop, params.iterations)) for loop in arms.values())
    emit.measured("resume.missing", lacking)
    report.rails(emit, _session(params, seed, ProposerContext.NONE, ()).search_space)


def _session(
    params: AblationParams, seed: int, memory: ProposerContext, noise: tuple[float, ...]
) -> Session:
    shared = {field.name: getattr(params, field.name) for field in fields(SearchParams)}
    return Session(
        params=LoopParams(**shared, proposer_context=memory.value), seed=seed, noise=noise
    )


def figures_of(found: Tally) -> Figures:
    """Return what the arms are compared by."""
    return {
        "accepted": found.accepted,
        "accepted_significant": found.accepted_significant,
        "repeats": found.repeats,
        "refused": found.refused,
        "overruns": found.overruns,
        "failures": found.failures,
        "gain": found.gain * _PERCENT,
        "parents": found.parents,
        "depth": found.depth,
        "trials_without_improvement": found.trials_without_improvement,
        "time": found.wall_s,
        "wasted": found.wasted_s,
        "wasted_share": found.wasted_s / found.wall_s * _PERCENT,
    }
