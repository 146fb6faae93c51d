"""Parameters and metrics of our run of article 22's loop. Loads no torch."""

from __future__ import annotations

from harness.experiments.a22.evidence import TRAJECTORY_EVIDENCE
from harness.workloads.api.declare import Better, Metric, Workload
from harness.workloads.autoresearch.params import SERVICES, LoopParams
from harness.workloads.inference.observed import CHAT_METRICS

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
        *("baseline.parameters", "baseline.tokens", "parameters.wrong", "noise.std"),
        *("noise.std_relative", "noise.degrees_of_freedom", "noise.threshold"),
        *("noise.false_accept_risk", "noise.false_accepts", "repeat.count", "repeat.rate"),
        *("repeat.unique_pairs", "knobs.touched", "entropy.knob", "value.trials", "value.accepted"),
        *("value.val_bpb_mean", "value.val_bpb_std", "value.improvement_mean"),
    }
)
_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

_FOUND = (
    Metric(
        name="iteration.outcome", unit="text", doc="kept, reverted or refused; where: iteration"
    ),
    Metric(
        name="eval.val_bpb",
        unit="bit/token",
        doc="series of the trajectory's plot; where: iteration, curve",
    ),
    Metric(name="curve.lowest", unit="bit/token", doc="lowest val_bpb so far; where: iteration"),
    Metric(
        name="keeps.article", unit="count", doc="candidates kept by the loop's rule", better=_HIGHER
    ),
    Metric(name="eval.val_bpb_min", unit="bit/token", doc="lowest so far; where: iteration"),
    Metric(
        name="accepted.by_article_rule",
        unit="count",
        doc="kept by the loop's own rule",
        better=_HIGHER,
    ),
    Metric(
        name="accepted.significant",
        unit="count",
        doc="candidates whose gain is significant against the noise",
        better=_HIGHER,
    ),
    Metric(
        name="overruns.count",
        unit="count",
        doc="candidates ended at their time limit",
        better=_LOWER,
    ),
    Metric(name="seeds.changed", unit="count", doc="candidates with another seed"),
    Metric(name="corpus.entropy_floor", unit="bit/token", doc="of a model that knows the source"),
    Metric(name="corpus.tokens", unit="token", doc="of the packed corpus"),
    Metric(name="noise.floor", unit="%", doc="smallest gain that stands out from the noise"),
    Metric(name="noise.repeat_std", unit="bit/token", doc="within candidates tried again, pooled"),
    Metric(name="guardrails.refused", unit="count", doc="proposals refused; where: guardrail"),
    Metric(name="guardrails.cases", unit="count", doc="cases of the rails' truth table"),
    Metric(
        name="guardrails.wrong", unit="count", doc="of those, judged otherwise; where: guardrails"
    ),
    Metric(name="guardrails.passing", unit="count", doc="of those, let pass; where: guardrails"),
    Metric(name="resume.kills", unit="count", doc="how often the loop was killed"),
    Metric(name="resume.missing", unit="count", doc="iterations missing from trajectory or record"),
    Metric(name="resume.repeated", unit="count", doc="iterations executed twice"),
    Metric(name="record.rows", unit="count", doc="rows of the record, the baseline's included"),
    Metric(name="record.damaged", unit="count", doc="unreadable rows"),
    Metric(name="record.parents", unit="count", doc="trials that are a parent of another"),
    Metric(name="record.depth", unit="count", doc="changes from the baseline to the deepest trial"),
    Metric(
        name="record.trials_without_improvement",
        unit="count",
        doc="most trials in a row without a keep",
    ),
)

_TIMES = tuple(
    Metric(name=name, unit=unit, doc=doc, better=_LOWER, timing=True)
    for name, unit, doc in (
        ("loop.time", "s", "the loop with its start, its baseline and its kills"),
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
    doc="an agent tunes a pretraining run one knob at a time; guardrails, noise, resume and record",
    params=LoopParams,
    metrics=(
        *(each for each in TRAJECTORY_EVIDENCE.metrics if each.name in _SHARED),
        *_FOUND,
        *_TIMES,
        *CHAT_METRICS,
    ),
    entry="harness.experiments.a22.run:run",
    requires=("torch",),
    services=SERVICES,
)

WORKLOADS = (LOOP,)
