"""Workload ``search.a2tgpo_evidence``: article 36 done again, as far as that goes without training.

Four things can be checked: whether the paper's averages follow from its columns, whether the
article's arithmetic holds, what its six rows are, and whether our objective gives the numbers that
the authors' function gives on a worked example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from random import Random
from statistics import fmean, pvariance

from harness.experiments.a36 import printed
from harness.experiments.a36.evidence_params import EvidenceParams
from harness.experiments.a36.printed import METHOD, Setting
from harness.records import Scalar
from harness.workloads.api.context import Context
from harness.workloads.models.memory import (
    MIXED,
    Dtype,
    ForwardPass,
    kv_cache_bytes,
    lora_need,
    stored_bytes,
    training_need,
)
from harness.workloads.models.presets import QWEN3_4B
from harness.workloads.rl.algorithms import a2tgpo
from harness.workloads.rl.algorithms.a2tgpo import IGPO, PAPER, Normalisation, Rules, clip_scale
from harness.workloads.rl.group import Group, Member
from harness.workloads.rl.scores import by_turn, pooled
from harness.workloads.training.trace import Trace, TurnTrace
from harness.workloads.trials.history import History
from harness.workloads.trials.render import Briefing, render
from harness.workloads.trials.store import Store
from harness.workloads.trials.trial import Label

Figure = tuple[str, Scalar, Mapping[str, Scalar]]

_GB = 1e9
# the worked example: gains of four rollouts, and their rewards
GAINS = ((0.30, 0.10, 0.05), (0.10, 0.20), (0.20,), (0.40, -0.10, 0.15))
REWARDS = (1.0, 0.0, -1.0, 1.0)
_SCORES = (-5.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0)
_TURNS = 6  # of the simulation: as many calls as a rollout may make
_BRIEFING = Briefing(specialist="a2tgpo-v1d-beta-sweep", at="2026-05-12T20:30:00Z", full=3)


def run(context: Context) -> None:
    """Report every figure."""
    params: EvidenceParams = context.params
    context.emit.started("no device: printed figures and published files")
    context.emit.note("none of the article's rows was measured: their program has them as text")
    history = Store(context.evidence(params.rows)).history()
    published = context.evidence(params.rendered).read_text(encoding="utf-8")
    for metric, value, where in figures(history, published, params.draws):
        context.emit.measured(metric, value, where=where)


def figures(history: History, published: str, draws: int) -> Iterator[Figure]:
    """Yield every figure."""
    yield from _tables()
    yield from _ablations()
    yield from _times()
    yield from _memory()
    yield from _rows(history, published)
    yield from _worked()
    yield from _simulated(draws)


# --- The paper's tables ---------------------------------------------------------------------------


def average(setting: Setting, columns: Sequence[float]) -> float:
    """Return the mean of a setting's columns, weighted by their questions."""
    questions = printed.QUESTIONS[setting].values()
    return sum(c * n for c, n in zip(columns, questions, strict=True)) / sum(questions)


def _tables() -> Iterator[Figure]:
    for model, methods in printed.TABLE_1.items():
        for method, settings in methods.items():
            for setting, scores in settings.items():
                where: dict[str, Scalar] = {"model": model, "method": method, "setting": setting}
                yield "paper.average", average(setting, scores.columns), where
    for setting, benchmarks in printed.QUESTIONS.items():
        gains = {model: _mean_gain(model, setting) for model in printed.TABLE_1}
        gains["Qwen3"] = fmean(gains[model] for model in ("Qwen3-4B", "Qwen3-8B"))
        gains["all"] = fmean(gains[model] for model in printed.TABLE_1)
        for model, gain in gains.items():
            yield "paper.mean_gain", gain, {"model": model, "setting": setting}
        for model, methods in printed.TABLE_1.items():
            ours, theirs = (methods[name][setting].columns for name in (METHOD, "GRPO"))
            for benchmark, own, other in zip(benchmarks, ours, theirs, strict=True):
                yield "paper.gain", own - other, {"model": model, "benchmark": benchmark}


def _mean_gain(model: str, setting: Setting) -> float:
    """Return by how much A2TGPO's printed average is above the mean of the baselines'."""
    methods = printed.TABLE_1[model]
    others = fmean(methods[name][setting].average for name in printed.BASELINES)
    return methods[METHOD][setting].average - others


def _ablations() -> Iterator[Figure]:
    rows = list(printed.ABLATION.items())
    for (_, above), (name, row) in pairwise(rows):
        for setting in Setting:
            yield "ablation.gain", row[setting] - above[setting], {"row": name, "setting": setting}
    for setting in Setting:
        best = max(printed.CLIP_SPREAD, key=lambda spread: printed.CLIP_SPREAD[spread][setting])
        yield "clip_spread.best", best, {"setting": setting}
        gap = printed.CLIP_SPREAD[0.0][setting] - printed.ABLATION["root"][setting]
        yield "clip_spread.gap", gap, {"setting": setting}


# --- Time and memory ------------------------------------------------------------------------------


def _times() -> Iterator[Figure]:
    steps = {method: sum(parts.values()) for method, parts in printed.STEP_S.items()}
    for method, seconds in steps.items():
        yield "step.wall", seconds, {"method": method}
    more_s = steps[METHOD] - steps["GRPO"]
    yield "step.overhead_wall", more_s, {}
    yield "step.overhead", 100 * more_s / steps["GRPO"], {}
    hours = printed.STEPS * steps[METHOD] / 3600
    yield "campaign.steps", printed.STEPS, {}
    yield "campaign.hours", hours, {}
    for slowdown in printed.SPARK_SLOWDOWN:
        yield "campaign.days", hours * slowdown / 24, {"slowdown": slowdown}


