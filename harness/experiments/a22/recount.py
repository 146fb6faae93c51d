"""What a trajectory says when it is counted again (article 22, "Results").

Pure functions of the recorded figures; none trusts a decision, a count or a mean that the
loop wrote about itself.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TypeVar

from harness.records import record
from harness.workloads.autoresearch.loop_state import decide, improvement
from harness.workloads.autoresearch.trajectory import (
    Blocked,
    Decision,
    Evaluated,
    NimError,
    Stage,
    TrainConfig,
    Trajectory,
)
from harness.workloads.models.shape import num_parameters

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

RECORDED_PLACES = 4  # the loop rounds val_bpb and improvement_frac to so many decimals


# --- decisions ----------------------------------------------------------------------------------


def kept(trajectory: Trajectory) -> tuple[Evaluated, ...]:
    """Return the iterations that the rule keeps, recomputed from their figures."""
    header = trajectory.header
    return tuple(
        each
        for each in trajectory.evaluated
        if decide(header.baseline_val_bpb, each.val_bpb, header.accept_delta_frac) is Decision.KEEP
    )


def wrong_decisions(trajectory: Trajectory) -> tuple[int, ...]:
    """Return the iterations whose recorded decision is not the one its figure calls for.

    The rule is said here once more, as the article says it, in exact fractions: the function that
    made the decisions would agree with itself whatever it does.
    """
    baseline = Fraction(trajectory.header.baseline_val_bpb)
    threshold = Fraction(str(trajectory.header.accept_delta_frac))
    wrong = []
    for each in trajectory.evaluated:
        is_lower = baseline - Fraction(each.val_bpb) >= threshold * baseline
        if (each.decision is Decision.KEEP) is not is_lower:
            wrong.append(each.iteration)
    return tuple(wrong)


def wrong_improvements(trajectory: Trajectory) -> tuple[int, ...]:
    """Return the iterations whose recorded improvement differs from its figure's, as rounded."""
    baseline = trajectory.header.baseline_val_bpb
    half_a_quantum = 0.5 * 10**-RECORDED_PLACES + 1e-12
    return tuple(
        each.iteration
        for each in trajectory.evaluated
        if abs(improvement(baseline, each.val_bpb) - each.improvement_frac) > half_a_quantum
    )


def new_bests(evaluated: Iterable[Evaluated]) -> tuple[Evaluated, ...]:
    """Return each iteration that is strictly lower than all before it: the cumulative best."""
    found: list[Evaluated] = []
    for each in evaluated:
        if not found or each.val_bpb < found[-1].val_bpb:
            found.append(each)
    return tuple(found)


def wrong_summary(trajectory: Trajectory) -> tuple[str, ...]:
    """Return the fields of the loop's own summary that its iterations do not bear out."""
    summary, evaluated = trajectory.summary, trajectory.evaluated
    if summary is None:
        return ()
    keeps = len(kept(trajectory))
    recounted = {
        "accept_count": keeps,
        "revert_count": len(evaluated) - keeps,
        "block_count": trajectory.count(Stage.BLOCKED),
        "eval_fail_count": trajectory.count(Stage.EVAL_FAILED),
        "best_val_bpb": min([each.val_bpb for each in evaluated], default=math.inf),
    }
    return tuple(name for name, value in recounted.items() if getattr(summary, name) != value)


# --- tables -------------------------------------------------------------------------------------


@record
class SummaryStatistics:
    """How some figures scatter.

    Attributes:
        std: sample standard deviation (n - 1); None for a single figure.
    """

    count: int
    min: float
    mean: float
    max: float
    std: float | None


@record
class KnobOutcomes:
    """The trials that share a knob, or a knob and its value.

    Attributes:
        accepted: the iterations that the rule keeps.
        improvements: against the fixed baseline, as fractions; positive is better.
        first_losses: how many different first training losses there are, to the three decimals
            recorded; more than one means that the trials started from different weights.
    """

    iterations: tuple[int, ...]
    accepted: tuple[int, ...]
    distinct_values: int
    val_bpb: SummaryStatistics
    improvements: SummaryStatistics
    first_losses: int
    mean_step_ms: float
    peak_gpu_mem_gib: float


