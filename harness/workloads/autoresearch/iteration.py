"""From what happened in an iteration to its record, and from all records to the summary."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from harness.probes.energy import EnergyCounter
from harness.probes.reading import NotSupported
from harness.records import record
from harness.workloads.autoresearch.guardrails import Passed, Refused
from harness.workloads.autoresearch.journal import stamp
from harness.workloads.autoresearch.loop_state import Standing, decide, improvement
from harness.workloads.autoresearch.trajectory import (
    Blocked,
    Decision,
    EvalFailed,
    EvalFailure,
    EvalMetrics,
    Evaluated,
    Header,
    Iteration,
    LoopComplete,
    NimError,
    Proposal,
    Stage,
    TrainConfig,
)

_RAW_CHARACTERS = 300
_CRASHED = "revert (eval crash)"  # as the published loop writes it


@record
class Lap:
    """What an iteration took, from the end of the one before to its own.

    Attributes:
        energy_j: None where no probe tells.
    """

    wall_s: float
    energy_j: float | None


class Laps:
    """Measures the time of consecutive iterations, without gaps."""

    def __init__(self, energy_j: EnergyCounter) -> None:
        self._energy_j = energy_j

    def start(self) -> None:
        """Begin the first lap."""
        self._now_s, self._now_j = time.monotonic(), self._energy_j()

    def end(self) -> Lap:
        """End a lap and begin the next."""
        before_s, before_j = self._now_s, self._now_j
        self.start()
        ends = (before_j, self._now_j)
        known = [each for each in ends if not isinstance(each, NotSupported)]
        energy_j = known[1] - known[0] if len(known) == len(ends) else None
        return Lap(wall_s=self._now_s - before_s, energy_j=energy_j)


@record
class AskedProposal:
    """An iteration's proposal.

    Attributes:
        latency_s: what the proposer took.
    """

    iteration: int
    answer: str
    latency_s: float

    def evaluated(
        self, passed: Passed, metrics: EvalMetrics, seed: int, header: Header, here: Standing
    ) -> Evaluated:
        """Return the record of a candidate with a figure; its lap is still running."""
        value = metrics.val_bpb
        return Evaluated(
            stage=Stage.EVALUATED,
            iteration=self.iteration,
            ended_at=stamp(),
            verdict_ok=True,
            proposal=passed.proposal,
            diff=passed.diff,
            candidate_cfg=passed.candidate,
            eval_metrics=metrics,
            val_bpb=value,
            baseline_val_bpb=here.base_val_bpb,
            improvement_frac=improvement(here.base_val_bpb, value),
            decision=decide(
                here.base_val_bpb, value, header.accept_delta_frac, hill_climb=header.hill_climb
            ),
            is_new_best=value < here.lowest_val_bpb,
            nim_latency_s=self.latency_s,
            iter_wall_s=0.0,
            eval_seed=seed,
        )

    def failed(self, passed: Passed, failure: EvalFailure, seed: int) -> EvalFailed:
        """Return the record of a candidate without a figure."""
        return EvalFailed(
            stage=Stage.EVAL_FAILED,
            iteration=self.iteration,
            ended_at=stamp(),
            verdict_ok=True,
            proposal=passed.proposal,
            diff=passed.diff,
            candidate_cfg=passed.candidate,
            eval_metrics=failure,
            decision=_CRASHED,
            nim_latency_s=self.latency_s,
            iter_wall_s=0.0,
            eval_seed=seed,
        )

    def impossible(self, passed: Passed, base: TrainConfig) -> EvalFailed:
        """Return the record of an unusable candidate: published guardrails let a NaN through.

        JSON has no form for it, so its value is recorded as text, and the base is used instead.
        """
        error = f"{passed.proposal.knob} is {passed.proposal.new_value}, no number"
        proposal = Proposal(
            knob=passed.proposal.knob,
            new_value=str(passed.proposal.new_value),
            reason=passed.proposal.reason,
        )
        shown = Passed(proposal=proposal, candidate=base, diff=passed.diff)
        return self.failed(shown, EvalFailure(ok=False, oom=False, error=error), seed=0)

    def blocked(self, refused: Refused) -> Blocked:
        """Return the record of an answer that a rail refused.

        What passed R1 to R3 is a proposal and recorded as one, of anything else its beginning.
        """
        given = refused.proposal
        value = None if given is None else given.new_value
        has_json_form = not isinstance(value, float) or math.isfinite(value)
        return Blocked(
            stage=Stage.BLOCKED,
            iteration=self.iteration,
            ended_at=stamp(),
            verdict_ok=False,
            rail=refused.guardrail,
            reason=refused.reason,
            proposal=given if has_json_form else None,
            raw=self.answer[:_RAW_CHARACTERS],
            nim_latency_s=self.latency_s,
            iter_wall_s=0.0,
        )


def unanswered(iteration: int, error: str) -> NimError:
    """Return the record of an iteration without an answer."""
    return NimError(
        stage=Stage.NIM_ERROR,
        iteration=iteration,
        ended_at=stamp(),
        nim_error=error,
        iter_wall_s=0.0,
    )


def summary(header: Header, past: Sequence[Iteration]) -> LoopComplete:
    """Return the record that ends a loop."""
    evaluated = [each for each in past if isinstance(each, Evaluated)]
    keeps = sum(each.decision is Decision.KEEP for each in evaluated)
    best = min(evaluated, key=lambda each: each.val_bpb, default=None)
    wall_s = math.fsum(each.iter_wall_s for each in past)
    lowest = header.baseline_val_bpb if best is None else best.val_bpb
    return LoopComplete(
        stage=Stage.LOOP_COMPLETE,
        iters_requested=len(past),
        accept_count=keeps,
        revert_count=len(evaluated) - keeps,
        block_count=sum(isinstance(each, Blocked) for each in past),
        eval_fail_count=sum(isinstance(each, EvalFailed) for each in past),
        loop_wall_s=wall_s,
        loop_wall_min=wall_s / 60.0,
        baseline_val_bpb=header.baseline_val_bpb,
        best_val_bpb=lowest,
        best_proposal=None if best is None else best.proposal,
        best_improvement_frac=improvement(header.baseline_val_bpb, lowest),
    )
