"""Iterations as trials of article 35's record, and what a proposer is shown of them.

The score is called val_bpb there, bits per byte; here it is bits per token, as in article 22.
"""

from __future__ import annotations

from enum import StrEnum

from harness.records import record
from harness.workloads.autoresearch.guardrails import Guardrails
from harness.workloads.autoresearch.loop_state import Standing
from harness.workloads.autoresearch.trajectory import (
    Blocked,
    Decision,
    EvalFailed,
    Evaluated,
    Header,
    Iteration,
    NimError,
    Proposal,
)
from harness.workloads.trials.history import History
from harness.workloads.trials.render import Briefing, render
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import PARAMETER_GOLF, Label, Trial

LAYOUT = PARAMETER_GOLF  # its score is val_bpb, lower is better, and it has both times
_NOTES_LENGTH = 200


class ProposerContext(StrEnum):
    """What a proposer is shown of the past."""

    NONE = "none"  # the best so far, and nothing else
    WINDOW = "window"  # the last iterations, a line each, as in article 22
    LINEAGE = "lineage"  # the record of article 35


@record
class Author:
    """Who proposes, and under which rules.

    Attributes:
        name: the role in the record.
    """

    name: str
    guardrails: Guardrails

    def trial(self, done: Iteration, before: Standing) -> Trial:
        """Return an iteration as a row; `before` is where the loop stood before it."""
        base = {
            "exp_id": name_of(done.iteration),
            "timestamp": done.ended_at,
            "specialist": self.name,
            "parent_exp": name_of(before.base_iteration),
            "baseline_exp": name_of(before.best_iteration),
            "total_s": done.iter_wall_s,
        }
        match done:
            case Evaluated():
                is_kept = done.decision is Decision.KEEP
                return Trial(
                    **base,  # type: ignore[arg-type]
                    domain=done.proposal.knob,
                    hypothesis=self._hypothesis(done.proposal),
                    status=Label.KEEP if is_kept else Label.DISCARD,
                    val_bpb=done.val_bpb,
                    delta_vs_best=done.val_bpb - before.best_val_bpb,
                    train_s=done.eval_metrics.train_wall_s,
                    eval_s=done.eval_metrics.val_wall_s,
                )
            case EvalFailed():
                over = done.eval_metrics.timed_out
                return Trial(
                    **base,  # type: ignore[arg-type]
                    domain=done.proposal.knob,
                    hypothesis=self._hypothesis(done.proposal),
                    status=Label.TRAIN_BUDGET_OVERRUN if over else Label.CRASH,
                    notes=done.eval_metrics.error[:_NOTES_LENGTH],
                )
            case Blocked():
                notes = f"{done.rail}: {done.reason}"[:_NOTES_LENGTH]
                return Trial(**base, status=Label.PREFLIGHT_CRASH, notes=notes)  # type: ignore[arg-type]
            case NimError():
                return Trial(**base, status=Label.HARNESS_ABORT)  # type: ignore[arg-type]

    def _hypothesis(self, proposal: Proposal) -> str:
        """Return the change; with its reason, for later proposers to read, as published only."""
        if self.guardrails is Guardrails.CLOSED:
            return proposal.pair
        return f"{proposal.pair}: {proposal.reason}"


def baseline_trial(header: Header) -> Trial:
    """Return the row that every search starts from."""
    return Trial(exp_id=name_of(0), status=Label.BASELINE, val_bpb=header.baseline_val_bpb)


def catch_up(store: TrialStore, trials: list[Trial]) -> None:
    """Write the trials that the store does not have: those behind the last whole row of a kill."""
    history = store.history()
    for trial in trials:
        if history.get(trial.exp_id) is None:
            store.append(trial)


def shown(history: History, memory: ProposerContext, name: str) -> str:
    """Return the block of past trials: all that a proposer is shown of them.

    Without the record there is a line about the best, as in article 35's control (its search kept
    the id and the score of the best on view).
    """
    if memory is ProposerContext.LINEAGE:
        return render(history, Briefing(specialist=name))
    best = history.best()
    if best is None:
        return ""
    return f"Current best: exp_{best.exp_id} (val_bpb={best.val_bpb:.6f}).\n"


def name_of(iteration: int) -> str:
    """Return the id of an iteration in the record."""
    return f"{iteration:03}"
