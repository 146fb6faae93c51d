"""Figures of finished loops, for the workloads of this package."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from harness.experiments.a22 import noise as noises
from harness.experiments.a22 import recount
from harness.records import Scalar
from harness.workloads.api.emit import EventWriter
from harness.workloads.autoresearch import guardrail_cases as cases
from harness.workloads.autoresearch.guardrails import Guardrail, Guardrails
from harness.workloads.autoresearch.loop_state import improvement
from harness.workloads.autoresearch.search_space import Space
from harness.workloads.autoresearch.summary import (
    FinishedLoop,
    Tally,
    missing,
    repeated,
    tally,
    wrong_decisions,
)
from harness.workloads.autoresearch.trajectory import (
    BaselineEval,
    Blocked,
    EvalFailed,
    Evaluated,
    Iteration,
    NimError,
    Stage,
)
from harness.workloads.models.shape import num_parameters

_PERCENT = 100.0
_J_PER_WH = 3600.0


def loop(emit: EventWriter, done: FinishedLoop, baseline: BaselineEval, level: float) -> None:
    """Report everything that a loop found, but for its time.

    Args:
        emit: the event writer.
        done: the loop.
        baseline: the starting point.
        level: chance of any false keep that the noise rule allows itself.
    """
    found = tally(done, level)
    measured, cfg = baseline.baseline_metrics, baseline.baseline_cfg
    emit.measured("baseline.val_bpb", measured.val_bpb)
    emit.measured("baseline.train_loss_first", measured.train_loss_first)
    emit.measured("baseline.train_loss_last", measured.train_loss_last)
    emit.measured("baseline.parameters", num_parameters(cfg.shape))
    emit.measured("baseline.tokens", recount.tokens_per_step(cfg) * cfg.steps)
    unknown = (
        "" if baseline.entropy_floor_bits is not None else "nobody knows it of a packed corpus"
    )
    emit.measured("corpus.entropy_floor", baseline.entropy_floor_bits, absent=unknown)
    wrong = sum(
        round(each.eval_metrics.params_m * 1e6) != num_parameters(each.candidate_cfg.shape)
        for each in done.trajectory.evaluated
    )
    emit.measured("parameters.wrong", wrong)
    _report_iterations(emit, done)
    _report_decisions(emit, done, found)
    _report_noise(emit, done, level)
    tried = [e for e in done.trajectory.iterations if isinstance(e, Evaluated | EvalFailed)]
    again = repeated(done.trajectory.iterations)
    knobs = [each.proposal.knob for each in tried]
    none = "" if tried else "nothing was tried"
    emit.measured("repeat.count", len(again))
    emit.measured("repeat.rate", len(again) / len(tried) if tried else None, absent=none)
    emit.measured("repeat.unique_pairs", len({each.proposal.pair for each in tried}))
    emit.measured("knobs.touched", len(set(knobs)))
    emit.measured("entropy.knob", recount.entropy_bits(knobs))
    if not done.header.hill_climb:
        _report_values(emit, done)
    # every iteration is in the record of trials, and its tree is whole
    emit.measured("record.rows", len(done.history.trials))
    emit.measured("record.damaged", done.damaged)
    emit.measured("record.parents", found.parents)
    emit.measured("record.depth", found.depth)
    emit.measured("record.trials_without_improvement", found.trials_without_improvement)


def _report_iterations(emit: EventWriter, done: FinishedLoop) -> None:
    """Report each iteration, and the lines of its plot: the noise is a band round the baseline."""
    header = done.header
    baseline, delta = header.baseline_val_bpb, header.accept_delta_frac
    lines = {
        "baseline": baseline,
        "baseline + 2 sd": baseline + 2 * done.noise.std,
        "baseline - 2 sd": baseline - 2 * done.noise.std,
        "keep threshold": baseline * (1.0 - delta),
    }
    lowest = baseline
    for each in done.trajectory.iterations:
        where: dict[str, Scalar] = {"iteration": each.iteration}
        proposed, outcome = _told(each)
        emit.measured("iteration.proposal", proposed, where=where)
        emit.measured("iteration.outcome", outcome, where=where)
        if isinstance(each, Evaluated):
            lowest = min(lowest, each.val_bpb)
            gain = improvement(each.baseline_val_bpb, each.val_bpb)
            emit.measured("iteration.val_bpb", each.val_bpb, where=where)
            emit.measured("iteration.improvement", gain * _PERCENT, where=where)
            emit.measured("eval.val_bpb", each.val_bpb, where={**where, "curve": "candidate"})
        emit.measured("eval.val_bpb_min", lowest, where=where)
    for iteration in {1, len(done.trajectory.iterations)}:
        for curve, value in lines.items():
            where = {"iteration": iteration, "curve": curve}
            emit.measured("eval.val_bpb", value, where=where)


def _told(each: Iteration) -> tuple[str, str]:
    """Return an iteration's proposal and its result."""
    match each:
        case Evaluated():
            return each.proposal.pair, each.decision
        case EvalFailed():
            outcome = "over its limit" if each.eval_metrics.timed_out else "failed"
            return each.proposal.pair, outcome
        case Blocked():
            return "refused", each.rail
        case NimError():
            return "no answer", "no answer"