def spread(values: Sequence[float]) -> SummaryStatistics:
    """Return the spread of at least one figure."""
    return SummaryStatistics(
        count=len(values),
        min=min(values),
        mean=math.fsum(values) / len(values),
        max=max(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
    )


def by_value(trajectory: Trajectory) -> dict[str, KnobOutcomes]:
    """Return the trials of each ``knob=value``, the most tried first."""
    return _rows(trajectory, lambda each: each.proposal.pair)


def by_knob(trajectory: Trajectory) -> dict[str, KnobOutcomes]:
    """Return the trials of each knob, the most tried first."""
    return _rows(trajectory, lambda each: each.proposal.knob)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, tuple[T, ...]]:
    """Return the items that share a key, the largest group first, else in order of appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    largest_first = sorted(groups.items(), key=lambda group: -len(group[1]))
    return {name: tuple(members) for name, members in largest_first}


def _rows(trajectory: Trajectory, key: Callable[[Evaluated], str]) -> dict[str, KnobOutcomes]:
    keeps = frozenset(each.iteration for each in kept(trajectory))
    baseline = trajectory.header.baseline_val_bpb
    groups = grouped(trajectory.evaluated, key)
    return {name: _row(trials, keeps, baseline) for name, trials in groups.items()}


def _row(trials: Sequence[Evaluated], keeps: frozenset[int], baseline: float) -> KnobOutcomes:
    iterations = tuple(each.iteration for each in trials)
    return KnobOutcomes(
        iterations=iterations,
        accepted=tuple(i for i in iterations if i in keeps),
        distinct_values=len({each.proposal.pair for each in trials}),
        val_bpb=spread([each.val_bpb for each in trials]),
        improvements=spread([improvement(baseline, each.val_bpb) for each in trials]),
        first_losses=len({each.eval_metrics.train_loss_first for each in trials}),
        mean_step_ms=statistics.fmean(each.eval_metrics.mean_step_ms for each in trials),
        peak_gpu_mem_gib=max(each.eval_metrics.peak_gpu_mem_gib for each in trials),
    )


# --- repetition ---------------------------------------------------------------------------------


def proposed_pairs(trajectory: Trajectory) -> tuple[str, ...]:
    """Return ``knob=value`` of every proposal that passed the rails, in order."""
    return tuple(
        each.proposal.pair
        for each in trajectory.iterations
        if not isinstance(each, Blocked | NimError)
    )


def repeats(pairs: Sequence[str]) -> tuple[bool, ...]:
    """Say of each proposal whether it was made before."""
    return tuple(pair in pairs[:place] for place, pair in enumerate(pairs))


def repeats_in_view(pairs: Sequence[str], memory: int) -> int:
    """Count the proposals that the prompt's last `memory` history lines already show."""
    return sum(pair in pairs[max(0, place - memory) : place] for place, pair in enumerate(pairs))


def repeats_of_reverted(trajectory: Trajectory) -> int:
    """Count the proposals of a pair that an earlier iteration has tried and reverted."""
    keeps = frozenset(each.iteration for each in kept(trajectory))
    reverted: set[str] = set()
    found = 0
    for each in trajectory.evaluated:
        found += each.proposal.pair in reverted
        if each.iteration not in keeps:
            reverted.add(each.proposal.pair)
    return found


def window_rates(flags: Sequence[bool], width: int) -> Iterator[tuple[int, float]]:
    """Yield (1-based place of its first, share that is true) of each `width` flags in turn."""
    for start in range(0, len(flags), width):
        part = flags[start : start + width]
        yield start + 1, sum(part) / len(part)


def entropy_bits(labels: Sequence[str]) -> float:
    """Return the Shannon entropy of the labels' frequencies, bits; 0 where there is at most one."""
    total = len(labels)
    return math.fsum(count / total * math.log2(total / count) for count in Counter(labels).values())


# --- model and time -----------------------------------------------------------------------------


def wrong_parameter_counts(trajectory: Trajectory) -> tuple[int, ...]:
    """Return the iterations whose recorded params_m (two decimals) is not the formula's."""
    return tuple(
        each.iteration
        for each in trajectory.evaluated
        if round(num_parameters(each.candidate_cfg.shape) / 1e6, 2) != each.eval_metrics.params_m
    )


def tokens_per_step(cfg: TrainConfig) -> int:
    """Return the tokens that one optimizer step trains on."""
    return cfg.batch_size * cfg.seq_len


def throughput_token_s(cfg: TrainConfig, step_ms: float) -> float:
    """Return the training throughput, tokens per second."""
    return tokens_per_step(cfg) / (step_ms / 1000.0)


def overhead_s(each: Evaluated) -> float:
    """Return what an iteration took beside the proposal, the training and the validation."""
    measured = each.eval_metrics
    return each.iter_wall_s - each.nim_latency_s - measured.train_wall_s - measured.val_wall_s