def _memory() -> Iterator[Figure]:
    tokens = printed.CONTEXT * printed.SESSIONS
    theirs = stored_bytes(2 * printed.ARTICLE_LAYERS * printed.ARTICLE_KV_WIDTH, Dtype.BF16)
    yield "memory.kv_cache", theirs * tokens / _GB, {"shape": "article"}
    ours = kv_cache_bytes(QWEN3_4B, Dtype.BF16, printed.CONTEXT, printed.SESSIONS)
    yield "memory.kv_cache", ours / _GB, {"shape": QWEN3_4B.name}
    for dtype, size in (("float32", 4), ("float16", 2)):
        vectors = printed.INDEX_PASSAGES * printed.INDEX_WIDTH
        yield "memory.index", vectors * size / _GB, {"dtype": dtype}
    step = ForwardPass(tokens=printed.CONTEXT, logit_bytes=14, recompute=True)
    whole = training_need(QWEN3_4B, MIXED, step)
    adapters = lora_need(QWEN3_4B, Dtype.BF16, MIXED, 16, step)
    for way, need in (("every parameter", whole), ("adapters", adapters)):
        yield "memory.training", need.total / _GB, {"way": way}


# --- The article's rows ---------------------------------------------------------------------------


def _rows(history: History, published: str) -> Iterator[Figure]:
    trials, best = history.trials, history.best()
    assert best is not None, "the published rows have a best one"
    chain = history.chain(best)
    yield "rows.count", len(trials), {}
    beside = {t.total_s - t.train_s for t in trials if t.total_s is not None and t.train_s}
    yield "rows.beside_training", len(beside), {}
    yield "rows.keeps", sum(trial.status is Label.KEEP for trial in trials), {}
    yield "rows.best", best.exp_id, {}
    yield "rows.chain", "-".join(trial.exp_id for trial in chain), {}
    scores = {t.exp_id: t.core_metric for t in trials if t.core_metric is not None}
    for row, score in scores.items():
        yield "rows.score", score, {"row": row}
        yield "rows.in_paper", _times_printed(score), {"row": row}
    yield "rows.total_gain", scores[best.exp_id] - scores[chain[0].exp_id], {}
    _banner, _, example = published.partition("\n")
    yield "rows.rendered", render(history, _BRIEFING) + "\n" == example, {}


def _times_printed(score: float) -> int:
    """Return how many of the paper's scores are this one."""
    settings = (s for methods in printed.TABLE_1.values() for s in methods.values())
    shown = (each for s in settings for each in s.values())
    return sum(score in (*scores.columns, scores.average) for scores in shown)


# --- The method -----------------------------------------------------------------------------------


def _worked() -> Iterator[Figure]:
    group = _group(GAINS, REWARDS)
    for alpha in (1.0, 0.3):
        credit = a2tgpo.credit(group, Rules(alpha=alpha))
        for where, value in _places(each.advantages for each in credit):
            yield "worked.advantage", value, {"alpha": alpha, **where}
    for where, value in _places(each.clip_scales for each in a2tgpo.credit(group, PAPER)):
        yield "worked.clip_scale", value, where
    yield "worked.mode_gap", _mode_gap(group), {}
    for score in _SCORES:
        yield "clip.scale", clip_scale(score), {"score": score}
    yield "clip.highest_ratio", 1 + printed.WIDEST * printed.CLIP_HIGH, {}


def _group(gains: Iterable[Sequence[float]], rewards: Iterable[float]) -> Group:
    turn = TurnTrace(context=(0,), reply=(0,), logprobs=(0.0,))
    members = tuple(
        Member(trace=Trace(turns=(turn,) * (len(own) + 1)), reward=reward, gains=tuple(own))
        for own, reward in zip(gains, rewards, strict=True)
    )
    return Group(key="worked", members=members)


def _places(rows: Iterable[Sequence[float]]) -> Iterator[tuple[dict[str, Scalar], float]]:
    for rollout, row in enumerate(rows, 1):
        for turn, value in enumerate(row, 1):
            yield {"rollout": rollout, "turn": turn}, value


def _mode_gap(group: Group) -> float:
    """Return how far the code's turn-group mode is from turn groups as the paper has them."""
    ways = (
        Rules(normalisation=Normalisation.RELEASED_TURN_GROUP),
        Rules(rescaled=False, clip_spread=0.0),
    )
    code, paper = ([each.advantages for each in a2tgpo.credit(group, way)] for way in ways)
    return max(
        abs(one - other)
        for row, other_row in zip(code, paper, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )


def _simulated(draws: int) -> Iterator[Figure]:
    """Yield what accumulation does to independent scores, and pooling to turns' means."""
    random = Random(0)  # noqa: S311 - a simulation
    scores = [[random.gauss(0, 1) for _ in range(_TURNS)] for _ in range(draws)]
    for metric, rescaled in (("variance.sum", False), ("variance.rescaled", True)):
        terms = [a2tgpo.process_terms(row, Rules(rescaled=rescaled)) for row in scores]
        for turn, column in enumerate(zip(*terms, strict=True), 1):
            yield metric, pvariance(column), {"turn": turn}
    yield from _turn_means()


def _turn_means() -> Iterator[Figure]:
    for name, rows in (
        (PAPER.normalisation, by_turn(GAINS)),
        (IGPO.normalisation, pooled(GAINS)),
    ):
        longest = max(map(len, rows))
        columns = [[row[turn] for row in rows if len(row) > turn] for turn in range(longest)]
        largest = max(abs(fmean(column)) for column in columns)
        yield "turn_mean.largest", largest, {"normalisation": name}
