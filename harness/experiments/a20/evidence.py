"""Article 20's figures, recomputed from the raw files it published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.experiments.a19.published import (
    PublishedCell,
    PublishedSweep,
    percent_above,
    read,
)
from harness.experiments.a20.published import (
    PublishedCleaning,
    PublishedDataSweep,
    PublishedPack,
    PublishedStep,
    PublishedTokens,
)
from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Workload, param
from harness.workloads.api.figures import Figures, Row, Where
from harness.workloads.models.peak_memory import published_peak_bytes
from harness.workloads.models.shape import Precision, num_parameters
from harness.workloads.training.pretrain_params import CELL_METRICS

_BYTES_PER_GIB = 1024.0**3
_BYTES_PER_MIB = 1024.0**2
_BYTES_PER_KIB = 1024.0
_BYTES_PER_GB = 1e9
_TOKENS_PER_GTOKEN = 1e9
_MS_PER_S = 1e3
_US_PER_MS = 1e3
_S_PER_MIN = 60.0
_S_PER_HOUR = 3600.0
_S_PER_DAY = 86400.0


@record
class PathEvidenceParams:
    """The published files, and the article's own round figures."""

    cleaning: str = param("a20/prep_stats.json", doc="NeMo Curator's input and output")
    tokens: str = param("a20/dedup_tokenize_stats.json", doc="duplicates, tokens, times")
    packed: str = param("a20/packed.meta.json", doc="the packed corpus")
    sweep: str = param("a20/data_sweep_results.json", doc="the sweep's configurations")
    before: str = param("a19/sweep_results.json", doc="article 19's sweep, on random tokens")
    vocab_size: int = param(50258, doc="rows of the token table of the sweep's model", low=2)
    tokenizer_vocab_size: int = param(50257, doc="ids that GPT-2's tokenizer may give", low=2)
    token_bytes: int = param(4, doc="of an id on disk", unit="B", low=1)
    larger_gb: float = param(50.0, doc="a corpus that the article extends to", unit="GB", low=0.0)


@dataclass(frozen=True, kw_only=True)
class PublishedDataPath:
    """The published files, read."""

    cleaning: PublishedCleaning
    tokens: PublishedTokens
    packed: PublishedPack
    sweep: PublishedDataSweep
    before: PublishedSweep
    params: PathEvidenceParams

    @property
    def dropped(self) -> int:
        """Duplicates, documents."""
        return self.tokens.input_docs - self.tokens.after_dedup_docs

    @property
    def walls_s(self) -> Mapping[str, float]:
        """How long each part of the preparation took."""
        return {
            "clean": self.cleaning.pipeline_wall_s,
            "tokenize": self.tokens.tokenize_wall_s,
            "concatenate": self.tokens.concat_wall_s,
            "write": self.tokens.write_wall_s,
        }

    @property
    def tokens_per_s(self) -> float:
        """Of the tokenizer, by the tokens and the seconds recorded."""
        return self.tokens.total_tokens / self.tokens.tokenize_wall_s

    @property
    def trained_tokens(self) -> int:
        """What the sweep trained on."""
        return self.sweep.sweep_steps * sum(cell.tokens_per_step for cell in self.sweep.results)

    @property
    def extra_rows(self) -> int:
        """Rows of the token table that no id has."""
        return self.sweep.model.vocab_size - self.params.tokenizer_vocab_size

    @cached_property
    def pairs(self) -> list[tuple[PublishedStep, PublishedCell]]:
        """Each configuration, and article 19's of the same shape."""
        earlier = {(c.precision, c.seq_len, c.batch_size): c for c in self.before.results}
        return [(c, earlier[c.precision, c.seq_len, c.batch_size]) for c in self.sweep.results]

    @cached_property
    def gains(self) -> list[float]:
        """By how many percent each configuration is faster than article 19's."""
        return [
            percent_above(now.tokens_per_s_step_only, then.tokens_per_s) for now, then in self.pairs
        ]


figure: Figures[PublishedDataPath] = Figures(*CELL_METRICS)

# --- the corpus -----------------------------------------------------------------------------------


