"""Workload ``search.a2tgpo_evidence``: article 36 done again, as far as that goes without training.

Four things can be checked: whether the paper's averages follow from its columns, whether the
article's arithmetic holds, what its six rows are, and whether our objective gives the numbers that
the authors' function gives on a worked example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from statistics import fmean, pvariance

from harness.experiments.a36 import printed
from harness.experiments.a36.printed import METHOD, Setting
from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload, param
from harness.workloads.api.figures import Figures, Row, Where
from harness.workloads.models.memory import (
    MIXED,
    ForwardPass,
    NumberFormat,
    kv_cache_bytes,
    lora_need,
    training_need,
)
from harness.workloads.models.presets import QWEN3_4B
from harness.workloads.rl.advantages import Group, Member, by_turn, pooled
from harness.workloads.rl.algorithms import a2tgpo
from harness.workloads.rl.algorithms.a2tgpo import (
    IGPO,
    PAPER,
    A2tgpoSettings,
    Normalisation,
    clip_scale,
)
from harness.workloads.rl.rollout import Trace, TurnTrace
from harness.workloads.trials.history import History
from harness.workloads.trials.render import Briefing, render
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import Label, Trial

_GB = 1e9
# the worked example: gains of four rollouts, and their rewards
GAINS = ((0.30, 0.10, 0.05), (0.10, 0.20), (0.20,), (0.40, -0.10, 0.15))
REWARDS = (1.0, 0.0, -1.0, 1.0)
_SCORES = (-5.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0)
_TURNS = 6  # of the simulation: as many calls as a rollout may make
_BRIEFING = Briefing(specialist="a2tgpo-v1d-beta-sweep", at="2026-05-12T20:30:00Z", full=3)
_HIGHER, _LOWER = Better.HIGHER, Better.LOWER


@record
class A2tgpoEvidenceParams:
    """What article 36 is recounted from, and how it is simulated."""

    rows: str = param("a36/results.tsv", doc="the article's six rows")
    rendered: str = param("a36/lineage-rendered.txt", doc="the briefing made of them")
    num_samples: int = param(40_000, doc="rollouts of the simulation of variances", low=1000)


@dataclass(frozen=True, kw_only=True)
class PublishedRows:
    """The article's rows, the briefing made of them, and the rollouts of our simulation."""

    history: History
    rendered: str
    draws: int

    @property
    def best(self) -> Trial:
        """The best row."""
        best = self.history.best()
        assert best is not None, "the published rows have a best one"
        return best

    @property
    def chain(self) -> list[Trial]:
        """From the first row to the best."""
        return self.history.chain(self.best)

    @property
    def scores(self) -> Mapping[str, float]:
        """Row -> its score."""
        trials = self.history.trials
        return {t.exp_id: t.core_metric for t in trials if t.core_metric is not None}

    @cached_property
    def simulated(self) -> Sequence[Sequence[float]]:
        """Independent scores of rollouts' turns."""
        random = Random(0)  # noqa: S311 - a simulation
        return [[random.gauss(0, 1) for _ in range(_TURNS)] for _ in range(self.draws)]

    def variances(self, *, rescaled: bool) -> Iterator[Row]:
        """Yield what accumulation does to the variance of independent scores."""
        terms = [
            a2tgpo.process_terms(row, A2tgpoSettings(rescaled=rescaled)) for row in self.simulated
        ]
        for turn, column in enumerate(zip(*terms, strict=True), 1):
            yield {"turn": turn}, pvariance(column)


figure: Figures[PublishedRows] = Figures()

# --- The paper's tables ---------------------------------------------------------------------------


def average(setting: Setting, columns: Sequence[float]) -> float:
    """Return the mean of a setting's columns, weighted by their questions."""
    questions = printed.QUESTIONS[setting].values()
    return sum(c * n for c, n in zip(columns, questions, strict=True)) / sum(questions)


@figure.rows(
    "paper.average",
    "%",
    "exact match weighted by questions",
    keys="model, method, setting",
    better=_HIGHER,
)
def _(_: PublishedRows) -> Iterator[Row]:
    for model, methods in printed.TABLE_1.items():
        for method, settings in methods.items():
            for setting, scores in settings.items():
                where = {"model": model, "method": method, "setting": setting}
                yield where, average(setting, scores.columns)


@figure.rows(
    "paper.mean_gain",
    "%",
    "A2TGPO - mean of six baselines, points",
    keys="model (or all, or Qwen3), setting",
    better=_HIGHER,
)
def _(_: PublishedRows) -> Iterator[Row]:
    for setting in printed.QUESTIONS:
        gains = {}
        for model, methods in printed.TABLE_1.items():
            others = fmean(methods[name][setting].average for name in printed.BASELINES)
            gains[model] = methods[METHOD][setting].average - others
        gains["Qwen3"] = fmean(gains[model] for model in ("Qwen3-4B", "Qwen3-8B"))
        gains["all"] = fmean(gains[model] for model in printed.TABLE_1)
        for model, gain in gains.items():
            yield {"model": model, "setting": setting}, gain


@figure.rows("clip_scale_beta.best", "1", "beta of the best average", keys="setting")
def _(_: PublishedRows) -> Iterator[Row]:
    for setting in Setting:
        best = max(printed.CLIP_SPREAD, key=lambda spread: printed.CLIP_SPREAD[spread][setting])
        yield {"setting": setting}, best


# --- Memory ---------------------------------------------------------------------------------------


@figure.rows("memory.kv_cache", "GB", "8 sequences of 8192 tokens", keys="shape")
def _(_: PublishedRows) -> Iterator[Row]:
    ours = kv_cache_bytes(QWEN3_4B, NumberFormat.BF16, printed.CONTEXT, printed.SESSIONS)
    yield {"shape": QWEN3_4B.name}, ours / _GB


