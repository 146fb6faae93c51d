"""Workload ``lineage.release_evidence``: the published runs of an auto-research system, recounted.

Every figure of article 35 that the runs' own files can settle, whatever the article prints for it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from harness.errors import InputError, Problem
from harness.experiments.a35.params import ReleaseEvidenceParams
from harness.experiments.a35.release import Repair, Run, read_run
from harness.records import Scalar
from harness.statistics import Proportion, fisher_exact
from harness.workloads.api.context import Context
from harness.workloads.trials import recount
from harness.workloads.trials.history import History
from harness.workloads.trials.recount import VALID
from harness.workloads.trials.trial import Label, Trial

Figure = tuple[str, Scalar, Mapping[str, Scalar]]  # metric, value, row keys

_FILES = ("results.tsv", "tree.tsv", "best.json")
_OVERRUN = Label.EVAL_BUDGET_OVERRUN
_HOUR_S = 3600.0


def run(context: Context) -> None:
    """Recount each run, then the ablation.

    Raises:
        InputError: a run is not of the published form, or two have the same folder name.
    """
    params: ReleaseEvidenceParams = context.params
    shown, hidden = _read(context, params.shown), _read(context, params.hidden)
    runs = (shown, hidden, *(_read(context, folder) for folder in params.others))
    if len({each.name for each in runs}) < len(runs):
        names = ", ".join(each.name for each in runs)
        raise InputError([Problem(message="two runs have one name", key="others", value=names)])
    context.emit.started("no device: published files")
    for each in runs:
        for note in each.notes:
            context.emit.note(f"{each.name}: {note}")
        for metric, value, where in figures_of(each, params):
            absent = "no trial has it" if value is None else ""
            context.emit.measured(metric, value, where={"run": each.name, **where}, absent=absent)
    for metric, ratio in ablation_of(shown.history, hidden.history):
        absent = "a count is zero" if ratio is None else ""
        context.emit.measured(metric, ratio, absent=absent)


def _read(context: Context, folder: str) -> Run:
    results, *_ = (context.evidence(f"{folder}/{name}") for name in _FILES)
    return read_run(results.parent)


def figures_of(each: Run, params: ReleaseEvidenceParams) -> Iterator[Figure]:
    """Yield every figure of one run."""
    trials = recount.proposed(each.history)
    yield from _files(each, trials)
    yield from _labels(trials, len(each.history.trials), params)
    yield from _roles(trials)
    yield from _best(each, params.head)
    yield from _tree(each, trials)
    yield from _keeps(each.history, trials)
    yield from _time(trials)
    yield from _misses(each.history, trials, params)
    yield from _words(each.history, trials)


def _files(each: Run, trials: Sequence[Trial]) -> Iterator[Figure]:
    history, repairs = each.history, Counter(repair for _, _, repair in each.damaged)
    damaged = {exp_id for _, exp_id, _ in each.damaged}
    keeps = recount.of(trials, Label.KEEP)
    yield "run.rows", len(history.trials) + repairs[Repair.NONE], {}
    yield "run.trials", len(trials), {}
    yield "run.columns", len(history.layout.columns), {}
    for repair in Repair:
        yield "run.damaged", repairs[repair], {"repair": repair.value}
    yield "run.prefixed_parents", each.num_prefixed, {}
    yield "run.undamaged_keeps", sum(keep.exp_id not in damaged for keep in keeps), {}


def _labels(
    trials: Sequence[Trial], num_rows: int, params: ReleaseEvidenceParams
) -> Iterator[Figure]:
    for label in Label:
        if label is Label.BASELINE:
            continue
        found = recount.of(trials, label)
        yield "label.count", len(found), {"label": label.value}
        yield "head.count", len(recount.of(trials[: params.head], label)), {"label": label.value}
        for first, part in recount.windows(trials, params.window):
            count = len(recount.of(part, label))
            yield "window.count", count, {"first": first, "label": label.value}
    parts = {"keep": (Label.KEEP,), "valid": VALID, "overrun": (_OVERRUN,)}
    for name, labels in parts.items():
        count = len(recount.of(trials, *labels))
        for per, total in (("trials", len(trials)), ("rows", num_rows)):
            yield f"{name}.share", _percent(count, total), {"per": per}


def _roles(trials: Sequence[Trial]) -> Iterator[Figure]:
    counts = Counter((trial.specialist, trial.status) for trial in trials)
    roles, labels = {role for role, _ in counts}, {label for _, label in counts}
    for role in sorted(roles):
        for label in sorted(labels):
            yield "role.count", counts[role, label], {"role": role, "label": label.value}
    yield "roles.active", len(roles), {}
    yield "roles.keeping", sum(counts[role, Label.KEEP] > 0 for role in roles), {}


def _best(each: Run, head: int) -> Iterator[Figure]:
    history = each.history
    start = next((t for t in history.trials if t.status is Label.BASELINE), None)
    first = History(history.layout, history.trials[: head + 1])
    best, unguarded = history.best(), recount.without_guard(history)

    def score(trial: Trial | None) -> float | None:
        return None if trial is None else history.layout.score_of(trial)

    before, after = score(start), score(best)
    yield "best.trial", None if best is None else best.exp_id, {}
    yield "best.recorded", each.recorded_best, {}
    yield "best.score", after, {}
    yield "best.gain", _percent(after - before, before) if after and before else None, {}
    yield "start.score", before, {}
    yield "head.best", score(first.best()), {}
    yield "unguarded.trial", None if unguarded is None else unguarded.exp_id, {}
    yield "unguarded.label", None if unguarded is None else unguarded.status.value, {}
    yield "unguarded.score", score(unguarded), {}


def _tree(each: Run, trials: Sequence[Trial]) -> Iterator[Figure]:
    history, edges = each.history, each.history.edges()
    best = history.best()
    chain = history.chain(best) if best else []
    yield "parents.count", len({parent.exp_id for parent, _ in edges}), {}
    of_keeps = [(parent, child) for parent, child in edges if child.status is Label.KEEP]
    for of, some in (("trials", edges), ("keeps", of_keeps)):
        yield "edges.count", len(some), {"of": of}
        yield "edges.crossing", sum(p.specialist != c.specialist for p, c in some), {"of": of}
    yield "chain.trials", len(chain), {}
    yield "chain.roles", len({trial.specialist for trial in chain[1:]}), {}
    yield "chain.path", " ".join(trial.exp_id for trial in chain), {}
    depths = (len(history.chain(trial)) - 1 for trial in history.trials)
    yield "tree.depth", max(depths, default=0), {}
    yield "tree.recorded_depth", each.recorded_depth, {}
    yield "drought.longest", recount.longest_drought(trials), {}


def _keeps(history: History, trials: Sequence[Trial]) -> Iterator[Figure]:
    for keep in recount.of(trials, Label.KEEP):
        row = {"trial": keep.exp_id}
        yield "keep.score", history.layout.score_of(keep), row
        yield "keep.delta", keep.delta_vs_best, row
        yield "keep.role", keep.specialist, row
        yield "keep.parent", keep.parent_exp, row


def _time(trials: Sequence[Trial]) -> Iterator[Figure]:
    total_s = recount.wall_s(trials)
    lost_s = recount.wall_s(recount.of(trials, *recount.LOST))
    yield "hour.trials", recount.hourly(trials), {}
    yield "wall.total", total_s / _HOUR_S, {}
    yield "lost.wall", lost_s / _HOUR_S, {}
    yield "lost.share", _percent(lost_s, total_s), {}
    for label in sorted({trial.status for trial in trials}):
        some, row = recount.of(trials, label), {"label": label.value}
        times_s = recount.figures(some, "total_s")
        yield "wall.label", sum(times_s) / _HOUR_S if times_s else None, row
        yield "trial.wall", _median(times_s), row


def _misses(
    history: History, trials: Sequence[Trial], params: ReleaseEvidenceParams
) -> Iterator[Figure]:
    overruns = recount.of(trials, _OVERRUN)
    times_s = recount.figures(overruns, "eval_s")
    valid_s = recount.figures(recount.of(trials, *VALID), "eval_s")
    blocked_s = recount.figures(recount.of(trials, Label.SIZE_BLOCKED), "train_s")
    missed = recount.would_have_been_keeps(history)
    median_s = _median(times_s)
    yield "overrun.scored", sum(history.layout.score_of(each) is not None for each in overruns), {}
    yield "overrun.would_keep", len(missed), {}
    yield "overrun.would_keep_trials", " ".join(each.exp_id for each in missed), {}
    yield "overrun.eval_time", min(times_s, default=None), {"statistic": "min"}
    yield "overrun.eval_time", median_s, {"statistic": "median"}
    yield "overrun.eval_time", max(times_s, default=None), {"statistic": "max"}
    over_s = None if median_s is None else median_s - params.eval_cap_s
    yield "overrun.overshoot", over_s and _percent(over_s, params.eval_cap_s), {}
    yield "valid.eval_time", _median(valid_s), {}
    yield "valid.over_cap", sum(each > params.eval_cap_s for each in valid_s), {}
    yield "size_blocked.trained", sum(each >= params.train_cap_s for each in blocked_s), {}


def _words(history: History, trials: Sequence[Trial]) -> Iterator[Figure]:
    right, compared = recount.forecasts(trials)
    yield "forecast.right", right, {}
    yield "forecast.compared", compared, {}
    notes = (trial.notes.encode(errors="surrogatepass") for trial in history.trials)
    yield "notes.size", sum(map(len, notes)), {}


def ablation_of(shown: History, hidden: History) -> Iterator[tuple[str, float | None]]:
    """Yield what showing past trials changed; None where a ratio has no denominator."""
    arms = recount.proposed(shown), recount.proposed(hidden)
    keeps, keeps_hidden = (recount.of(arm, Label.KEEP) for arm in arms)
    valid, valid_hidden = (recount.of(arm, *VALID) for arm in arms)
    overruns, overruns_hidden = (recount.of(arm, _OVERRUN) for arm in arms)
    lost_s, lost_hidden_s = (recount.wall_s(recount.of(arm, *recount.LOST)) for arm in arms)
    yield "keeps.ratio", _ratio(len(keeps), len(keeps_hidden))
    yield "valid.ratio", _ratio(len(valid), len(valid_hidden))
    yield "overruns.ratio", _ratio(len(overruns_hidden), len(overruns))
    yield "overruns.wall_ratio", _ratio(recount.wall_s(overruns_hidden), recount.wall_s(overruns))
    yield "lost.ratio", _ratio(lost_hidden_s, lost_s)
    yield "best.gap", _gap(shown, hidden)
    yield "fisher.keeps_p", _p_value((keeps, keeps_hidden), arms)
    yield "fisher.overruns_p", _p_value((overruns, overruns_hidden), arms)


def _p_value(found: Sequence[list[Trial]], arms: Sequence[list[Trial]]) -> float | None:
    if not all(arms):
        return None
    pairs = zip(found, arms, strict=True)
    one, other = (Proportion(successes=len(some), trials=len(arm)) for some, arm in pairs)
    return fisher_exact(one, other)


def _gap(shown: History, hidden: History) -> float | None:
    scores = [each.layout.score_of(best) for each in (shown, hidden) if (best := each.best())]
    one, other = scores if len(scores) == 2 else (None, None)  # noqa: PLR2004 - both arms
    return None if one is None or other is None else other - one


def _ratio(one: float, other: float) -> float | None:
    return one / other if other else None


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