@figure.rows("corpus.documents", "document", "where: stage (raw, clean, unique)")
def _(p: PublishedDataPath) -> Iterator[Row]:
    yield {"stage": "raw"}, p.cleaning.raw_docs
    yield {"stage": "clean"}, p.cleaning.cleaned_docs
    yield {"stage": "unique"}, p.tokens.after_dedup_docs


@figure.rows("corpus.characters", "character", "where: stage")
def _(p: PublishedDataPath) -> Iterator[Row]:
    yield {"stage": "raw"}, p.cleaning.raw_chars
    yield {"stage": "clean"}, p.cleaning.cleaned_chars


@figure.rows("corpus.dropped_share", "1", "by the cleaning; where: subset")
def _(p: PublishedDataPath) -> Iterator[Row]:
    yield {"denominator": "documents"}, 1 - p.cleaning.cleaned_docs / p.cleaning.raw_docs
    yield {"denominator": "characters"}, 1 - p.cleaning.cleaned_chars / p.cleaning.raw_chars


figure("corpus.kept_share", "%", "of the characters, by the cleaning")(
    lambda p: 100 * (p.cleaning.cleaned_chars / p.cleaning.raw_chars)
)
figure("dedup.dropped", "document", "duplicates")(lambda p: p.dropped)
figure("dedup.dropped_share", "1", "of all clean documents")(
    lambda p: p.dropped / p.tokens.input_docs
)
figure("packed.tokens", "token", "end marks included")(lambda p: p.packed.total_tokens)


@figure("packed.tokens_agree", "flag", "all three files state the same number")
def _(p: PublishedDataPath) -> bool:
    return p.tokens.total_tokens == p.packed.total_tokens == p.sweep.corpus.total_tokens


figure("packed.size", "MiB", "of the ids, by their number")(
    lambda p: p.packed.total_tokens * p.params.token_bytes / _BYTES_PER_MIB
)
packed = figure.of(lambda p: p.packed)
packed("packed.vocabulary", "count", "ids the tokenizer may give")(lambda p: p.vocab_size)
packed("packed.end_id", "count", "the id that follows every document")(lambda p: p.eot_token_id)
figure("packed.tokens_per_document", "token", "mean, end mark included")(
    lambda p: p.packed.total_tokens / p.tokens.after_dedup_docs
)
figure("packed.characters_per_token", "character/token", "clean characters, duplicates too")(
    lambda p: p.cleaning.cleaned_chars / p.packed.total_tokens
)

# --- how long the preparation took, and how that compares with training ---------------------------

figure.rows("stage.time", "s", "as recorded; where: subset")(
    lambda p: (({"stage": part}, wall_s) for part, wall_s in p.walls_s.items())
)
figure("stage.recorded_time", "s", "all stages of the preparation that were recorded")(
    lambda p: math.fsum(p.walls_s.values())
)


@figure("stage.larger_time", "min", "of the larger corpus, a byte a character, in a line")
def _(p: PublishedDataPath) -> float:
    larger = p.params.larger_gb * _BYTES_PER_GB / p.cleaning.raw_chars
    return larger * math.fsum(p.walls_s.values()) / _S_PER_MIN


figure("tokenize.rate", "token/s", "tokens / seconds, both as recorded")(lambda p: p.tokens_per_s)


@figure.rows("tokenize.over_training", "x", "tokenize.rate / throughput; where: training")
def _(p: PublishedDataPath) -> Iterator[Row]:
    yield {"training": "article 20"}, p.tokens_per_s / p.sweep.fastest.tokens_per_s_step_only
    yield {"training": "article 19"}, p.tokens_per_s / p.before.fastest.tokens_per_s


figure("tokenize.trained_meanwhile", "token", "what the fastest configuration trains on")(
    lambda p: p.sweep.fastest.tokens_per_s_step_only * p.tokens.tokenize_wall_s
)
figure("clean.rate", "document/s", "raw documents / seconds")(
    lambda p: p.cleaning.raw_docs / p.cleaning.pipeline_wall_s
)

# --- the published table, row by row, with related figures ---------------------

