"""Summary of a finished loop, computed from its folder only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from harness.records import record
from harness.statistics import sample, t_quantile
from harness.workloads.autoresearch.as_trials import LAYOUT
from harness.workloads.autoresearch.loop import RECORD_FILE, TRAJECTORY_FILE
from harness.workloads.autoresearch.loop_state import decide, improvement
from harness.workloads.autoresearch.trajectory import (
    Blocked,
    Decision,
    EvalFailed,
    Evaluated,
    Header,
    Iteration,
    NimError,
    TrainConfig,
    Trajectory,
    read_trajectory,
)
from harness.workloads.trials import recount as trials
from harness.workloads.trials.history import History
from harness.workloads.trials.store import TrialStore


@record
class Noise:
    """How far draws of the baseline scatter, the loop's own draw among them.

    Attributes:
        std: of one draw, bits per token.
        count: of draws.
    """

    std: float
    count: int

    def gain(self, trials: int, level: float) -> float:
        """Return the smallest significant difference of two draws, corrected for `trials`
        comparisons.

        One-sided at `level` over all trials together (Bonferroni). As `noise.significant_gain`, but
        with Student's quantile, since the deviation itself comes from a few draws.
        """
        return t_quantile(1.0 - level / trials, self.count - 1) * math.sqrt(2.0) * self.std


@record
class FinishedLoop:
    """A loop that has come to its end.

    Attributes:
        history: its record of trials.
        damaged: rows of the record that are not trials.
    """

    trajectory: Trajectory
    history: History
    damaged: int

    @property
    def header(self) -> Header:
        """The baseline."""
        return self.trajectory.header

    @property
    def noise(self) -> Noise:
        """How far its baseline scatters."""
        drawn = sample((self.header.baseline_val_bpb, *self.header.noise_val_bpb))
        return Noise(std=drawn.std, count=drawn.count)


def read_finished(folder: Path) -> FinishedLoop:
    """Return the loop in a folder.

    Raises:
        InputError: a file of it is damaged.
    """
    store = TrialStore(folder / RECORD_FILE, LAYOUT)
    history = store.history()
    return FinishedLoop(
        trajectory=read_trajectory(folder / TRAJECTORY_FILE),
        history=history,
        damaged=len(store.damage()),
    )


@record
class Tally:
    """The counts of one loop.

    Attributes:
        accepted: by the loop's own rule.
        accepted_significant: candidates whose gain stands out from the noise, whatever the rule
            says.
        repeats: candidates that were tried before.
        failures: candidates without a figure.
        overruns: of those, ended at their limit.
        wasted_s: wall clock of iterations without a new figure: refused, failed or repeated.
        wall_s: of all iterations.
        gain: of the best, as a fraction of the baseline; 0 where nothing is better.
        trials_without_improvement: most trials in a row without a keep.
        parents: distinct trials, but for the baseline, that others were built on.
        depth: from the baseline to the deepest trial.
    """

    iterations: int
    evaluated: int
    accepted: int
    accepted_significant: int
    repeats: int
    refused: int
    failures: int
    overruns: int
    unanswered: int
    wasted_s: float
    wall_s: float
    gain: float
    trials_without_improvement: int
    parents: int
    depth: int


def tally(loop: FinishedLoop, level: float) -> Tally:
    """Count a loop."""
    done, evaluated = loop.trajectory.iterations, loop.trajectory.evaluated
    failures = [each for each in done if isinstance(each, EvalFailed)]
    again = repeated(done)
    wasted = [each for each in done if each in again or not isinstance(each, Evaluated)]
    proposed = trials.proposed(loop.history)
    baseline = loop.header.baseline_val_bpb
    lowest = min([baseline, *(each.val_bpb for each in evaluated)])
    return Tally(
        iterations=len(done),
        evaluated=len(evaluated),
        accepted=sum(each.decision is Decision.KEEP for each in evaluated),
        accepted_significant=len(beyond_noise(loop, level)),
        repeats=len(again),
        refused=sum(isinstance(each, Blocked) for each in done),
        failures=len(failures),
        overruns=sum(each.eval_metrics.timed_out for each in failures),
        unanswered=sum(isinstance(each, NimError) for each in done),
        wasted_s=math.fsum(each.iter_wall_s for each in wasted),
        wall_s=math.fsum(each.iter_wall_s for each in done),
        gain=improvement(baseline, lowest),
        trials_without_improvement=trials.longest_drought(proposed),
        parents=len({parent.exp_id for parent, _ in loop.history.edges()}),
        depth=max((len(loop.history.chain(trial)) - 1 for trial in proposed), default=0),
    )


def beyond_noise(loop: FinishedLoop, level: float) -> tuple[Evaluated, ...]:
    """Return the candidates that a rule would keep which respects the noise."""
    evaluated = loop.trajectory.evaluated
    if not evaluated:
        return ()
    wanted = loop.noise.gain(len(evaluated), level)
    return tuple(each for each in evaluated if each.baseline_val_bpb - each.val_bpb >= wanted)


def repeated(done: Sequence[Iteration]) -> tuple[Iteration, ...]:
    """Return the iterations whose candidate was tried before, the baseline among them."""
    seen: set[TrainConfig] = set()
    again = []
    for each in done:
        if isinstance(each, Evaluated | EvalFailed):
            if each.candidate_cfg in seen:
                again.append(each)
            seen.add(each.candidate_cfg)
    return tuple(again)


def wrong_decisions(loop: FinishedLoop) -> tuple[int, ...]:
    """Return the iterations whose decision is not the one that its figures call for."""
    delta, hill_climb = loop.header.accept_delta_frac, loop.header.hill_climb
    return tuple(
        each.iteration
        for each in loop.trajectory.evaluated
        if each.decision
        is not decide(each.baseline_val_bpb, each.val_bpb, delta, hill_climb=hill_climb)
    )


def missing(loop: FinishedLoop, wanted: int) -> tuple[int, ...]:
    """Return the iterations that are not in the trajectory, or not in the record of trials."""
    done = {each.iteration for each in loop.trajectory.iterations}
    rows = {int(trial.exp_id) for trial in loop.history.trials}
    return tuple(number for number in range(1, wanted + 1) if number not in done & rows)
