"""Article 19's figures, recomputed from the raw files it published."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from harness.experiments.a19.budget import budget_figures, drift_figures
from harness.experiments.a19.params import EnvelopeEvidenceParams
from harness.experiments.a19.power import telemetry_figures
from harness.experiments.a19.published import (
    Figure,
    PublishedArm,
    PublishedSweep,
    figures,
    percent_above,
    read,
)
from harness.probes import power_samples as power
from harness.records import Scalar
from harness.statistics import Line, least_squares
from harness.workloads.api.context import Context
from harness.workloads.models.peak_memory import published_peak_bytes
from harness.workloads.models.shape import Precision, initial_loss_nats, num_parameters

_MIB_PER_GIB = 1024.0
_BYTES_PER_GIB = 1024.0**3
_MS_PER_S = 1e3


def run(context: Context) -> None:
    """Recompute every figure; the device named is the one they were measured on."""
    params: EnvelopeEvidenceParams = context.params
    sweep = read(PublishedSweep, context.evidence(params.sweep))
    samples = power.parse_csv(context.evidence(params.power))
    vanilla = read(PublishedArm, context.evidence(params.vanilla))
    nemo = read(PublishedArm, context.evidence(params.nemo))
    context.emit.started(sweep.device, source="published files")
    for figure in [
        *cell_figures(sweep, vanilla),
        *sweep_figures(sweep),
        *fp8_figures(sweep),
        *memory_figures(sweep, params),
        *telemetry_figures(sweep, samples, params),
        *drift_figures(sweep, nemo),
        *budget_figures(sweep, vanilla, params),
    ]:
        context.emit.measured(figure.metric, figure.value, where=figure.where)


def cell_figures(sweep: PublishedSweep, vanilla: PublishedArm) -> Iterator[Figure]:
    """Yield the published table, row by row, with what each row stands for beside it."""
    for cell in sweep.results:
        shape = sweep.model.shape(cell.seq_len)
        law_gib = published_peak_bytes(shape, cell.tokens_per_step, cell.precision) / _BYTES_PER_GIB
        values: dict[str, Scalar] = {
            "step_time.mean": cell.mean_step_ms,
            "throughput": cell.tokens_per_s,
            "loss.first": cell.loss_first,
            "loss.last": cell.loss_last,
            "loss.fall": cell.loss_first - cell.loss_last,
            "memory.peak_allocated": cell.peak_gpu_mem_gib,
            "memory.peak_reserved": cell.peak_gpu_reserved_gib,
            "memory.law_deviation": percent_above(law_gib, cell.peak_gpu_mem_gib),
            "cell.wall_time": cell.wall_s,
            "cell.out_of_memory": not cell.ok,
            "cell.gain_over_vanilla": percent_above(cell.tokens_per_s, vanilla.tokens_per_s),
            "parameters": num_parameters(shape),
        }
        for metric, value in values.items():
            yield Figure(metric=metric, value=value, where=cell.where)


def sweep_figures(sweep: PublishedSweep) -> Iterator[Figure]:
    """Yield what all cells together say: best, worst, spread, and the time they took."""
    cells = sweep.results
    best, worst = sweep.fastest, min(cells, key=lambda cell: cell.tokens_per_s)
    leanest = min(cells, key=lambda cell: cell.peak_gpu_mem_gib / cell.tokens_per_s)
    recomputed = [
        percent_above(cell.tokens_per_step / cell.mean_step_ms * _MS_PER_S, cell.tokens_per_s)
        for cell in cells
    ]
    yield from figures(
        {
            "sweep.cells_ok": sum(cell.ok for cell in cells),
            "sweep.cells_out_of_memory": sum(not cell.ok for cell in cells),
            "loss.initial": initial_loss_nats(sweep.model.shape(best.seq_len)),
            "sweep.best_cell": best.label,
            "sweep.best_throughput": best.tokens_per_s,
            "sweep.worst_cell": worst.label,
            "sweep.spread": best.tokens_per_s / worst.tokens_per_s,
            "sweep.worst_share": 100 * worst.tokens_per_s / best.tokens_per_s,
            "sweep.leanest_cell": leanest.label,
            "sweep.throughput_deviation": max(recomputed, key=abs),
            "sweep.wall_time": sweep.sweep_wall_s,
            "sweep.cells_wall_time": math.fsum(cell.wall_s for cell in cells),
        }
    )
    for precision in sweep.precisions:
        longest = max(cell.seq_len for cell in cells)
        rows = [c for c in cells if (c.precision, c.seq_len) == (precision, longest)]
        last, before = sorted(rows, key=lambda cell: -cell.batch_size)[:2]
        yield Figure(
            metric="sweep.plateau",
            value=last.tokens_per_s / before.tokens_per_s,
            where={"precision": precision.value},
        )


def fp8_figures(sweep: PublishedSweep) -> Iterator[Figure]:
    """Yield what eight bits gain in speed and cost in memory, shape by shape."""
    by_cell = {(cell.precision, cell.seq_len, cell.batch_size): cell for cell in sweep.results}
    shapes = dict.fromkeys((cell.seq_len, cell.batch_size) for cell in sweep.results)
    speedups = {}
    for seq_len, batch_size in shapes:
        wide = by_cell[Precision.BF16, seq_len, batch_size]
        narrow = by_cell[Precision.FP8, seq_len, batch_size]
        speedups[seq_len, batch_size] = percent_above(narrow.tokens_per_s, wide.tokens_per_s)
        change_gib = narrow.peak_gpu_mem_gib - wide.peak_gpu_mem_gib
        where: dict[str, Scalar] = {"seq_len": seq_len, "batch_size": batch_size}
        yield Figure(metric="fp8.speedup", value=speedups[seq_len, batch_size], where=where)
        yield Figure(metric="fp8.memory_change", value=change_gib, where=where)
    yield from figures(
        {
            "fp8.speedup_least": min(speedups.values()),
            "fp8.speedup_most": max(speedups.values()),
            "fp8.speedup_falls": all(
                speedups[one] > speedups[other]
                for one, other in pairwise(sorted(speedups))
                if one[0] == other[0]
            ),
        }
    )


def memory_figures(sweep: PublishedSweep, params: EnvelopeEvidenceParams) -> Iterator[Figure]:
    """Yield how the peak grows with the tokens of a step."""
    for precision in sweep.precisions:
        where: dict[str, Scalar] = {"precision": precision.value}
        line = memory_line(sweep, precision, params.line_from_tokens)
        state = line.intercept * _BYTES_PER_GIB / num_parameters(sweep.model.shape(1024))
        fits = (params.budget_gib - line.intercept) / line.slope
        yield from figures(
            {
                "memory.slope": line.slope * _MIB_PER_GIB,
                "memory.intercept": line.intercept,
                "memory.line_residual": line.residual,
                "memory.state": state,
                "memory.tokens_in_budget": math.floor(fits),
            },
            where,
        )


def memory_line(sweep: PublishedSweep, precision: Precision, from_tokens: int) -> Line:
    """Return peak GiB over tokens a step, of the cells with at least so many tokens."""
    return least_squares(
        (float(cell.tokens_per_step), cell.peak_gpu_mem_gib)
        for cell in sweep.results
        if cell.precision is precision and cell.tokens_per_step >= from_tokens
    )
