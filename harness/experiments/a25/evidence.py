"""Article 25 recomputed: its corpus from article 22's trajectory, its scores from every answer."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, median
from typing import Any, NamedTuple

from harness.experiments.a25.baselines import constants, truth
from harness.experiments.a25.corpus import (
    IterationExample,
    PromptVersion,
    PublishedQuestion,
    TrainTestSplit,
    rows,
    split,
)
from harness.experiments.a25.figures import BASELINES, CONSTRUCTED, CORPUS, RACE, Constructed, Raced
from harness.experiments.a25.race import (
    Latency,
    Prediction,
    RepeatedPredictions,
    latency,
    rates,
    read_pick,
)
from harness.reading import read_json
from harness.records import record
from harness.statistics import ALPHA, Proportion, fisher_exact, mcnemar_exact, trials_per_arm
from harness.workloads.api import figures as api
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload, param
from harness.workloads.api.figures import Counted, Figures, Where
from harness.workloads.api.rates import HOME_ELECTRICITY
from harness.workloads.autoresearch.search_space import ARTICLE
from harness.workloads.autoresearch.trajectory import (
    Decision,
    Evaluated,
    Trajectory,
    read_trajectory,
)
from harness.workloads.models.memory import NumberFormat, stored_bytes
from harness.workloads.models.presets import QWEN25_3B
from harness.workloads.models.shape import lora_parameters, num_parameters
from harness.workloads.training.sft_settings import SupervisedSettings

DISTILLED, TEACHER = "distilled", "nim_8b"  # as the published files call them
_EPOCHS, _MICRO, _ACCUMULATED = 5, 2, 4
_CAMPAIGN = 50  # iterations that the energy is of
_LOWER = Better.LOWER


@record
class RaceEvidenceParams:
    """The published files, and the inputs of the article's cost estimate."""

    trajectory: str = param("a22/trajectory.jsonl", doc="the corpus's source")
    train: str = param("a25/train.jsonl", doc="the published training rows")
    test: str = param("a25/test.jsonl", doc="the published held-out rows")
    predictions: str = param("a25/preds.jsonl", doc="every answer of both models")
    summary: str = param("a25/race_results.json", doc="the article's own summary of them")
    held_out: int = param(8, doc="number of last rows that are held out", low=1)
    lora_rank: int = param(16, doc="LoRA rank, on all seven matrices of a layer", low=1)
    campaign_kwh: float = param(
        0.0689, doc="GPU energy of fifty iterations, article 22", unit="kWh", low=0.0
    )
    electricity_usd_per_kwh: float = param(
        HOME_ELECTRICITY.value, doc="price of electricity", unit="USD/kWh", low=0.0
    )


@dataclass(frozen=True, kw_only=True)
class PublishedRace:
    """The published files, read; and what is made again from them."""

    trajectory: Trajectory
    train: str
    test: str
    predictions: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]
    params: RaceEvidenceParams

    @cached_property
    def made(self) -> Mapping[PromptVersion, Sequence[IterationExample]]:
        """The rows of both constructions."""
        asking = asking_of(self.train)
        return {each: list(rows(self.trajectory, asking, each)) for each in PromptVersion}

    @cached_property
    def constructed(self) -> Mapping[PromptVersion, Constructed]:
        """The same, split."""
        return {
            each: Constructed(
                prompt_version=each,
                parts=split(made, self.params.held_out),
                asked=self.made[PromptVersion.CORRECTED],
            )
            for each, made in self.made.items()
        }

    @property
    def parts(self) -> TrainTestSplit:
        """The published construction's rows, made again."""
        return self.constructed[PromptVersion.PUBLISHED].parts

    @property
    def kept(self) -> list[Evaluated]:
        """The iterations that were kept."""
        return [each for each in self.trajectory.evaluated if each.decision is Decision.KEEP]

    @cached_property
    def raced(self) -> Mapping[str, Raced]:
        """Each model's answers, parsed again from its text."""
        return {
            racer: Raced(
                prompt_version=PromptVersion.PUBLISHED,
                racer=racer,
                heats=tuple(self._heats(racer)),
                parts=self.parts,
            )
            for racer in (DISTILLED, TEACHER)
        }

    def _heats(self, racer: str) -> Iterator[RepeatedPredictions]:
        for row, line in zip(self.parts.test, self.predictions, strict=True):
            said = line[racer]
            answer = Prediction(
                change=read_pick(said["text"], ARTICLE), latency_s=said["latency_s"]
            )
            yield RepeatedPredictions(
                iteration=row.iteration, truth=truth(row), predictions=(answer,)
            )

    def results(self, racer: str) -> list[float]:
        """Return the mean earlier results of a model's proposals, if there are any."""
        found = (known_result(heat, self.trajectory) for heat in self.raced[racer].heats)
        return [each for each in found if each is not None]