def _report_decisions(emit: EventWriter, done: FinishedLoop, found: Tally) -> None:
    baseline = done.header.baseline_val_bpb
    for stage in (Stage.EVALUATED, Stage.BLOCKED, Stage.EVAL_FAILED, Stage.NIM_ERROR):
        count = done.trajectory.count(stage)
        emit.measured("iterations.count", count, where={"stage": stage.value})
    rails = Counter(each.rail for each in done.trajectory.iterations if isinstance(each, Blocked))
    for rail in Guardrail:
        emit.measured("guardrails.refused", rails[rail], where={"guardrail": rail.value})
    emit.measured("accepted.by_article_rule", found.accepted)
    emit.measured("accepted.significant", found.accepted_significant)
    none = "" if found.evaluated else "nothing was evaluated"
    rate = found.accepted / found.evaluated if found.evaluated else None
    emit.measured("decisions.accept_rate", rate, absent=none, count=found.evaluated)
    emit.measured("overruns.count", found.overruns)
    emit.measured("decisions.wrong", len(wrong_decisions(done)))
    values = [each.val_bpb for each in done.trajectory.evaluated]
    lower = sum(value < baseline for value in values)
    emit.measured("decisions.lower", lower)
    emit.measured("decisions.higher", sum(value > baseline for value in values))
    emit.measured("decisions.threshold", baseline * (1.0 - done.header.accept_delta_frac))
    best = min(done.trajectory.evaluated, key=lambda each: each.val_bpb, default=None)
    emit.measured("best.val_bpb", best.val_bpb if best else None, absent=none)
    emit.measured("best.proposal", best.proposal.pair if best else None, absent=none)
    emit.measured("best.improvement", found.gain * _PERCENT)
    reseeded = sum(
        each.candidate_cfg.seed != done.header.baseline_cfg.seed
        for each in done.trajectory.iterations
        if isinstance(each, Evaluated | EvalFailed)
    )
    emit.measured("seeds.changed", reseeded)


def _report_noise(emit: EventWriter, done: FinishedLoop, level: float) -> None:
    """Report how far the baseline scatters, and what the keep rule is worth then."""
    drawn, baseline = done.noise, done.header.baseline_val_bpb
    evaluated = len(done.trajectory.evaluated)
    threshold = done.header.accept_delta_frac * baseline
    emit.measured("noise.std", drawn.std, count=drawn.count)
    emit.measured("noise.std_relative", drawn.std / baseline * _PERCENT, count=drawn.count)
    emit.measured("noise.degrees_of_freedom", drawn.count - 1)
    emit.measured("noise.threshold", threshold / drawn.std)
    risk = noises.false_keep_risk(threshold, drawn.std)
    emit.measured("noise.false_accept_risk", risk)
    emit.measured("noise.false_accepts", risk * evaluated)
    floor = drawn.gain(evaluated, level) / baseline * _PERCENT if evaluated else None
    emit.measured("noise.floor", floor, absent="" if evaluated else "nothing was evaluated")
    groups = recount.grouped(done.trajectory.evaluated, lambda each: each.candidate_cfg)
    pooled = noises.pooled_sd([each.val_bpb for each in members] for members in groups.values())
    none = "" if pooled else "no configuration was evaluated twice"
    emit.measured("noise.repeat_std", pooled.std if pooled else None, absent=none)


