"""What the recomputation of article 20's raw files takes and reports. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import Metric, Workload, param
from harness.workloads.training.pretrain_params import CELL_METRICS


@record
class PathEvidenceParams:
    """The published files, and the article's own round figures."""

    cleaning: str = param("a20/prep_stats.json", doc="what NeMo Curator was given and kept")
    tokens: str = param("a20/dedup_tokenize_stats.json", doc="duplicates, tokens, walls")
    packed: str = param("a20/packed.meta.json", doc="the packed corpus")
    sweep: str = param("a20/data_sweep_results.json", doc="the sweep's configurations")
    before: str = param("a19/sweep_results.json", doc="article 19's sweep, on random tokens")
    vocab_size: int = param(50258, doc="rows of the token table of the sweep's model", low=2)
    token_rows: int = param(50257, doc="ids that GPT-2's tokenizer may give", low=2)
    token_bytes: int = param(4, doc="of an id on disk", unit="B", low=1)
    larger_gb: float = param(50.0, doc="a corpus that the article extends to", unit="GB", low=0.0)


def _metric(name: str, unit: str, doc: str) -> Metric:
    return Metric(name=name, unit=unit, doc=doc)


_EVIDENCE_METRICS = (
    _metric("corpus.documents", "document", "where: stage (raw, clean, unique)"),
    _metric("corpus.characters", "character", "where: stage"),
    _metric("corpus.dropped_share", "1", "by the cleaning; where: of"),
    _metric("corpus.kept_share", "%", "of the characters, by the cleaning"),
    _metric("dedup.dropped", "document", "duplicates"),
    _metric("dedup.dropped_share", "1", "of all clean documents"),
    _metric("packed.tokens", "token", "end marks included"),
    _metric("packed.tokens_agree", "flag", "all three files state the same number"),
    _metric("packed.size", "MiB", "of the ids, by their number"),
    _metric("packed.vocabulary", "count", "ids the tokenizer may give"),
    _metric("packed.end_id", "count", "the id that follows every document"),
    _metric("packed.tokens_per_document", "token", "mean, end mark included"),
    _metric("packed.characters_per_token", "character/token", "clean characters, duplicates too"),
    _metric("stage.time", "s", "as recorded; where: part"),
    _metric("stage.recorded_time", "s", "all stages of the preparation that were recorded"),
    _metric("tokenize.rate", "token/s", "tokens / seconds, both as recorded"),
    _metric("tokenize.over_training", "x", "tokenize.rate / throughput; where: training"),
    _metric("tokenize.trained_meanwhile", "token", "what the fastest configuration trains on"),
    _metric("clean.rate", "document/s", "raw documents / seconds"),
    _metric("stage.larger_time", "min", "of the larger corpus, a byte a character, in a line"),
    _metric("data.time", "ms", "making a batch; the step waits; per configuration"),
    _metric("data.overhead", "%", "data.time / step_time.mean; per configuration"),
    _metric("data.overhead_least", "%", "of all configurations, as recorded"),
    _metric("data.overhead_most", "%", "of all configurations, as recorded"),
    _metric("data.batch_size", "KiB", "of the largest batch's ids; where: of"),
    _metric("throughput.with_data", "token/s", "a step and its batch; per configuration"),
    _metric("throughput.data_cost", "x", "throughput / throughput.with_data; per configuration"),
    _metric("memory.law_deviation", "%", "analytic peak against the published one"),
    _metric("sweep.cells_ok", "count", "configurations that finished"),
    _metric("sweep.best_cell", "text", "the fastest configuration"),
    _metric("sweep.best_throughput", "token/s", "its throughput"),
    _metric("sweep.best_throughput_with_data", "token/s", "its throughput, data included"),
    _metric("sweep.wall_time", "s", "of the whole sweep, as recorded"),
    _metric("sweep.cells_wall_time", "s", "sum over the configurations, as recorded"),
    _metric("sweep.throughput_deviation", "%", "tokens / step time against throughput recorded"),
    _metric("sweep.tokens", "token", "that the sweep trained on"),
    _metric("sweep.share_of_corpus", "%", "of the packed tokens"),
    _metric("fp8.speedup", "%", "throughput of fp8 above bf16; where: seq_len, batch_size"),
    _metric("table.extra_rows", "count", "rows of the token table that no id has"),
    _metric("table.extra_parameters", "parameter", "of the model, for these rows"),
    _metric("drift.throughput", "%", "against article 19; per configuration"),
    _metric("drift.least", "%", "of all configurations"),
    _metric("drift.most", "%", "of all configurations"),
    _metric("drift.best", "%", "of the fastest configuration"),
    _metric("drift.saved_per_token", "us", "step time saved a token, against article 19"),
    _metric("drift.memory", "GiB", "peak against article 19; per configuration"),
    _metric("drift.loss_last", "nat", "against article 19; per configuration"),
    _metric("drift.loss_lower", "count", "configurations with a lower last loss; where: precision"),
    _metric("loss.last_least", "nat", "of a precision; where: precision"),
    _metric("loss.last_most", "nat", "of a precision; where: precision"),
    _metric("budget.hours_of_gtoken", "h", "10^9 tokens in the fastest configuration, with data"),
    _metric("budget.tokens_per_day", "Gtoken", "in the fastest configuration, with data"),
)

PATH_EVIDENCE = Workload(
    name="curate.path_evidence",
    doc="article 20's figures, recomputed from the raw files it published",
    params=PathEvidenceParams,
    metrics=(*CELL_METRICS, *_EVIDENCE_METRICS),
    entry="harness.experiments.a20.evidence:run",
)
