"""What the recomputation of article 25's files takes and reports. Loads no torch."""

from __future__ import annotations

from harness.experiments.a25.metrics import CORPUS, RACE
from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.api.rates import HOME_ELECTRICITY


@record
class RaceEvidenceParams:
    """The published files, and what the article's cost sentence rests on."""

    trajectory: str = param("a22/trajectory.jsonl", doc="the corpus's source")
    train: str = param("a25/train.jsonl", doc="the published training rows")
    test: str = param("a25/test.jsonl", doc="the published held-out rows")
    predictions: str = param("a25/preds.jsonl", doc="every answer of both racers")
    summary: str = param("a25/race_results.json", doc="the article's own summary of them")
    held_out: int = param(8, doc="last rows that are held out", low=1)
    lora_rank: int = param(16, doc="of the adapter on all seven matrices of a layer", low=1)
    campaign_kwh: float = param(
        0.0689, doc="GPU energy of fifty iterations, article 22", unit="kWh", low=0.0
    )
    usd_per_kwh: float = param(
        HOME_ELECTRICITY.value, doc="price of electricity", unit="USD/kWh", low=0.0
    )


_LOWER = Better.LOWER

RACE_EVIDENCE = Workload(
    name="distill.race_evidence",
    doc="make article 25's corpus again, race trivial answers against it, count its race again",
    params=RaceEvidenceParams,
    entry="harness.experiments.a25.evidence:run",
    metrics=(
        *CORPUS,
        Metric(
            name="corpus.identical",
            unit="count",
            doc="rows that are the published ones byte for byte; where: construction",
        ),
        Metric(name="corpus.sha256", unit="text", doc="of a file made again; where: split"),
        Metric(
            name="corpus.prompt_chars",
            unit="count",
            doc="characters of the user's part of a row; where: statistic",
        ),
        Metric(name="corpus.answer_chars", unit="count", doc="of an answer; where: statistic"),
        Metric(name="corpus.most_frequent", unit="text", doc="the training rows' modal pick"),
        Metric(name="trajectory.keeps", unit="count", doc="iterations that were kept"),
        Metric(name="trajectory.kept_picks", unit="count", doc="of these; where: pick"),
        Metric(name="trajectory.higher", unit="count", doc="iterations above the baseline"),
        Metric(name="training.steps", unit="step", doc="5 epochs of batches of 8"),
        Metric(name="lora.parameters", unit="parameter", doc="of the adapter on Qwen2.5-3B"),
        Metric(name="lora.share", unit="%", doc="of these among all, the adapter's included"),
        Metric(name="lora.size", unit="MiB", doc="of the adapter in float32"),
        *RACE,
        Metric(
            name="race.summary_wrong",
            unit="count",
            doc="fields of the article's own summary that its answers do not bear out",
        ),
        Metric(name="race.p", unit="1", doc="two-sided Fisher, both racers; where: match"),
        Metric(name="race.told_apart", unit="flag", doc="that p is below 0.05; where: match"),
        Metric(name="race.paired_p", unit="1", doc="exact McNemar, prompt by prompt; where: match"),
        Metric(
            name="race.prompts_needed",
            unit="count",
            doc="a racer, to tell rates as far apart with power 0.8; where: match",
        ),
        Metric(
            name="race.constants_better",
            unit="count",
            doc="constant answers with a higher exact rate than the distilled model's",
            better=_LOWER,
        ),
        Metric(
            name="picks.tried_by",
            unit="count",
            doc="iteration by which all picks had been tried; where: racer",
        ),
        Metric(name="latency.upper_median", unit="s", doc="the article's; where: racer"),
        Metric(name="latency.least", unit="s", doc="where: racer", better=_LOWER),
        Metric(name="latency.most", unit="s", doc="where: racer", better=_LOWER),
        Metric(name="latency.ratio", unit="x", doc="distilled over 8B, means; where: answers"),
        Metric(
            name="outcome.looked_up",
            unit="count",
            doc="answers whose result the article's own look-up found; where: racer",
        ),
        Metric(
            name="outcome.known",
            unit="count",
            doc="answers that had been tried before; where: racer",
        ),
        Metric(
            name="outcome.val_bpb",
            unit="bit/token",
            doc="mean result of a pick's earlier trials, over known answers; where: racer",
            better=_LOWER,
        ),
        Metric(name="campaign.cost", unit="USD", doc="electricity; where: iterations"),
    ),
)

WORKLOADS = (RACE_EVIDENCE,)