def _report_values(emit: EventWriter, done: FinishedLoop) -> None:
    """Report every knob=value that was evaluated, against the one baseline."""
    firsts = {each.proposal.pair: each.proposal for each in reversed(done.trajectory.evaluated)}
    for pair, row in recount.by_value(done.trajectory).items():
        where = {"knob": firsts[pair].knob, "value": firsts[pair].new_value}
        figures, gains = row.val_bpb, row.improvements
        none = "" if figures.std is not None else "a single trial"
        emit.measured("value.trials", figures.count, where=where)
        emit.measured("value.accepted", len(row.accepted), where=where)
        emit.measured("value.val_bpb_mean", figures.mean, where=where, count=figures.count)
        emit.measured("value.val_bpb_std", figures.std, where=where, absent=none)
        emit.measured("value.improvement_mean", gains.mean * _PERCENT, where=where)


def resume(emit: EventWriter, done: FinishedLoop, wanted: int, kills: int) -> None:
    """Report that a loop did every iteration once, however often it was killed."""
    numbers = Counter(each.iteration for each in done.trajectory.iterations)
    emit.measured("resume.kills", kills)
    emit.measured("resume.missing", len(missing(done, wanted)))
    emit.measured("resume.repeated", sum(count > 1 for count in numbers.values()))
    emit.measured("trajectory.torn_lines", int(bool(done.trajectory.torn)))


def rails(emit: EventWriter, space: Space) -> None:
    """Report how the rails judge the cases of their truth table."""
    table = cases.cases(space)
    emit.measured("guardrails.cases", len(table))
    for rules in Guardrails:
        where = {"guardrails": rules.value}
        wrong = cases.wrong(space, rules)
        for name in wrong:
            emit.note(f"{rules} rails judge otherwise: {name}")
        emit.measured("guardrails.wrong", len(wrong), where=where)
        passed = sum(cases.expected(case, rules) is None for case in table)
        emit.measured("guardrails.passing", passed, where=where)


def time(emit: EventWriter, done: FinishedLoop, wall_s: float, level: float) -> None:
    """Report where the time, and the energy where a probe tells, went."""
    iterations, evaluated = done.trajectory.iterations, done.trajectory.evaluated
    emit.measured("loop.time", wall_s)
    _spread(emit, "loop.iteration", [each.iter_wall_s for each in iterations])
    asked = [each.nim_latency_s for each in iterations if not isinstance(each, NimError)]
    _spread(emit, "loop.proposer", asked)
    measured = [each.eval_metrics for each in evaluated]
    _spread(emit, "loop.evaluation", [each.train_wall_s + each.val_wall_s for each in measured])
    total_s = math.fsum(each.iter_wall_s for each in evaluated)
    rest_s = math.fsum(recount.overhead_s(each) for each in evaluated)
    none = "" if evaluated else "nothing was evaluated"
    share = rest_s / total_s * _PERCENT if evaluated else None
    emit.measured("loop.overhead", share, absent=none, count=len(evaluated))
    found = tally(done, level)
    emit.measured("loop.wasted", found.wasted_s)
    emit.measured("loop.wasted_share", found.wasted_s / found.wall_s * _PERCENT)
    known = [each.energy_j / _J_PER_WH for each in evaluated if each.energy_j is not None]
    if known:
        _spread(emit, "loop.energy", known)
    else:
        where = {"statistic": "mean"}
        emit.measured("loop.energy", None, where=where, absent="no probe of this machine tells")


def _spread(emit: EventWriter, metric: str, values: Sequence[float]) -> None:
    if not values:
        emit.measured(metric, None, where={"statistic": "mean"}, absent="nothing to measure")
        return
    shown: dict[str, Scalar] = {
        "mean": statistics.fmean(values),
        "median": statistics.median(values),
        "max": max(values),
    }
    for statistic, value in shown.items():
        emit.measured(metric, value, where={"statistic": statistic}, count=len(values))
