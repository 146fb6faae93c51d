"""Workload ``autoresearch.ablation``: the same search with and without the record of past trials.

Article 35 compares one search of each kind, by agents whose prompt and tools both change. Here one
proposer searches from several seeds, twice from each; what it is shown is all that differs. So the
differences are of pairs, and have an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from harness.records import Scalar, record
from harness.statistics import sample, t_quantile
from harness.workloads.autoresearch import report
from harness.workloads.autoresearch.loop import BASELINE_FILE, Session
from harness.workloads.autoresearch.loop_declare import (
    ARM_FIGURES,
    AblationParams,
    LoopParams,
    SearchParams,
)
from harness.workloads.autoresearch.search import complete, corpus_of
from harness.workloads.autoresearch.tally import Finished, Tally, read_finished, tally
from harness.workloads.autoresearch.trajectory import Evaluated, read_baseline
from harness.workloads.autoresearch.trials import Memory
from harness.workloads.context import Context
from harness.workloads.emit import EventWriter

ARMS = MappingProxyType({"shown": Memory.LINEAGE, "hidden": Memory.NONE})
_LEVEL = 0.05  # of the two-sided intervals
_PERCENT = 100.0

Figures = Mapping[str, float]  # name -> figure, as `ARM_FIGURES` has them


@record
class Pair:
    """The two searches of one seed, by the name of the arm."""

    seed: int
    arms: Mapping[str, Finished]


def run(context: Context) -> None:
    """Search in pairs, and report each and what they come to together.

    Raises:
        HostError: the searches cannot be done here.
    """
    params, emit = context.params, context.emit
    pairs = list(_pairs(context, params))
    first = _folder(context.out, pairs[0].seed, "shown")
    emit.started(read_baseline(first / BASELINE_FILE).device)
    for pair in pairs:
        _report_pair(emit, pair, params.level)
    shown, hidden = (
        [figures_of(tally(pair.arms[arm], params.level)) for pair in pairs] for arm in ARMS
    )
    _report_effects(emit, shown, hidden)
    noise = pairs[0].arms["shown"].noise
    emit.measured("noise.sd", noise.sd, count=noise.count)
    report.rails(emit, _session(params, pairs[0].seed, Memory.NONE, ()).space)


def _pairs(context: Context, params: AblationParams) -> Iterator[Pair]:
    """Do the searches; the noise is measured in the first, as it is of the baseline alone."""
    corpus = corpus_of(context)
    noise: tuple[float, ...] = ()
    for seed in range(context.spec.seed, context.spec.seed + params.seeds):
        arms = {}
        for arm in ARMS if seed % 2 else reversed(ARMS):  # neither arm always runs first
            folder = _folder(context.out, seed, arm)
            folder.mkdir()
            complete(_session(params, seed, ARMS[arm], noise), folder, corpus)
            arms[arm] = read_finished(folder)
            noise = noise or arms[arm].header.noise_val_bpb
        yield Pair(seed=seed, arms=arms)


def _folder(out: Path, seed: int, arm: str) -> Path:
    return out / f"{seed}-{arm}"


def _session(
    params: AblationParams, seed: int, memory: Memory, noise: tuple[float, ...]
) -> Session:
    shared = {field.name: getattr(params, field.name) for field in fields(SearchParams)}
    return Session(params=LoopParams(**shared, memory=memory.value), seed=seed, noise=noise)


def figures_of(found: Tally) -> Figures:
    """Return what the arms are compared by."""
    return {
        "keeps": found.keeps,
        "keeps_noise": found.keeps_beyond_noise,
        "repeats": found.repeats,
        "refused": found.refused,
        "overruns": found.overruns,
        "failures": found.failures,
        "gain": found.gain * _PERCENT,
        "parents": found.parents,
        "depth": found.depth,
        "drought": found.drought,
        "wall": found.wall_s,
        "wasted": found.wasted_s,
        "wasted_share": found.wasted_s / found.wall_s * _PERCENT,
    }


def _report_pair(emit: EventWriter, pair: Pair, level: float) -> None:
    for arm, loop in pair.arms.items():
        where: dict[str, Scalar] = {"seed": pair.seed, "record": arm}
        for name, value in figures_of(tally(loop, level)).items():
            emit.measured(f"arm.{name}", value, where=where)
        lowest = loop.header.baseline_val_bpb
        for each in loop.trajectory.iterations:
            if isinstance(each, Evaluated):
                lowest = min(lowest, each.val_bpb)
            emit.measured("arm.lowest", lowest, where={**where, "iteration": each.iteration})
        for trial in loop.history.trials:
            depth = len(loop.history.chain(trial)) - 1
            place = {**where, "trial": int(trial.exp_id), "label": trial.status.value}
            emit.measured("arm.trial_depth", depth, where=place)


def _report_effects(emit: EventWriter, shown: Sequence[Figures], hidden: Sequence[Figures]) -> None:
    """Report the means of both arms, and of the differences within the pairs."""
    for name in ARM_FIGURES:
        one, other = [row[name] for row in shown], [row[name] for row in hidden]
        differences = [with_it - without for with_it, without in zip(one, other, strict=True)]
        samples = {"shown": one, "hidden": other, "effect": differences}
        for what, values in samples.items():
            emit.measured(f"{what}.{name}", fmean(values), count=len(values))
            for end, value in interval(values).items():
                emit.measured(f"interval.{name}", value, where={"of": what, "end": end})
        for sign, count in signs(differences).items():
            emit.measured("pairs.count", count, where={"figure": name, "shown_has": sign})


def signs(differences: Sequence[float]) -> dict[str, int]:
    """Return in how many pairs the arm that is shown the record has more, fewer, or as many."""
    return {
        "more": sum(each > 0 for each in differences),
        "fewer": sum(each < 0 for each in differences),
        "as many": sum(each == 0 for each in differences),
    }


def interval(values: Sequence[float]) -> dict[str, float]:
    """Return the ends of the mean's interval at 95 %, by Student's t; of two values at least."""
    seen = sample(values)
    half = t_quantile(1.0 - _LEVEL / 2, seen.count - 1) * seen.standard_error
    return {"low": seen.mean - half, "high": seen.mean + half}