def asking_of(train: str) -> PublishedQuestion:
    """Return the published wording, from the first of the published training rows."""
    system, user, _ = read_json(train.partition("\n")[0])["messages"]
    return PublishedQuestion.of_first(system["content"], user["content"])


def known_result(heat: RepeatedPredictions, trajectory: Trajectory) -> float | None:
    """Return the mean result of a heat's pick in all earlier iterations; None for one untried."""
    pick = heat.modal
    before = [
        each.val_bpb
        for each in trajectory.evaluated
        if pick and each.iteration < heat.iteration and each.proposal.pair == pick.pair
    ]
    return fmean(before) if before else None


def wrong_fields(summary: Mapping[str, Any], raced: Mapping[str, Raced]) -> int:
    """Return how many figures of the published summary differ from the answers."""
    again: dict[str, Any] = {"n_test": len(raced[DISTILLED].heats)}
    for name, each in raced.items():
        found, took = rates(each.heats), latency(each.seconds)
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


figure: Figures[PublishedRace] = Figures()

# --- the corpus, made again -----------------------------------------------------------------------


@figure.rows(
    "corpus.identical",
    "count",
    "rows that are the published ones byte for byte",
    keys="prompt_version",
)
def _(p: PublishedRace) -> Iterator[api.Row]:
    published = (p.train + p.test).splitlines(keepends=True)
    for prompt_version, made in p.made.items():
        same = sum(row.line == line for row, line in zip(made, published, strict=True))
        yield {"prompt_version": prompt_version.value}, same


figure.include(lambda p: (({}, each) for each in p.constructed.values()), CONSTRUCTED)


@figure.rows("corpus.sha256", "text", "of a file made again", keys="split")
def _(p: PublishedRace) -> Iterator[api.Row]:
    for name, part in (("train", p.parts.train), ("test", p.parts.test)):
        content = "".join(row.line for row in part).encode()
        yield {"split": name}, hashlib.sha256(content).hexdigest()


figure.include(lambda p: [({}, p.parts)], CORPUS)


def _sizes(of: Callable[[IterationExample], int]) -> Callable[[PublishedRace], Iterator[api.Row]]:
    def rows(p: PublishedRace) -> Iterator[api.Row]:
        counts = [of(row) for row in p.made[PromptVersion.PUBLISHED]]
        yield {"statistic": "min"}, min(counts)
        yield {"statistic": "median"}, median(counts)
        yield {"statistic": "max"}, max(counts)

    return rows


figure.rows(
    "corpus.prompt_chars", "count", "characters of the user's part of a row", keys="statistic"
)(_sizes(lambda row: len(row.question.user)))
figure.rows("corpus.answer_chars", "count", "of an answer", keys="statistic")(
    _sizes(lambda row: len(row.answer))
)
figure("corpus.most_frequent", "text", "the training rows' modal pick")(
    lambda p: Counter(row.pair for row in p.parts.train).most_common(1)[0][0]
)
figure("trajectory.accepted", "count", "iterations that were kept")(lambda p: len(p.kept))


@figure.rows("trajectory.accepted_proposals", "count", "of these", keys="proposal")
def _(p: PublishedRace) -> Iterator[api.Row]:
    counts = Counter(each.proposal.pair for each in p.kept)
    return (({"proposal": pair}, count) for pair, count in counts.most_common())


@figure("trajectory.higher", "count", "iterations above the baseline")
def _(p: PublishedRace) -> int:
    baseline = p.trajectory.header.baseline_val_bpb
    return sum(each.val_bpb > baseline for each in p.trajectory.evaluated)


# --- the comparison, recomputed
# --------------------------------------------------------------------

figure.include(lambda p: [({}, p.constructed[PromptVersion.PUBLISHED])], BASELINES)
figure.include(lambda p: (({}, each) for each in p.raced.values()), RACE)


class Racer(NamedTuple):
    """A model of the published comparison."""

    name: str
    p: PublishedRace

    @property
    def took(self) -> Latency:
        """How long its answers took."""
        return latency(self.p.raced[self.name].seconds)


racer = figure.each(
    lambda p: (({"variant": name}, Racer(name, p)) for name in p.raced), keys="variant"
)
racer("latency.upper_median", "s", "the article's")(lambda r: r.took.upper_median)
racer("latency.min", "s", better=_LOWER)(lambda r: r.took.min)
racer("latency.max", "s", better=_LOWER)(lambda r: r.took.max)
racer("outcome.looked_up", "count", "answers whose result the article's own look-up found")(
    lambda r: sum(line[r.name]["val_bpb_lookup"] is not None for line in r.p.predictions)
)
racer("outcome.known", "count", "answers that had been tried before")(
    lambda r: len(r.p.results(r.name))
)


@racer(
    "outcome.val_bpb",
    "bit/token",
    "mean result of a pick's earlier trials, over known answers",
    better=_LOWER,
)
def _(r: Racer) -> Counted:
    known = r.p.results(r.name)
    return Counted(fmean(known), len(known))


