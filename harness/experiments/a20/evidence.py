"""Article 20's figures, recomputed from the raw files it published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from harness.experiments.a19.published import (
    Figure,
    PublishedCell,
    PublishedSweep,
    figures,
    percent_above,
    read,
)
from harness.experiments.a20.evidence_params import PathEvidenceParams
from harness.experiments.a20.published import (
    PublishedCleaning,
    PublishedDataSweep,
    PublishedPack,
    PublishedStep,
    PublishedTokens,
)
from harness.records import Scalar
from harness.workloads.api.context import Context
from harness.workloads.models.peak_memory import published_peak_bytes
from harness.workloads.models.shape import Precision, num_parameters

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


def run(context: Context) -> None:
    """Recompute every figure; the device named is the one they were measured on."""
    params: PathEvidenceParams = context.params
    cleaning = read(PublishedCleaning, context.evidence(params.cleaning))
    tokens = read(PublishedTokens, context.evidence(params.tokens))
    packed = read(PublishedPack, context.evidence(params.packed))
    sweep = read(PublishedDataSweep, context.evidence(params.sweep))
    before = read(PublishedSweep, context.evidence(params.before))
    context.emit.started(sweep.device, source="published files")
    for figure in [
        *cleaning_figures(cleaning),
        *token_figures(cleaning, tokens, packed, sweep, params),
        *preparation_figures(cleaning, tokens, sweep, before, params),
        *cell_figures(sweep),
        *sweep_figures(sweep, params),
        *drift_figures(sweep, before),
        *loss_figures(sweep, before),
        *budget_figures(sweep),
    ]:
        context.emit.measured(figure.metric, figure.value, where=figure.where)


# --- the corpus -----------------------------------------------------------------------------------


def cleaning_figures(cleaning: PublishedCleaning) -> Iterator[Figure]:
    """Yield what the cleaning was given, what it kept, and the shares of both."""
    counts = {
        "raw": (cleaning.raw_docs, cleaning.raw_chars),
        "clean": (cleaning.cleaned_docs, cleaning.cleaned_chars),
    }
    for stage, (documents, characters) in counts.items():
        where: dict[str, Scalar] = {"stage": stage}
        yield Figure(metric="corpus.documents", value=documents, where=where)
        yield Figure(metric="corpus.characters", value=characters, where=where)
    kept_documents = cleaning.cleaned_docs / cleaning.raw_docs
    kept_characters = cleaning.cleaned_chars / cleaning.raw_chars
    for of, kept in (("documents", kept_documents), ("characters", kept_characters)):
        yield Figure(metric="corpus.dropped_share", value=1 - kept, where={"of": of})
    yield from figures({"corpus.kept_share": 100 * kept_characters})


def token_figures(
    cleaning: PublishedCleaning,
    tokens: PublishedTokens,
    packed: PublishedPack,
    sweep: PublishedDataSweep,
    params: PathEvidenceParams,
) -> Iterator[Figure]:
    """Yield what deduplication dropped and what was packed."""
    where: dict[str, Scalar] = {"stage": "unique"}
    yield Figure(metric="corpus.documents", value=tokens.after_dedup_docs, where=where)
    dropped = tokens.input_docs - tokens.after_dedup_docs
    stated = {tokens.total_tokens, packed.total_tokens, sweep.corpus.total_tokens}
    total = packed.total_tokens
    yield from figures(
        {
            "dedup.dropped": dropped,
            "dedup.dropped_share": dropped / tokens.input_docs,
            "packed.tokens": total,
            "packed.tokens_agree": len(stated) == 1,
            "packed.size": total * params.token_bytes / _BYTES_PER_MIB,
            "packed.vocabulary": packed.vocab_size,
            "packed.end_id": packed.eot_token_id,
            "packed.tokens_per_document": total / tokens.after_dedup_docs,
            "packed.characters_per_token": cleaning.cleaned_chars / total,
        }
    )


def preparation_figures(
    cleaning: PublishedCleaning,
    tokens: PublishedTokens,
    sweep: PublishedDataSweep,
    before: PublishedSweep,
    params: PathEvidenceParams,
) -> Iterator[Figure]:
    """Yield how long the preparation took, and how that compares with training."""
    walls = {
        "clean": cleaning.pipeline_wall_s,
        "tokenize": tokens.tokenize_wall_s,
        "concatenate": tokens.concat_wall_s,
        "write": tokens.write_wall_s,
    }
    for stage, wall_s in walls.items():
        yield Figure(metric="stage.time", value=wall_s, where={"part": stage})
    recorded_s = math.fsum(walls.values())
    larger = params.larger_gb * _BYTES_PER_GB / cleaning.raw_chars
    rate = tokens.total_tokens / tokens.tokenize_wall_s
    best = sweep.fastest.tokens_per_s_step_only
    yield from figures(
        {
            "stage.recorded_time": recorded_s,
            "stage.larger_time": larger * recorded_s / _S_PER_MIN,
            "tokenize.rate": rate,
            "tokenize.trained_meanwhile": best * tokens.tokenize_wall_s,
            "clean.rate": cleaning.raw_docs / cleaning.pipeline_wall_s,
        }
    )
    for training, speed in (("article 20", best), ("article 19", before.fastest.tokens_per_s)):
        where: dict[str, Scalar] = {"training": training}
        yield Figure(metric="tokenize.over_training", value=rate / speed, where=where)


# --- the sweep ------------------------------------------------------------------------------------


def cell_figures(sweep: PublishedDataSweep) -> Iterator[Figure]:
    """Yield the published table, row by row, with what each row stands for beside it."""
    for cell in sweep.results:
        shape = sweep.model.shape(cell.seq_len)
        law_gib = published_peak_bytes(shape, cell.tokens_per_step, cell.precision) / _BYTES_PER_GIB
        values: dict[str, Scalar] = {
            "step_time.mean": cell.mean_step_ms,
            "throughput": cell.tokens_per_s_step_only,
            "throughput.with_data": cell.tokens_per_s_with_data,
            "throughput.data_cost": cell.tokens_per_s_step_only / cell.tokens_per_s_with_data,
            "data.time": cell.mean_data_ms,
            "data.overhead": 100 * cell.mean_data_ms / cell.mean_step_ms,
            "loss.first": cell.loss_first,
            "loss.last": cell.loss_last,
            "loss.fall": cell.loss_first - cell.loss_last,
            "memory.peak_allocated": cell.peak_gpu_mem_gib,
            "memory.law_deviation": percent_above(law_gib, cell.peak_gpu_mem_gib),
            "cell.wall_time": cell.wall_s,
            "cell.out_of_memory": not cell.ok,
            "parameters": num_parameters(shape),
        }
        yield from figures(values, cell.where)


def sweep_figures(sweep: PublishedDataSweep, params: PathEvidenceParams) -> Iterator[Figure]:
    """Yield what all configurations together say."""
    cells, best = sweep.results, sweep.fastest
    recomputed = [percent_above(_throughput(cell), cell.tokens_per_s_step_only) for cell in cells]
    trained = sweep.sweep_steps * sum(cell.tokens_per_step for cell in cells)
    largest = max(cell.tokens_per_step for cell in cells) * params.token_bytes / _BYTES_PER_KIB
    extra = sweep.model.vocab_size - params.token_rows
    yield from figures(
        {
            "sweep.cells_ok": sum(cell.ok for cell in cells),
            "sweep.best_cell": " ".join(f"{key}={value}" for key, value in best.where.items()),
            "sweep.best_throughput": best.tokens_per_s_step_only,
            "sweep.best_throughput_with_data": best.tokens_per_s_with_data,
            "sweep.wall_time": sweep.sweep_wall_s,
            "sweep.cells_wall_time": math.fsum(cell.wall_s for cell in cells),
            "sweep.throughput_deviation": max(recomputed, key=abs),
            "sweep.tokens": trained,
            "sweep.share_of_corpus": 100 * trained / sweep.corpus.total_tokens,
            "data.overhead_least": min(cell.data_overhead_pct for cell in cells),
            "data.overhead_most": max(cell.data_overhead_pct for cell in cells),
            "table.extra_rows": extra,
            "table.extra_parameters": extra * sweep.model.d_model,
        }
    )
    # on the device, ids and targets are int64; the article counts the ids on disk alone
    for of, size in (("ids on disk", largest), ("ids and targets on the device", 4 * largest)):
        yield Figure(metric="data.batch_size", value=size, where={"of": of})
    by_cell = {(cell.precision, cell.seq_len, cell.batch_size): cell for cell in cells}
    for cell in cells:
        if cell.precision is Precision.FP8:
            wide = by_cell[Precision.BF16, cell.seq_len, cell.batch_size]
            gain = percent_above(cell.tokens_per_s_step_only, wide.tokens_per_s_step_only)
            where = {key: value for key, value in cell.where.items() if key != "precision"}
            yield Figure(metric="fp8.speedup", value=gain, where=where)


def _throughput(cell: PublishedStep) -> float:
    return cell.tokens_per_step / cell.mean_step_ms * _MS_PER_S


# --- against article 19 ---------------------------------------------------------------------------


def drift_figures(sweep: PublishedDataSweep, before: PublishedSweep) -> Iterator[Figure]:
    """Yield how much faster and larger each configuration is than article 19's."""
    gains = {}
    for cell, earlier in _paired(sweep, before):
        gain = percent_above(cell.tokens_per_s_step_only, earlier.tokens_per_s)
        gains[cell.tokens_per_s_step_only] = gain
        saved_ms = (earlier.mean_step_ms - cell.mean_step_ms) / cell.tokens_per_step
        values: Mapping[str, Scalar] = {
            "drift.throughput": gain,
            "drift.saved_per_token": saved_ms * _US_PER_MS,
            "drift.memory": cell.peak_gpu_mem_gib - earlier.peak_gpu_mem_gib,
            "drift.loss_last": cell.loss_last - earlier.loss_last,
        }
        yield from figures(values, cell.where)
    yield from figures(
        {
            "drift.least": min(gains.values()),
            "drift.most": max(gains.values()),
            "drift.best": gains[max(gains)],
        }
    )