@figure.rows(
    "memory.training", "GB", "Qwen3-4B's states, one sequence's activations", keys="variant"
)
def _(_: PublishedRows) -> Iterator[Row]:
    step = ForwardPass(tokens=printed.CONTEXT, logit_bytes=14, recompute=True)
    yield {"variant": "every parameter"}, training_need(QWEN3_4B, MIXED, step).total / _GB
    adapters = lora_need(QWEN3_4B, NumberFormat.BF16, MIXED, 16, step)
    yield {"variant": "adapters"}, adapters.total / _GB


# --- The article's rows ---------------------------------------------------------------------------

figure("rows.count", "count", "rows")(lambda p: len(p.history.trials))


@figure(
    "rows.beside_training",
    "count",
    "different times a row took beside its training; a measured file has one a row",
)
def _(p: PublishedRows) -> int:
    trials = p.history.trials
    return len({t.total_s - t.train_s for t in trials if t.total_s is not None and t.train_s})


figure("rows.accepted", "count", "rows that are kept")(
    lambda p: sum(trial.status is Label.KEEP for trial in p.history.trials)
)
figure("rows.best", "text", "the best row's id")(lambda p: p.best.exp_id)
figure("rows.chain", "text", "from the first row to the best")(
    lambda p: "-".join(trial.exp_id for trial in p.chain)
)
score = figure.each(lambda p: (({"row": row}, score) for row, score in p.scores.items()))
score("rows.score", "%", "where: row; synthetic: nobody measured it")(lambda score: score)


@score("rows.in_paper", "count", "figures of the paper that a row's score is equal to; where: row")
def _(score: float) -> int:
    settings = (s for methods in printed.TABLE_1.values() for s in methods.values())
    shown = (each for s in settings for each in s.values())
    return sum(score in (*scores.columns, scores.average) for scores in shown)


figure("rows.total_gain", "%", "best - first row, points; synthetic")(
    lambda p: p.scores[p.best.exp_id] - p.scores[p.chain[0].exp_id]
)


@figure("rows.rendered", "flag", "rendered again, the briefing is the same")
def _(p: PublishedRows) -> bool:
    _banner, _newline, example = p.rendered.partition("\n")
    return render(p.history, _BRIEFING) + "\n" == example


# --- The method -----------------------------------------------------------------------------------


def _worked() -> Group:
    turn = TurnTrace(context=(0,), reply=(0,), logprobs=(0.0,))
    members = tuple(
        Member(trace=Trace(turns=(turn,) * (len(own) + 1)), reward=reward, gains=tuple(own))
        for own, reward in zip(GAINS, REWARDS, strict=True)
    )
    return Group(key="worked", members=members)


def _places(rows: Iterable[Sequence[float]]) -> Iterator[tuple[Where, float]]:
    for rollout, row in enumerate(rows, 1):
        for turn, value in enumerate(row, 1):
            yield {"rollout": rollout, "turn": turn}, value


@figure.rows("worked.advantage", "1", keys="alpha, rollout, turn")
def _(_: PublishedRows) -> Iterator[Row]:
    for alpha in (1.0, 0.3):
        credit = a2tgpo.advantages(_worked(), A2tgpoSettings(alpha=alpha))
        for where, value in _places(each.per_turn for each in credit):
            yield {"alpha": alpha, **where}, value


figure.rows("worked.clip_scale", "1", keys="rollout, turn")(
    lambda _: _places(each.clip_scales for each in a2tgpo.advantages(_worked(), PAPER))
)


@figure("worked.mode_gap", "1", "released turn-group - the paper's, largest")
def _(_: PublishedRows) -> float:
    ways = (
        A2tgpoSettings(normalisation=Normalisation.RELEASED_TURN_GROUP),
        A2tgpoSettings(rescaled=False, clip_scale_beta=0.0),
    )
    code, paper = ([each.per_turn for each in a2tgpo.advantages(_worked(), way)] for way in ways)
    return max(
        abs(one - other)
        for row, other_row in zip(code, paper, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )


figure.rows("clip.scale", "1", keys="score")(
    lambda _: (({"score": score}, clip_scale(score)) for score in _SCORES)
)
figure.rows("variance.sum", "1", "of D, independent scores", keys="turn")(
    lambda p: p.variances(rescaled=False)
)
figure.rows("variance.rescaled", "1", "of D / sqrt(n)", keys="turn")(
    lambda p: p.variances(rescaled=True)
)


@figure.rows(
    "turn_mean.max",
    "1",
    "|mean of a turn's scores|, largest",
    keys="normalisation",
    better=_LOWER,
)
def _(_: PublishedRows) -> Iterator[Row]:
    for name, rows in (
        (PAPER.normalisation, by_turn(GAINS)),
        (IGPO.normalisation, pooled(GAINS)),
    ):
        longest = max(map(len, rows))
        columns = [[row[turn] for row in rows if len(row) > turn] for turn in range(longest)]
        yield {"normalisation": name}, max(abs(fmean(column)) for column in columns)


# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Report every figure."""
    params: A2tgpoEvidenceParams = context.params
    context.emit.started("no device: printed figures and published files")
    context.emit.note("none of the article's rows was measured: their program has them as text")
    published = PublishedRows(
        history=TrialStore(context.evidence(params.rows)).history(),
        rendered=context.evidence(params.rendered).read_text(encoding="utf-8"),
        draws=params.num_samples,
    )
    figure.report(context.emit, published)


EVIDENCE = Workload(
    name="search.a2tgpo_evidence",
    doc="recompute the tables, the arithmetic and the worked example of article 36",
    params=A2tgpoEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a36.evidence:run",
)

WORKLOADS = (EVIDENCE,)
