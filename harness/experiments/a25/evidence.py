"""Article 25 recomputed: its corpus from article 22's trajectory, its race from every answer."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from harness.experiments.a25.baselines import constants, truth
from harness.experiments.a25.corpus import AsPublished, Construction, Row, Split, rows, split
from harness.experiments.a25.evidence_params import RaceEvidenceParams
from harness.experiments.a25.race import Answer, Heat, latency, rates, read_pick
from harness.experiments.a25.report import (
    report_baselines,
    report_construction,
    report_corpus,
    report_race,
)
from harness.records import record
from harness.statistics import ALPHA, Proportion, fisher_exact, mcnemar_exact, trials_per_arm
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EventWriter
from harness.workloads.autoresearch.search_space import ARTICLE
from harness.workloads.autoresearch.trajectory import Decision, Trajectory, read_trajectory
from harness.workloads.models.memory import Dtype, stored_bytes
from harness.workloads.models.presets import QWEN25_3B
from harness.workloads.models.shape import lora_parameters, num_parameters
from harness.workloads.training.settings import SupervisedSettings

DISTILLED, TEACHER = "distilled", "nim_8b"  # as the published files call them
_EPOCHS, _MICRO, _ACCUMULATED = 5, 2, 4
_CAMPAIGN = 50  # iterations that the energy is of


@record
class Published:
    """The published files, read."""

    trajectory: Trajectory
    train: str
    test: str
    predictions: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]


def run(context: Context) -> None:
    """Report every figure."""
    params: RaceEvidenceParams = context.params
    context.emit.started("NVIDIA GB10")  # the answers' latencies are of one
    found = _read(context, params)
    parts = _report_corpora(context.emit, found, params)
    report_baselines(context.emit, Construction.PUBLISHED, parts)
    heats = {name: race_of(name, found, parts) for name in (DISTILLED, TEACHER)}
    for name, each in heats.items():
        report_race(context.emit, Construction.PUBLISHED, name, each, parts)
        _report_latency(context.emit, name, each)
        _report_outcomes(context.emit, name, found, each)
    _report_difference(context.emit, found, heats, parts)
    _report_adapter(context.emit, params, len(parts.train))


def _read(context: Context, params: RaceEvidenceParams) -> Published:
    def text(name: str) -> str:
        return context.evidence(name).read_text(encoding="utf-8")

    return Published(
        trajectory=read_trajectory(Path(context.evidence(params.trajectory))),
        train=text(params.train),
        test=text(params.test),
        predictions=tuple(json.loads(line) for line in text(params.predictions).splitlines()),
        summary=json.loads(text(params.summary)),
    )


# --- the corpus -----------------------------------------------------------------------------------


def asking_of(train: str) -> AsPublished:
    """Return the published wording, from the first of the published training rows."""
    system, user, _ = json.loads(train.partition("\n")[0])["messages"]
    return AsPublished.of_first(system["content"], user["content"])


def _report_corpora(emit: EventWriter, found: Published, params: RaceEvidenceParams) -> Split:
    """Report both constructions; return the published one."""
    asking = asking_of(found.train)
    made = {each: list(rows(found.trajectory, asking, each)) for each in Construction}
    parts = {each: split(made[each], params.held_out) for each in Construction}
    published = (found.train + found.test).splitlines(keepends=True)
    asked = made[Construction.CORRECTED]
    for construction, lines in made.items():
        same = sum(row.line == line for row, line in zip(lines, published, strict=True))
        where = {"construction": construction.value}
        emit.measured("corpus.identical", same, where=where)
        report_construction(emit, construction, parts[construction], asked)
    again = parts[Construction.PUBLISHED]
    for name, part in (("train", again.train), ("test", again.test)):
        content = "".join(row.line for row in part).encode()
        digest = hashlib.sha256(content).hexdigest()
        emit.measured("corpus.sha256", digest, where={"split": name})
    report_corpus(emit, again)
    _report_texts(emit, made[Construction.PUBLISHED])
    _report_trajectory(emit, found.trajectory)
    frequent, _ = Counter(row.pair for row in again.train).most_common(1)[0]
    emit.measured("corpus.most_frequent", frequent)
    return again


def _report_texts(emit: EventWriter, made: Sequence[Row]) -> None:
    sizes = {
        "corpus.prompt_chars": [len(row.question.user) for row in made],
        "corpus.answer_chars": [len(row.answer) for row in made],
    }
    for metric, counts in sizes.items():
        for statistic, value in (
            ("least", min(counts)),
            ("median", median(counts)),
            ("most", max(counts)),
        ):
            emit.measured(metric, value, where={"statistic": statistic})


def _report_trajectory(emit: EventWriter, trajectory: Trajectory) -> None:
    kept = [each for each in trajectory.evaluated if each.decision is Decision.KEEP]
    emit.measured("trajectory.keeps", len(kept))
    for pair, count in Counter(each.proposal.pair for each in kept).most_common():
        emit.measured("trajectory.kept_picks", count, where={"pick": pair})
    baseline = trajectory.header.baseline_val_bpb
    higher = sum(each.val_bpb > baseline for each in trajectory.evaluated)
    emit.measured("trajectory.higher", higher)


# --- the race -------------------------------------------------------------------------------------


def race_of(racer: str, found: Published, parts: Split) -> tuple[Heat, ...]:
    """Return the heats of a published racer, its answers read again from what it said."""
    heats = []
    for row, line in zip(parts.test, found.predictions, strict=True):
        said = line[racer]
        answer = Answer(pick=read_pick(said["text"], ARTICLE), latency_s=said["latency_s"])
        heats.append(Heat(iteration=row.iteration, truth=truth(row), answers=(answer,)))
    return tuple(heats)


def _report_latency(emit: EventWriter, racer: str, heats: Sequence[Heat]) -> None:
    took = latency(_seconds(heats))
    where = {"racer": racer}
    emit.measured("latency.upper_median", took.upper_median, where=where)
    emit.measured("latency.least", took.least, where=where)
    emit.measured("latency.most", took.most, where=where)


def _report_outcomes(
    emit: EventWriter, racer: str, found: Published, heats: Sequence[Heat]
) -> None:
    """Report what the picks had come to before: the look-up of the article, and one that finds."""
    where = {"racer": racer}
    looked_up = sum(line[racer]["val_bpb_lookup"] is not None for line in found.predictions)
    emit.measured("outcome.looked_up", looked_up, where=where)
    results = [known_result(heat, found.trajectory) for heat in heats]
    known = [each for each in results if each is not None]
    emit.measured("outcome.known", len(known), where=where)
    emit.measured("outcome.val_bpb", fmean(known), where=where, count=len(known))
    first = {each.proposal.pair: each.iteration for each in reversed(found.trajectory.evaluated)}
    tried = [first.get(each.pair) for heat in heats if (each := heat.modal)]
    latest = max(each for each in tried if each is not None)
    emit.measured("picks.tried_by", latest, where=where)


def known_result(heat: Heat, trajectory: Trajectory) -> float | None:
    """Return the mean result of a heat's pick in all earlier iterations; None for one untried."""
    pick = heat.modal
    before = [
        each.val_bpb
        for each in trajectory.evaluated
        if pick and each.iteration < heat.iteration and each.proposal.pair == pick.pair
    ]
    return fmean(before) if before else None