def loss_figures(sweep: PublishedDataSweep, before: PublishedSweep) -> Iterator[Figure]:
    """Yield the range of the last losses, and how many are lower than article 19's."""
    for precision in dict.fromkeys(cell.precision for cell in sweep.results):
        pairs = [
            (one, other) for one, other in _paired(sweep, before) if one.precision is precision
        ]
        last = [one.loss_last for one, _ in pairs]
        lower = sum(one.loss_last < other.loss_last for one, other in pairs)
        values: Mapping[str, Scalar] = {
            "loss.last_least": min(last),
            "loss.last_most": max(last),
            "drift.loss_lower": lower,
        }
        yield from figures(values, {"precision": precision.value})


def _paired(
    sweep: PublishedDataSweep, before: PublishedSweep
) -> Sequence[tuple[PublishedStep, PublishedCell]]:
    earlier = {(cell.precision, cell.seq_len, cell.batch_size): cell for cell in before.results}
    return [
        (cell, earlier[cell.precision, cell.seq_len, cell.batch_size]) for cell in sweep.results
    ]


def budget_figures(sweep: PublishedDataSweep) -> Iterator[Figure]:
    """Yield what the fastest configuration trains on in an hour and a day, data included."""
    rate = sweep.fastest.tokens_per_s_with_data
    yield from figures(
        {
            "budget.hours_of_gtoken": _TOKENS_PER_GTOKEN / rate / _S_PER_HOUR,
            "budget.tokens_per_day": rate * _S_PER_DAY / _TOKENS_PER_GTOKEN,
        }
    )
