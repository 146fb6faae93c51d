"""How far two evaluations of one configuration differ, and what a keep is worth then.

The evaluator seeds the default generators before each candidate, but Megatron's CUDA tracker, which
the initial weights are drawn from, only once a process: one configuration starts from other weights
each time (article 22, recomputed). So every figure of the loop is one draw, the baseline's too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean

from harness.experiments.a22.recount import grouped, kept
from harness.records import record
from harness.workloads.autoresearch.trajectory import Evaluated, TrainConfig, Trajectory

_STANDARD = NormalDist()


@record
class PooledStd:
    """A standard deviation pooled over groups of repeated figures."""

    std: float
    degrees_of_freedom: int


@record
class Effect:
    """What a configuration is worth against the baseline, both taken as means of their draws.

    Attributes:
        gain: baseline mean minus the configuration's, so positive is better.
        standard_error: of the gain, from the pooled standard deviation.
    """

    draws: int
    gain: float
    standard_error: float

    @property
    def z_score(self) -> float:
        """The gain in units of its standard error."""
        return self.gain / self.standard_error


def draws(trajectory: Trajectory) -> dict[TrainConfig, tuple[float, ...]]:
    """Return every figure of each configuration; the header's baseline is a draw as well."""
    header = trajectory.header
    figures = [(header.baseline_cfg, header.baseline_val_bpb)]
    figures.extend((each.candidate_cfg, each.val_bpb) for each in trajectory.evaluated)
    groups = grouped(figures, lambda figure: figure[0])
    return {cfg: tuple(value for _, value in members) for cfg, members in groups.items()}


def pooled_sd(groups: Iterable[Sequence[float]]) -> PooledStd | None:
    """Return the standard deviation within groups, pooled; None where no group has two figures."""
    repeated = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    if degrees == 0:
        return None
    squares = math.fsum((value - fmean(group)) ** 2 for group in repeated for value in group)
    return PooledStd(std=math.sqrt(squares / degrees), degrees_of_freedom=degrees)


def false_keep_risk(threshold: float, sd: float) -> float:
    """Return the chance that a candidate no better than the baseline is kept.

    Args:
        threshold: the improvement from which on a candidate is kept, in the figure's unit.
        sd: standard deviation of one draw. The difference of two has the square root of two
            times it; both are taken as normal.
    """
    return 1.0 - _STANDARD.cdf(threshold / (math.sqrt(2.0) * sd))


def significant_gain(sd: float, trials: int, level: float) -> float:
    """Return the smallest significant difference of two draws, corrected for `trials` comparisons.

    One-sided at `level` over all trials together (Bonferroni), normal quantiles.
    """
    return _STANDARD.inv_cdf(1.0 - level / trials) * math.sqrt(2.0) * sd


def significant_keeps(trajectory: Trajectory, sd: float, level: float) -> tuple[Evaluated, ...]:
    """Return the keeps whose own difference from the baseline is significant."""
    wanted = significant_gain(sd, len(trajectory.evaluated), level)
    baseline = trajectory.header.baseline_val_bpb
    return tuple(each for each in kept(trajectory) if baseline - each.val_bpb >= wanted)


def effects(trajectory: Trajectory, sd: float) -> dict[TrainConfig, Effect]:
    """Return the effect of every configuration but the baseline, from all draws of both."""
    figures = draws(trajectory)
    baseline = figures.pop(trajectory.header.baseline_cfg)
    return {
        cfg: Effect(
            draws=len(values),
            gain=fmean(baseline) - fmean(values),
            standard_error=sd * math.sqrt(1.0 / len(values) + 1.0 / len(baseline)),
        )
        for cfg, values in figures.items()
    }


def surviving(found: dict[TrainConfig, Effect], level: float) -> tuple[TrainConfig, ...]:
    """Return configurations with significant mean gain, one-sided, Bonferroni-corrected."""
    wanted = _STANDARD.inv_cdf(1.0 - level / len(found)) if found else math.inf
    return tuple(cfg for cfg, effect in found.items() if effect.z_score >= wanted)


def same_position_differences(one: Trajectory, other: Trajectory) -> tuple[float, ...]:
    """Return |difference| of each evaluation that two processes made at the same place.

    The baseline is every process's first evaluation; after it an iteration is compared as long as
    both processes have evaluated the same configurations, in the same order, before it.
    """
    found = [abs(one.header.baseline_val_bpb - other.header.baseline_val_bpb)]
    for mine, theirs in zip(one.evaluated, other.evaluated, strict=False):
        if mine.candidate_cfg != theirs.candidate_cfg:
            break
        found.append(abs(mine.val_bpb - theirs.val_bpb))
    return tuple(found)