def _report_difference(
    emit: EventWriter, found: Published, heats: Mapping[str, Sequence[Heat]], parts: Split
) -> None:
    """Report what tells the racers apart, and the article's summary against their answers."""
    student, teacher = heats[DISTILLED], heats[TEACHER]
    for match in ("exact", "knob"):
        one, other = _hits(student, match), _hits(teacher, match)
        where = {"match": match}
        trials = [Proportion(successes=sum(hits), trials=len(hits)) for hits in (one, other)]
        p_value = fisher_exact(*trials)
        emit.measured("race.p", p_value, where=where)
        emit.measured("race.told_apart", p_value < ALPHA, where=where)
        only = [sum(a and not b for a, b in zip(x, y, strict=True)) for x, y in _both(one, other)]
        emit.measured("race.paired_p", mcnemar_exact(*only), where=where)
        needed = trials_per_arm(trials[0].rate, trials[1].rate)
        emit.measured("race.prompts_needed", needed, where=where)
    own = rates(student).exact
    better = sum(rates(each).exact > own for each in constants(parts).values())
    emit.measured("race.constants_better", better)
    ratio = fmean(_seconds(student)) / fmean(_seconds(teacher))
    emit.measured("latency.ratio", ratio, where={"answers": "all"})
    warm = fmean(_seconds(student[1:])) / fmean(_seconds(teacher))
    emit.measured("latency.ratio", warm, where={"answers": "without the first"})
    emit.measured("race.summary_wrong", wrong_fields(found.summary, heats))


def wrong_fields(summary: Mapping[str, Any], heats: Mapping[str, Sequence[Heat]]) -> int:
    """Return how many figures of the published summary are not those of the answers."""
    again: dict[str, Any] = {"n_test": len(heats[DISTILLED])}
    for name, each in heats.items():
        found, took = rates(each), latency(_seconds(each))
        again[name] = {
            "validity_rate": found.valid,
            "knob_match_rate": found.knob,
            "exact_match_rate": found.exact,
            "mean_latency_s": took.mean,
            "median_latency_s": took.upper_median,
        }
    student, teacher = (again[name]["mean_latency_s"] for name in (DISTILLED, TEACHER))
    again["throughput_speedup"] = teacher / student
    pairs = [
        (expected, again[name].get(field) if isinstance(again[name], dict) else again[name])
        for name, value in summary.items()
        for field, expected in (value.items() if isinstance(value, dict) else [("", value)])
    ]
    return sum(not math.isclose(one, other, rel_tol=1e-12) for one, other in pairs)


def _hits(heats: Sequence[Heat], match: str) -> list[bool]:
    return [getattr(rates([heat]), match) == 1 for heat in heats]


def _both(one: list[bool], other: list[bool]) -> tuple[tuple[list[bool], list[bool]], ...]:
    return (one, other), (other, one)


def _seconds(heats: Sequence[Heat]) -> list[float]:
    return [s for heat in heats for each in heat.answers if (s := each.latency_s) is not None]


# --- the adapter, and the money -------------------------------------------------------------------


def _report_adapter(emit: EventWriter, params: RaceEvidenceParams, num_rows: int) -> None:
    adapter = lora_parameters(QWEN25_3B, params.lora_rank)
    emit.measured("lora.parameters", adapter)
    emit.measured("lora.share", 100 * adapter / (adapter + num_parameters(QWEN25_3B)))
    emit.measured("lora.size", stored_bytes(adapter, Dtype.FP32) / 2**20)
    settings = replace(
        SupervisedSettings(), epochs=_EPOCHS, micro_batch=_MICRO, accumulated=_ACCUMULATED
    )
    emit.measured("training.steps", settings.schedule(num_rows).num_steps)
    for iterations in (_CAMPAIGN, 4 * _CAMPAIGN):
        usd = iterations / _CAMPAIGN * params.campaign_kwh * params.usd_per_kwh
        emit.measured("campaign.cost", usd, where={"iterations": iterations})