cell = figure.each(lambda p: ((c.where, c) for c in p.sweep.results))
cell("step_time.mean")(lambda c: c.mean_step_ms)
cell("tokens_per_second")(lambda c: c.tokens_per_s_step_only)
cell("tokens_per_second.with_data", "token/s", "a step and its batch; per configuration")(
    lambda c: c.tokens_per_s_with_data
)
cell(
    "tokens_per_second.data_cost",
    "x",
    "throughput / tokens_per_second.with_data; per configuration",
)(lambda c: c.tokens_per_s_step_only / c.tokens_per_s_with_data)
cell("data.time", "ms", "making a batch; the step waits; per configuration")(
    lambda c: c.mean_data_ms
)
cell("data.overhead", "%", "data.time / step_time.mean; per configuration")(
    lambda c: 100 * c.mean_data_ms / c.mean_step_ms
)
cell("loss.first")(lambda c: c.loss_first)
cell("loss.last")(lambda c: c.loss_last)
cell("loss.fall")(lambda c: c.loss_first - c.loss_last)
cell("memory.peak_allocated")(lambda c: c.peak_gpu_mem_gib)
cell("cell.wall_time")(lambda c: c.wall_s)
cell("cell.out_of_memory")(lambda c: not c.ok)


@figure.rows("memory.law_deviation", "%", "analytic peak against the published one")
def _(p: PublishedDataPath) -> Iterator[Row]:
    for c in p.sweep.results:
        shape = p.sweep.model.shape(c.seq_len)
        law = published_peak_bytes(shape, c.tokens_per_step, c.precision)
        yield c.where, percent_above(law / _BYTES_PER_GIB, c.peak_gpu_mem_gib)


figure.rows("parameters")(
    lambda p: ((c.where, num_parameters(p.sweep.model.shape(c.seq_len))) for c in p.sweep.results)
)

# --- all configurations together ------------------------------------------------------------------

best = figure.of(lambda p: p.sweep.fastest)
best("sweep.best_cell", "text", "the fastest configuration")(
    lambda c: " ".join(f"{key}={value}" for key, value in c.where.items())
)
best("sweep.best_tokens_per_second", "token/s", "its throughput")(
    lambda c: c.tokens_per_s_step_only
)
best("sweep.best_tokens_per_second_with_data", "token/s", "its throughput, data included")(
    lambda c: c.tokens_per_s_with_data
)
best("budget.hours_of_gtoken", "h", "10^9 tokens in the fastest configuration, with data")(
    lambda c: _TOKENS_PER_GTOKEN / c.tokens_per_s_with_data / _S_PER_HOUR
)
best("budget.tokens_per_day", "Gtoken", "in the fastest configuration, with data")(
    lambda c: c.tokens_per_s_with_data * _S_PER_DAY / _TOKENS_PER_GTOKEN
)
figure("sweep.wall_time", "s", "of the whole sweep, as recorded")(lambda p: p.sweep.sweep_wall_s)
cells = figure.of(lambda p: p.sweep.results)
cells("sweep.cells_ok", "count", "configurations that finished")(lambda cs: sum(c.ok for c in cs))
cells("sweep.cells_wall_time", "s", "sum over the configurations, as recorded")(
    lambda cs: math.fsum(c.wall_s for c in cs)
)
cells("data.overhead_min", "%", "of all configurations, as recorded")(
    lambda cs: min(c.data_overhead_pct for c in cs)
)
cells("data.overhead_max", "%", "of all configurations, as recorded")(
    lambda cs: max(c.data_overhead_pct for c in cs)
)


@figure("sweep.tokens_per_second_deviation", "%", "tokens / step time against throughput recorded")
def _(p: PublishedDataPath) -> float:
    recomputed = (
        percent_above(c.tokens_per_step / c.mean_step_ms * _MS_PER_S, c.tokens_per_s_step_only)
        for c in p.sweep.results
    )
    return max(recomputed, key=abs)