@racer("predictions.tried_by", "count", "iteration by which all picks had been tried")
def _(r: Racer) -> int:
    evaluated = r.p.trajectory.evaluated
    first = {each.proposal.pair: each.iteration for each in reversed(evaluated)}
    tried = [first.get(each.pair) for heat in r.p.raced[r.name].heats if (each := heat.modal)]
    return max(each for each in tried if each is not None)


# --- significance of differences ----------------------------------------------------------------


class Hits(NamedTuple):
    """The questions that each model answered exactly."""

    student: list[bool]
    teacher: list[bool]

    @property
    def rates(self) -> tuple[Proportion, Proportion]:
        """How many."""
        one, other = (Proportion(successes=sum(h), trials=len(h)) for h in self)
        return one, other


def _matches(p: PublishedRace) -> Iterator[tuple[Where, Hits]]:
    for match in ("exact", "knob"):
        student, teacher = (
            [getattr(rates([heat]), match) == 1 for heat in p.raced[name].heats]
            for name in (DISTILLED, TEACHER)
        )
        yield {"match": match}, Hits(student, teacher)


match = figure.each(_matches, keys="match")
match("eval.p", "1", "two-sided Fisher, both racers")(lambda h: fisher_exact(*h.rates))
match("eval.significant", "flag", "that p is below 0.05")(lambda h: fisher_exact(*h.rates) < ALPHA)


@match("eval.paired_p", "1", "exact McNemar, prompt by prompt")
def _(h: Hits) -> float:
    pairs = list(zip(h.student, h.teacher, strict=True))
    return mcnemar_exact(sum(s and not t for s, t in pairs), sum(t and not s for s, t in pairs))


match("eval.prompts_needed", "count", "a racer, to tell rates as far apart with power 0.8")(
    lambda h: trials_per_arm(*(each.rate for each in h.rates))
)


@figure(
    "eval.constants_better",
    "count",
    "constant answers with a higher exact rate than the distilled model's",
    better=_LOWER,
)
def _(p: PublishedRace) -> int:
    own = rates(p.raced[DISTILLED].heats).exact
    return sum(rates(each).exact > own for each in constants(p.parts).values())


@figure.rows("latency.ratio", "x", "distilled over 8B, means", keys="answers")
def _(p: PublishedRace) -> Iterator[api.Row]:
    student, teacher = (p.raced[name].seconds for name in (DISTILLED, TEACHER))
    yield {"answers": "all"}, fmean(student) / fmean(teacher)
    yield {"answers": "without the first"}, fmean(student[1:]) / fmean(teacher)


figure(
    "eval.summary_wrong",
    "count",
    "fields of the article's own summary that its answers do not bear out",
)(lambda p: wrong_fields(p.summary, p.raced))

# --- the adapter, and the money -------------------------------------------------------------------

adapter = figure.of(lambda p: lora_parameters(QWEN25_3B, p.params.lora_rank))
adapter("lora.parameters", "parameter", "of the adapter on Qwen2.5-3B")(lambda count: count)
adapter("lora.share", "%", "of these among all, the adapter's included")(
    lambda count: 100 * count / (count + num_parameters(QWEN25_3B))
)
adapter("lora.size", "MiB", "of the adapter in float32")(
    lambda count: stored_bytes(count, NumberFormat.FP32) / 2**20
)


@figure("training.steps", "step", "5 epochs of batches of 8")
def _(p: PublishedRace) -> int:
    settings = replace(
        SupervisedSettings(),
        num_train_epochs=_EPOCHS,
        per_device_train_batch_size=_MICRO,
        gradient_accumulation_steps=_ACCUMULATED,
    )
    return settings.schedule(len(p.parts.train)).num_steps


@figure.rows("campaign.cost", "USD", "electricity", keys="iterations")
def _(p: PublishedRace) -> Iterator[api.Row]:
    for iterations in (_CAMPAIGN, 4 * _CAMPAIGN):
        usd = iterations / _CAMPAIGN * p.params.campaign_kwh * p.params.electricity_usd_per_kwh
        yield {"iterations": iterations}, usd


# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Report every figure."""
    params: RaceEvidenceParams = context.params

    def text(name: str) -> str:
        return context.evidence(name).read_text(encoding="utf-8")

    published = PublishedRace(
        trajectory=read_trajectory(context.evidence(params.trajectory)),
        train=text(params.train),
        test=text(params.test),
        predictions=tuple(
            read_json(line, mend=True) for line in text(params.predictions).splitlines()
        ),
        summary=read_json(text(params.summary)),
        params=params,
    )
    context.emit.started("NVIDIA GB10")  # the answers' latencies are of one
    figure.report(context.emit, published)


RACE_EVIDENCE = Workload(
    name="distill.clone_evidence",
    doc="rebuild article 25's corpus, score trivial baselines, and recompute its comparison",
    params=RaceEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a25.evidence:run",
)

WORKLOADS = (RACE_EVIDENCE,)
