"""What the loop, and its ablation, take and report. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.records import record
from harness.workloads.autoresearch.declare import TRAJECTORY_EVIDENCE
from harness.workloads.declare import Better, Metric, Workload, param


@record
class SearchParams:
    """Everything that decides a search, but for what its proposer is shown of the past."""

    proposer: str = param(
        "random",
        doc="who proposes: a uniform draw, the article's own proposals, a bandit that reads the "
        "record, answers that must be refused, a language model at base_url, or the small policy, "
        "served here and held to a pattern of JSON",
        choices=("random", "replay", "bandit", "hostile", "llm", "served"),
    )
    rules: str = param(
        "closed",
        doc="rails and held-out tokens as published, or closed",
        choices=("published", "closed"),
    )
    space: str = param("article", doc="the menu and its baseline", choices=("article", "small"))
    precision: str = param(
        "menu", doc="the baseline's; as the menu has it", choices=("menu", "bf16", "fp8", "fp32")
    )
    iterations: int = param(50, doc="proposals", unit="count", low=1, high=5000)
    climbs: bool = param(
        False,
        doc="a keep is what later proposals change, as in article 35; else every proposal changes "
        "the baseline, as in article 22",
    )
    accept_delta: float = param(
        0.005, doc="a keep improves by at least this, or by more where it climbs", low=0.0, high=0.5
    )
    own_weights: bool = param(
        True,
        doc="each evaluation starts from weights of its own, as published; else all from the same",
    )
    history: int = param(5, doc="iterations that a window shows", unit="count", low=0)
    noise_draws: int = param(
        8, doc="further evaluations of the baseline, each from other weights", unit="count", low=2
    )
    level: float = param(
        0.05, doc="chance of any false keep that the noise rule allows itself", low=1e-6, high=0.5
    )
    device: str = param("cuda", doc="where candidates are trained", choices=("cuda", "cpu"))
    num_threads: int = param(1, doc="torch threads on the CPU", low=1)
    dropout: float = param(
        0.1, doc="embedding, attention weights and residual branches", low=0.0, high=0.9
    )
    memory_gib: float = param(
        4.0, doc="what an evaluation may take on the CPU beyond an idle one", unit="GiB", low=0.05
    )
    timeout_s: float = param(600.0, doc="most that any evaluation takes", unit="s", low=0.1)
    budget: float | None = param(
        None,
        doc="most that a candidate's takes, in times the baseline's: of a processor on the CPU, by "
        "the clock on a GPU",
        unit="x",
        low=1.0,
    )
    corpus: str = param(
        "source",
        doc="what candidates read: tokens drawn from a source, or article 20's wikitext-103",
        choices=("source", "wikitext"),
    )
    base_url: str = param("http://127.0.0.1:8000/v1", doc="where the language model is served")
    model: str = param("meta/llama-3.1-8b-instruct", doc="its name there")
    temperature: float = param(0.5, doc="of its answers", low=0.0, high=2.0)
    max_tokens: int = param(200, doc="of an answer", unit="token", low=1)
    answer_timeout_s: float = param(60.0, doc="for one answer", unit="s", low=1.0)


@record
class LoopParams(SearchParams):
    """One loop; the defaults are article 22's."""

    memory: str = param(
        "window",
        doc="what a proposer is shown of the past: nothing but the best, the last iterations as in "
        "article 22, or the record as in article 35",
        choices=("none", "window", "lineage"),
    )
    kills: int = param(0, doc="how often the loop is killed on its way", unit="count", low=0)


@record
class AblationParams(SearchParams):
    """The same search with and without the record of past trials."""

    proposer: str = param("bandit", doc="who proposes", choices=("random", "bandit", "llm"))
    climbs: bool = param(True, doc="a keep is what later proposals change")
    accept_delta: float = param(0.0, doc="a keep improves by more than this", low=0.0, high=0.5)
    own_weights: bool = param(
        False,
        doc="each evaluation starts from weights of its own; else all of a loop from the same",
    )


# --- metrics --------------------------------------------------------------------------------------

# what means the same of a loop of this harness as of the published one
_SHARED = frozenset(
    {
        *("iterations.count", "trajectory.torn_lines", "iteration.proposal", "iteration.val_bpb"),
        *("iteration.improvement", "decisions.wrong", "decisions.lower", "decisions.higher"),
        *(
            "decisions.threshold",
            "decisions.accept_rate",
            "best.val_bpb",
            "best.proposal",
            "best.improvement",
        ),
        *("baseline.val_bpb", "baseline.train_loss_first", "baseline.train_loss_last"),
        *("baseline.parameters", "baseline.tokens", "parameters.wrong", "noise.sd"),
        *("noise.sd_relative", "noise.degrees_of_freedom", "noise.threshold"),
        *("noise.false_keep_risk", "noise.false_keeps", "repeat.count", "repeat.rate"),
        *("repeat.unique_pairs", "knobs.touched", "entropy.knob", "value.trials", "value.keeps"),
        *("value.val_bpb_mean", "value.val_bpb_sd", "value.improvement_mean"),
    }
)
_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

