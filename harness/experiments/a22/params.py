"""Parameters and metrics of article 22: the published loop, and our own. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.api.rates import CLOUD_RENTAL, HOME_ELECTRICITY
from harness.workloads.autoresearch.params import LoopParams


@record
class TrajectoryEvidenceParams:
    """What the published loop is recounted with."""

    trajectory: str = param("a22/trajectory.jsonl", doc="the production loop's records")
    baseline: str = param("a22/baseline_eval.json", doc="the production loop's baseline evaluation")
    smoke: str = param("a22/smoke_trajectory.jsonl", doc="the three-iteration trial before it")
    power: str = param("a22/nvidia_smi_during_run.csv", doc="GPU samples during the loop")
    utc_offset_h: float = param(
        -7.0, doc="clock of the samples minus UTC", unit="h", low=-12.0, high=14.0
    )
    busy_pct: float = param(50.0, doc="a sample is busy from this utilisation on", unit="%")
    history: int = param(5, doc="iterations that the proposer's prompt shows", unit="count", low=1)
    window: int = param(10, doc="iterations of one repeat-rate window", unit="count", low=1)
    level: float = param(
        0.05, doc="chance of any false alarm that a noise test allows itself", low=1e-6, high=0.5
    )
    usd_per_kwh: float = param(
        HOME_ELECTRICITY.value, doc="price of electricity", unit="USD/kWh", low=0.0
    )
    cloud_usd_per_h: float = param(
        CLOUD_RENTAL.value, doc="price of a rented GPU", unit="USD/h", low=0.0
    )
    lamp_w: float = param(100.0, doc="the lamp that the loop is compared with", unit="W", low=0.0)
    long_steps: int = param(1000, doc="steps of the longer iteration", unit="step", low=1)


_LOWER = Better.LOWER

_ITERATIONS = (
    Metric(name="iterations.count", unit="count", doc="records of a stage; where: stage"),
    Metric(name="iterations.requested", unit="count", doc="iterations the loop was asked for"),
    Metric(name="trajectory.size", unit="B", doc="bytes of the trajectory file"),
    Metric(
        name="trajectory.torn_lines", unit="count", doc="records cut off by a kill, not counted"
    ),
    Metric(name="iteration.proposal", unit="text", doc="knob=value proposed; where: iteration"),
    Metric(name="iteration.decision", unit="text", doc="what the rule says; where: iteration"),
    Metric(name="iteration.val_bpb", unit="bit/token", doc="held-out loss; where: iteration"),
    Metric(name="iteration.improvement", unit="%", doc="against the baseline; where: iteration"),
    Metric(name="iteration.keep_ordinal", unit="count", doc="which keep it is; where: iteration"),
    Metric(name="iteration.best_so_far", unit="bit/token", doc="where: iteration that set it"),
    Metric(name="iteration.wall", unit="s", doc="wall clock; where: iteration"),
    Metric(name="iteration.power", unit="W", doc="mean GPU power in its window; where: iteration"),
    Metric(name="iteration.energy", unit="Wh", doc="that power times its wall; where: iteration"),
)

_DECISIONS = (
    Metric(name="decisions.count", unit="count", doc="by the 0.5 % rule; where: decision"),
    Metric(name="decisions.accept_rate", unit="1", doc="keeps / evaluated"),
    Metric(
        name="decisions.wrong", unit="count", doc="recorded decisions that the rule contradicts"
    ),
    Metric(
        name="decisions.wrong_improvement", unit="count", doc="recorded fractions not recomputed"
    ),
    Metric(name="decisions.wrong_summary", unit="count", doc="summary fields not borne out"),
    Metric(name="decisions.lower", unit="count", doc="iterations below the baseline's figure"),
    Metric(name="decisions.higher", unit="count", doc="iterations above the baseline's figure"),
    Metric(name="decisions.below_threshold", unit="count", doc="lower than the baseline, reverted"),
    Metric(name="decisions.threshold", unit="bit/token", doc="highest figure that is kept"),
    Metric(name="best.val_bpb", unit="bit/token", doc="lowest of all iterations", better=_LOWER),
    Metric(name="best.iteration", unit="1", doc="which iteration that was"),
    Metric(name="best.proposal", unit="text", doc="its knob=value"),
    Metric(name="best.improvement", unit="%", doc="(baseline - best) / baseline"),
    Metric(name="worst.val_bpb", unit="bit/token", doc="highest of all iterations"),
    Metric(name="worst.iteration", unit="1", doc="which iteration that was"),
    Metric(name="worst.proposal", unit="text", doc="its knob=value"),
    Metric(name="worst.improvement", unit="%", doc="(baseline - worst) / baseline"),
)

_BASELINE = (
    Metric(name="baseline.val_bpb", unit="bit/token", doc="held-out loss", better=_LOWER),
    Metric(name="baseline.val_loss", unit="nat", doc="the same, nats per token"),
    Metric(name="baseline.perplexity", unit="1", doc="2 ** val_bpb"),
    Metric(name="baseline.train_loss_first", unit="nat", doc="loss of the first step"),
    Metric(name="baseline.train_loss_last", unit="nat", doc="loss of the last step"),
    Metric(name="baseline.step_time", unit="ms", doc="mean optimizer step", better=_LOWER),
    Metric(name="baseline.throughput", unit="token/s", doc="tokens of a step / its time"),
    Metric(name="baseline.peak_memory", unit="GiB", doc="most that torch had allocated"),
    Metric(name="baseline.parameters", unit="parameter", doc="from the formula"),
    Metric(name="baseline.tokens", unit="token", doc="training tokens of one evaluation"),
    Metric(name="baseline.drift", unit="%", doc="|smoke - production| / production"),
    Metric(
        name="parameters.wrong", unit="count", doc="recorded sizes that the formula contradicts"
    ),
)

_VALUES = (
    Metric(name="value.trials", unit="count", doc="proposals; where: knob, value"),
    Metric(name="value.keeps", unit="count", doc="kept; where: knob, value"),
    Metric(name="value.val_bpb_lowest", unit="bit/token", doc="where: knob, value"),
    Metric(name="value.val_bpb_mean", unit="bit/token", doc="where: knob, value"),
    Metric(name="value.val_bpb_highest", unit="bit/token", doc="where: knob, value"),
    Metric(name="value.val_bpb_sd", unit="bit/token", doc="sample sd; where: knob, value"),
    Metric(name="value.improvement_mean", unit="%", doc="where: knob, value"),
    Metric(
        name="value.first_losses", unit="count", doc="distinct first losses; where: knob, value"
    ),
    Metric(name="value.parameters", unit="parameter", doc="formula; where: knob, value"),
    Metric(name="value.step_time", unit="ms", doc="mean optimizer step; where: knob, value"),
    Metric(name="value.step_ratio", unit="x", doc="step / baseline's step; where: knob, value"),
    Metric(name="value.peak_memory", unit="GiB", doc="most allocated; where: knob, value"),
    Metric(name="value.z_score", unit="1", doc="mean gain / standard error; where: knob, value"),
    Metric(name="knob.trials", unit="count", doc="proposals; where: knob"),
    Metric(name="knob.keeps", unit="count", doc="kept; where: knob"),
    Metric(name="knob.values", unit="count", doc="distinct values tried; where: knob"),
    Metric(name="knob.improvement_mean", unit="%", doc="where: knob"),
    Metric(name="knob.improvement_best", unit="%", doc="where: knob"),
    Metric(name="knob.improvement_worst", unit="%", doc="where: knob"),
    Metric(name="knobs.touched", unit="count", doc="knobs proposed at least once"),
    Metric(name="knobs.total", unit="count", doc="knobs of the search space"),
)

_REPETITION = (
    Metric(name="repeat.count", unit="count", doc="proposals of a pair proposed before"),
    Metric(name="repeat.rate", unit="1", doc="repeats / proposals"),
    Metric(name="repeat.window_rate", unit="1", doc="in one window; where: first iteration"),
    Metric(name="repeat.unique_pairs", unit="count", doc="distinct knob=value"),
    Metric(name="repeat.in_view", unit="count", doc="repeats that the prompt's history shows"),
    Metric(name="repeat.of_reverted", unit="count", doc="repeats of a pair reverted before"),
    Metric(name="entropy.knob", unit="bit", doc="of the knobs proposed"),
    Metric(name="entropy.pair", unit="bit", doc="of the knob=value proposed"),
)

_NOISE = (
    Metric(name="noise.sd", unit="bit/token", doc="within a configuration, pooled"),
    Metric(name="noise.sd_relative", unit="%", doc="noise.sd / baseline"),
    Metric(name="noise.degrees_of_freedom", unit="count", doc="behind noise.sd"),
    Metric(name="noise.threshold", unit="x", doc="keep threshold / sd of one run"),
    Metric(name="noise.threshold_difference", unit="x", doc="keep threshold / sd of a difference"),
    Metric(name="noise.false_keep_risk", unit="1", doc="chance to keep a candidate without effect"),
    Metric(name="noise.false_keeps", unit="1", doc="that chance times the evaluated candidates"),
    Metric(name="noise.significant_keeps", unit="count", doc="keeps beyond the noise, each alone"),
    Metric(name="noise.surviving_values", unit="count", doc="configurations better in the mean"),
    Metric(name="noise.surviving_keeps", unit="count", doc="keeps of such a configuration"),
    Metric(
        name="noise.same_position",
        unit="bit/token",
        doc="most that two processes' k-th runs differ",
    ),
)

_TIME = (
    Metric(name="time.loop", unit="s", doc="wall clock of the loop, as it recorded it"),
    Metric(name="time.iterations", unit="s", doc="sum of the iterations"),
    Metric(name="time.iteration", unit="s", doc="one iteration; where: statistic"),
    Metric(name="time.proposer", unit="s", doc="one answer of the model; where: statistic"),
    Metric(name="time.training", unit="s", doc="one training; where: statistic"),
    Metric(name="time.validation", unit="s", doc="one validation; where: statistic"),
    Metric(name="time.overhead", unit="s", doc="what is left of an iteration; where: statistic"),
    Metric(name="throughput.mean", unit="token/s", doc="mean of the iterations' throughputs"),
    Metric(name="memory.peak", unit="GiB", doc="torch's peak allocation; where: statistic"),
    Metric(name="long.iteration", unit="min", doc="an iteration of long_steps, by proportion"),
    Metric(name="long.loop", unit="h", doc="as many such iterations as were requested"),
)

_ENERGY = (
    Metric(name="power.samples", unit="count", doc="where: part of the file"),
    Metric(name="power.mean", unit="W", doc="GPU board; where: part"),
    Metric(name="power.median", unit="W", doc="GPU board; where: part"),
    Metric(name="power.p95", unit="W", doc="GPU board; where: part"),
    Metric(name="power.peak", unit="W", doc="GPU board; where: part"),
    Metric(name="utilisation.mean", unit="%", doc="GPU; where: part"),
    Metric(name="utilisation.peak", unit="%", doc="GPU; where: part"),
    Metric(name="temperature.mean", unit="degC", doc="GPU; where: part"),
    Metric(name="temperature.peak", unit="degC", doc="GPU; where: part"),
    Metric(name="energy.gpu", unit="Wh", doc="trapezoid of the power; where: part"),
    Metric(name="energy.per_iteration", unit="Wh", doc="where: statistic"),
    Metric(name="energy.steady", unit="Wh", doc="loop's wall times its mean power"),
    Metric(name="energy.cost", unit="USD", doc="of the loop's energy"),
    Metric(name="energy.lamp", unit="Wh", doc="a lamp burning as long as the loop"),
    Metric(name="energy.lamp_ratio", unit="x", doc="lamp's energy / loop's"),
    Metric(name="cloud.cost", unit="USD", doc="the iterations' time on a rented GPU"),
)

TRAJECTORY_EVIDENCE = Workload(
    name="autoresearch.trajectory_evidence",
    doc="recount the published trajectory of an agent loop, its noise and its energy",
    params=TrajectoryEvidenceParams,
    metrics=(
        *_ITERATIONS,
        *_DECISIONS,
        *_BASELINE,
        *_VALUES,
        *_REPETITION,
        *_NOISE,
        *_TIME,
        *_ENERGY,
    ),
    entry="harness.experiments.a22.evidence:run",
)

# --- a loop of our own ----------------------------------------------------------------------------

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
_HIGHER = Better.HIGHER

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
    entry="harness.experiments.a22.run:run",
    requires=("torch",),
)

WORKLOADS = (TRAJECTORY_EVIDENCE, LOOP)
