"""Parameters and metrics of our run of article 22's loop. Loads no torch."""

from __future__ import annotations

from harness.experiments.a22.evidence import TRAJECTORY_EVIDENCE
from harness.workloads.api.declare import Better, Metric, Workload
from harness.workloads.autoresearch.params import LoopParams

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
    Metric(
        name="iteration.outcome", unit="text", doc="kept, reverted or refused; where: iteration"
    ),
    Metric(
        name="curve.val_bpb",
        unit="bit/token",
        doc="series of the trajectory's plot; where: iteration, curve",
    ),
    Metric(name="curve.lowest", unit="bit/token", doc="lowest val_bpb so far; where: iteration"),
    Metric(
        name="keeps.article", unit="count", doc="candidates kept by the loop's rule", better=_HIGHER
    ),
    Metric(
        name="keeps.noise",
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
    Metric(
        name="corpus.least", unit="bit/token", doc="loss of a model that knows the source exactly"
    ),
    Metric(name="corpus.tokens", unit="token", doc="tokens of the packed corpus"),
    Metric(name="noise.floor", unit="%", doc="smallest gain that is significant against the noise"),
    Metric(
        name="noise.repeat_sd",
        unit="bit/token",
        doc="standard deviation within repeated candidates, pooled",
    ),
    Metric(name="rails.refused", unit="count", doc="proposals refused; where: rail"),
    Metric(name="rails.cases", unit="count", doc="cases of the guardrails' truth table"),
    Metric(name="rails.wrong", unit="count", doc="cases judged wrongly; where: rules"),
    Metric(name="rails.passing", unit="count", doc="cases that pass; where: rules"),
    Metric(name="resume.kills", unit="count", doc="how often the loop was killed"),
    Metric(name="resume.missing", unit="count", doc="iterations missing from trajectory or record"),
    Metric(name="resume.repeated", unit="count", doc="iterations executed twice"),
    Metric(name="record.rows", unit="count", doc="rows of the record, the baseline's included"),
    Metric(name="record.damaged", unit="count", doc="unreadable rows"),
    Metric(name="record.parents", unit="count", doc="trials that are a parent of another"),
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
    doc="an agent tunes a pretraining run one knob at a time; guardrails, noise, resume and record",
    params=LoopParams,
    metrics=(
        *(each for each in TRAJECTORY_EVIDENCE.metrics if each.name in _SHARED),
        *_FOUND,
        *_TIMES,
    ),
    entry="harness.experiments.a22.run:run",
    requires=("torch",),
)

WORKLOADS = (LOOP,)