figure("sweep.tokens", "token", "that the sweep trained on")(lambda p: p.trained_tokens)
figure("sweep.share_of_corpus", "%", "of the packed tokens")(
    lambda p: 100 * p.trained_tokens / p.sweep.corpus.total_tokens
)
figure("table.extra_rows", "count", "rows of the token table that no id has")(
    lambda p: p.extra_rows
)
figure("table.extra_parameters", "parameter", "of the model, for these rows")(
    lambda p: p.extra_rows * p.sweep.model.d_model
)


@figure.rows("data.batch_size", "KiB", "of the largest batch's ids; where: subset")
def _(p: PublishedDataPath) -> Iterator[Row]:
    tokens = max(c.tokens_per_step for c in p.sweep.results)
    largest = tokens * p.params.token_bytes / _BYTES_PER_KIB
    yield {"content": "ids on disk"}, largest
    # on the device, ids and targets are int64; the article counts the ids on disk alone
    yield {"content": "ids and targets on the device"}, 4 * largest


@figure.rows("fp8.speedup", "%", "throughput of fp8 above bf16; where: seq_len, batch_size")
def _(p: PublishedDataPath) -> Iterator[Row]:
    rates = {
        (c.precision, c.seq_len, c.batch_size): c.tokens_per_s_step_only for c in p.sweep.results
    }
    for (precision, seq_len, batch_size), rate in rates.items():
        if precision is Precision.FP8:
            gain = percent_above(rate, rates[Precision.BF16, seq_len, batch_size])
            yield {"seq_len": seq_len, "batch_size": batch_size}, gain


# --- against article 19 ---------------------------------------------------------------------------

drift = figure.each(lambda p: ((now.where, (now, then)) for now, then in p.pairs))
drift("drift.tokens_per_second", "%", "against article 19; per configuration")(
    lambda pair: percent_above(pair[0].tokens_per_s_step_only, pair[1].tokens_per_s)
)
drift("drift.saved_per_token", "us", "step time saved a token, against article 19")(
    lambda pair: (
        (pair[1].mean_step_ms - pair[0].mean_step_ms) / pair[0].tokens_per_step * _US_PER_MS
    )
)
drift("drift.memory", "GiB", "peak against article 19; per configuration")(
    lambda pair: pair[0].peak_gpu_mem_gib - pair[1].peak_gpu_mem_gib
)
drift("drift.loss_last", "nat", "against article 19; per configuration")(
    lambda pair: pair[0].loss_last - pair[1].loss_last
)
figure("drift.min", "%", "of all configurations")(lambda p: min(p.gains))
figure("drift.max", "%", "of all configurations")(lambda p: max(p.gains))
figure("drift.best", "%", "of the fastest configuration")(
    lambda p: p.gains[p.sweep.results.index(p.sweep.fastest)]
)


def _losses(p: PublishedDataPath) -> Iterator[tuple[Where, list[tuple[float, float]]]]:
    for precision in dict.fromkeys(now.precision for now, _ in p.pairs):
        found = [(a.loss_last, b.loss_last) for a, b in p.pairs if a.precision is precision]
        yield {"precision": precision.value}, found


losses = figure.each(_losses, keys="precision")
losses("loss.last_min", "nat", "of a precision")(lambda found: min(now for now, _ in found))
losses("loss.last_max", "nat", "of a precision")(lambda found: max(now for now, _ in found))
losses("drift.loss_lower", "count", "configurations with a lower last loss")(
    lambda found: sum(now < then for now, then in found)
)
# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Recompute every figure; the device named is the one they were measured on."""
    params: PathEvidenceParams = context.params
    published = PublishedDataPath(
        cleaning=read(PublishedCleaning, context.evidence(params.cleaning)),
        tokens=read(PublishedTokens, context.evidence(params.tokens)),
        packed=read(PublishedPack, context.evidence(params.packed)),
        sweep=read(PublishedDataSweep, context.evidence(params.sweep)),
        before=read(PublishedSweep, context.evidence(params.before)),
        params=params,
    )
    context.emit.started(published.sweep.device, source="published files")
    figure.report(context.emit, published)


PATH_EVIDENCE = Workload(
    name="curate.path_evidence",
    doc="article 20's figures, recomputed from the raw files it published",
    params=PathEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a20.evidence:run",
)

WORKLOADS = (PATH_EVIDENCE,)