_FOUND = (
    Metric(name="iteration.outcome", unit="text", doc="what became of it; where: iteration"),
    Metric(
        name="curve.val_bpb",
        unit="bit/token",
        doc="lines of the trajectory's plot; where: iteration, curve",
    ),
    Metric(name="curve.lowest", unit="bit/token", doc="lowest so far; where: iteration"),
    Metric(name="keeps.article", unit="count", doc="kept by the loop's own rule", better=_HIGHER),
    Metric(
        name="keeps.noise",
        unit="count",
        doc="candidates whose gain stands out from the noise",
        better=_HIGHER,
    ),
    Metric(name="overruns.count", unit="count", doc="ended at their limit", better=_LOWER),
    Metric(name="seeds.changed", unit="count", doc="candidates with another seed"),
    Metric(name="corpus.least", unit="bit/token", doc="of a model that knows the source"),
    Metric(name="corpus.tokens", unit="token", doc="of the packed corpus"),
    Metric(name="noise.floor", unit="%", doc="smallest gain that stands out from the noise"),
    Metric(name="noise.repeat_sd", unit="bit/token", doc="within candidates tried again, pooled"),
    Metric(name="rails.refused", unit="count", doc="proposals refused; where: rail"),
    Metric(name="rails.cases", unit="count", doc="cases of the rails' truth table"),
    Metric(name="rails.wrong", unit="count", doc="of those, judged otherwise; where: rules"),
    Metric(name="rails.passing", unit="count", doc="of those, let pass; where: rules"),
    Metric(name="resume.kills", unit="count", doc="how often the loop was killed"),
    Metric(name="resume.missing", unit="count", doc="iterations not in trajectory and record"),
    Metric(name="resume.repeated", unit="count", doc="iterations done twice"),
    Metric(name="record.rows", unit="count", doc="rows of the record, the baseline's included"),
    Metric(name="record.damaged", unit="count", doc="rows that are no trials"),
    Metric(name="record.parents", unit="count", doc="trials that others were built on"),
    Metric(name="record.depth", unit="count", doc="changes from the baseline to the deepest trial"),
    Metric(name="record.drought", unit="count", doc="most trials in a row without a keep"),
)

_TIMES = tuple(
    Metric(name=name, unit=unit, doc=doc, better=_LOWER, timing=True)
    for name, unit, doc in (
        ("loop.wall", "s", "the loop with its start, its baseline and its kills"),
        ("loop.iteration", "s", "one iteration; where: statistic"),
        ("loop.proposer", "s", "one answer; where: statistic"),
        ("loop.evaluation", "s", "training and validation of one candidate; where: statistic"),
        ("loop.overhead", "%", "of evaluated iterations, beside proposer and evaluation"),
        ("loop.wasted", "s", "iterations without a new figure: refused, failed or repeated"),
        ("loop.wasted_share", "%", "of all iterations' time"),
        ("loop.energy", "Wh", "one evaluated iteration; where: statistic"),
    )
)

LOOP = Workload(
    name="autoresearch.loop",
    doc="an agent changes a pretrain one knob at a time; rails, noise, resume and record",
    params=LoopParams,
    metrics=(
        *(each for each in TRAJECTORY_EVIDENCE.metrics if each.name in _SHARED),
        *_FOUND,
        *_TIMES,
    ),
    entry="harness.workloads.autoresearch.search:run",
    requires=("torch",),
)

# name -> unit, meaning, which direction is better, whether the clock decides it
ARM_FIGURES: Mapping[str, tuple[str, str, Better | None, bool]] = MappingProxyType(
    {
        "keeps": ("count", "better than what they changed", _HIGHER, False),
        "keeps_noise": ("count", "better by more than the noise", _HIGHER, False),
        "repeats": ("count", "candidates that were tried before", _LOWER, False),
        "refused": ("count", "refused by a rail", _LOWER, False),
        "overruns": ("count", "ended at their limit", _LOWER, False),
        "failures": ("count", "without a figure, the overruns among them", _LOWER, False),
        "gain": ("%", "the best against the baseline", _HIGHER, False),
        "parents": ("count", "trials that others were built on", None, False),
        "depth": ("count", "changes from the baseline to the deepest trial", None, False),
        "drought": ("count", "most trials in a row without a keep", _LOWER, False),
        "wall": ("s", "all iterations", None, True),
        "wasted": (
            "s",
            "iterations without a new figure: refused, failed or repeated",
            _LOWER,
            True,
        ),
        "wasted_share": ("%", "of the wall clock", _LOWER, True),
    }
)


def _arms(prefix: str, which: str) -> Iterator[Metric]:
    for name, (unit, doc, better, timing) in ARM_FIGURES.items():
        text = f"{doc}: {which}"
        yield Metric(name=f"{prefix}.{name}", unit=unit, doc=text, better=better, timing=timing)


ABLATION = Workload(
    name="autoresearch.ablation",
    doc="the same search with and without the record of past trials",
    params=AblationParams,
    metrics=(
        *_arms("shown", "of the search that is shown the record"),
        *_arms("hidden", "of the search that is not"),
        *_arms("effect", "shown minus hidden"),
        Metric(name="arm.lowest", unit="bit/token", doc="so far; where: record, iteration"),
        Metric(
            name="arm.depth",
            unit="count",
            doc="changes from the baseline to a trial; where: record, trial, label",
        ),
        *(
            each
            for each in LOOP.metrics
            if each.name in ("rails.cases", "rails.wrong", "rails.passing", "resume.missing")
            or each.name in ("noise.sd", "corpus.tokens")
        ),
    ),
    entry="harness.workloads.autoresearch.ablation:run",
    requires=("torch",),
)

WORKLOADS = (LOOP, ABLATION)
