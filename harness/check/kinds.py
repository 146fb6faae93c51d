"""One function per kind of expectation: from an entry and the measurements to a finding.

Where a cell was run several times its mean is compared, except by `exact`, `ordering` and the laws
of a single run, which every sample must satisfy, and by the kinds that test statistically
(`harness.check.inference`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable
from statistics import fmean

from harness.check import wording
from harness.check.finding import Judgement, call_invalid, call_missing, judged
from harness.check.inference import equivalence, noisy_bound, noninferiority, proportion
from harness.check.laws import law
from harness.check.measured import Measured
from harness.check.rows import MeasurementRow, is_number, refuse_several_cells
from harness.check.tolerance import ROUND_OFF, accepted, accepts, shortfall
from harness.records import Scalar, VerdictKind
from harness.scenario import expectations as ledger
from harness.statistics import POWER, Interval, sample, t_quantile
from harness.units import UNITS


def compare(entry: ledger.Expectation, measured: Measured) -> Judgement:  # noqa: C901 - a case a kind
    """Compare one entry with what was measured.

    Raises:
        Unanswered: the comparison was impossible; it carries the finding.
    """
    match entry:
        case ledger.ExactEntry():
            return exact(entry, measured)
        case ledger.BoundEntry():
            has_noise = entry.expect.noise is not None and not measured.recomputed
            return noisy_bound(entry, measured) if has_noise else bound(entry, measured)
        case ledger.RatioEntry():
            return ratio(entry, measured)
        case ledger.OrderingEntry():
            return ordering(entry, measured)
        case ledger.ProportionEntry():
            return proportion(entry, measured)
        case ledger.TrajectoryEntry():
            return trajectory(entry, measured)
        case ledger.LawEntry():
            return law(entry, measured)
        case ledger.EquivalenceEntry():
            return equivalence(entry, measured)
        case ledger.NoninferiorityEntry():
            return noninferiority(entry, measured)
        case ledger.Reported():
            return reported(entry, measured)
        case ledger.ArithmeticEntry():
            return Judgement(kind=VerdictKind.ARITHMETIC, detail=entry.formula)


def exact(entry: ledger.ExactEntry, measured: Measured) -> Judgement:
    """Every sample is the very value: a whole number, text, a hash or a flag."""
    found = [row.value(entry.unit) for row in measured.rows.samples(entry)]
    wrong = [value for value in found if not _same(value, entry.expect.value)]
    text = wording.figure((wrong or found)[0], entry.unit)
    if not wrong:
        detail = f"all {len(found)} samples" if len(found) > 1 else ""
    elif len(found) > 1:
        detail = f"{len(wrong)} of {len(found)} samples differ"
    else:
        detail = _difference(wrong[0], entry.expect.value)
    return judged(not wrong, text, detail, "any difference")


def reported(entry: ledger.Reported, measured: Measured) -> Judgement:
    """Nothing is expected: every figure that the entry selects is shown."""
    found = [row.value(entry.unit) for row in measured.rows.select(entry)]
    numbers = [value for value in found if is_number(value)]
    if len(numbers) == len(found):
        text = wording.span(numbers, entry.unit)
    else:
        text = wording.several([*dict.fromkeys(wording.figure(each, entry.unit) for each in found)])
    return Judgement(kind=VerdictKind.REPORTED, measured=text)


def bound(entry: ledger.BoundEntry, measured: Measured) -> Judgement:
    """The mean of the samples lies in the interval."""
    values = [row.number(entry.unit) for row in measured.rows.samples(entry)]
    mean = fmean(values)
    interval = accepted(entry.expect, measured.resolution(entry))
    detail = _joined(_place(interval, mean, entry.unit), _spread(values, entry.unit))
    sees = _change(-shortfall(interval, mean), [values], entry.unit)
    return judged(accepts(interval, mean), wording.figure(mean, entry.unit), detail, sees)


def ratio(entry: ledger.RatioEntry, measured: Measured) -> Judgement:
    """One metric over another lies in the interval, in every cell that pairs."""
    groups, labels = _ratios(entry, measured)
    means = {cell: fmean(values) for cell, values in groups.items()}
    interval = accepted(entry.expect)
    worst = max(means, key=lambda cell: shortfall(interval, means[cell]))
    which = f"worst of {len(means)} cells: {labels[worst]}" if len(means) > 1 else ""
    holds = all(accepts(interval, value) for value in means.values())
    detail = _joined(which, _place(interval, means[worst], entry.unit))
    sees = _change(-shortfall(interval, means[worst]), [groups[worst]], entry.unit)
    return judged(holds, wording.span(list(means.values()), entry.unit), detail, sees)


def ordering(entry: ledger.OrderingEntry, measured: Measured) -> Judgement:
    """The metric is better, by the margin, in every pair; a tie only where `or_equal` says so.

    The detail tells the worst pair.
    """
    sign, margin = measured.sign(entry), entry.expect.margin
    leads = [
        (sign * (one.number(entry.unit) - other.number(entry.unit)), one, other)
        for one, other in measured.rows.pairs(entry, entry.expect.than)
    ]
    lead, one, other = min(leads, key=lambda each: each[0])
    values = one.number(entry.unit), other.number(entry.unit)
    forgiven = ROUND_OFF * max(abs(value) for value in values)
    against = f"{wording.number(values[0])} against {wording.figure(values[1], entry.unit)}"
    which = f"; worst of {len(leads)} pairs, {one.label}" if len(leads) > 1 else ""
    distance = wording.figure(abs(lead), entry.unit)
    is_tie = abs(lead) <= forgiven
    said = "equal" if is_tie else f"{distance} {'better' if lead > 0 else 'worse'}"
    is_better = lead >= margin - forgiven and not (is_tie and margin <= forgiven)
    holds = is_better or (is_tie and entry.expect.or_equal)
    sees = _change(lead - margin, [], entry.unit)
    return judged(holds, against, said + which, sees)


def trajectory(entry: ledger.TrajectoryEntry, measured: Measured) -> Judgement:
    """Every point of the series is close, and their mean residual shows no drift to one side."""
    target = entry.expect
    series = _series(measured.rows.select(entry), target.key, entry.unit)
    lacking = [wording.number(at) for at, _ in target.points if at not in series]
    if lacking:
        call_missing(f"{len(lacking)} points: {target.key}={wording.several(lacking)}")
    residuals = {at: series[at] - expected for at, expected in target.points}
    worst = max(residuals, key=lambda at: abs(residuals[at]))
    drift = fmean(residuals.values())
    step = measured.resolution(entry)
    scale = max(abs(value) for value in series.values())
    near = _close(residuals[worst], max(target.max_abs, step), scale)
    steady = _close(drift, max(target.mean_abs, step), scale)
    furthest = f"furthest {residuals[worst]:+.3g} at {target.key}={wording.number(worst)}"
    detail = f"{furthest}; on average {drift:+.3g} {entry.unit}"
    room = min(
        max(target.max_abs, step) - abs(residuals[worst]), max(target.mean_abs, step) - abs(drift)
    )
    sees = _change(room, [], entry.unit)
    return judged(near and steady, f"{len(residuals)} points", detail, sees)


def values_of(entry: ledger.Expectation, measured: Measured) -> list[Scalar]:
    """Return the samples of the one figure that an entry is about, in its unit.

    Raises:
        Unanswered: there is none, it cannot be used, or the entry is about several.
    """
    if isinstance(entry, ledger.TrajectoryEntry):
        call_invalid("is about a series")
    if not isinstance(entry, ledger.RatioEntry):
        return [row.value(entry.unit) for row in measured.rows.samples(entry)]
    groups, _ = _ratios(entry, measured)
    if len(groups) > 1:
        call_invalid(f"is about {len(groups)} cells")
    return [value for values in groups.values() for value in values]


# --- exact and bound ------------------------------------------------------------------------------


def _same(found: Scalar, expected: Scalar) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=ROUND_OFF)  # what a unit's factor may lose
    return found == expected


def _difference(found: Scalar, expected: Scalar) -> str:
    if is_number(found) and is_number(expected):
        return f"off by {found - expected:+.6g}"
    return "is different"


def _place(interval: Interval, value: float, unit: str) -> str:
    """Say how far outside the interval a value is; empty if it is inside."""
    if accepts(interval, value):
        return ""
    distance = wording.figure(shortfall(interval, value), unit)
    if value < interval.low:
        return f"{distance} below {wording.figure(interval.low, unit)}"
    return f"{distance} above {wording.figure(interval.high, unit)}"


def _spread(values: list[float], unit: str) -> str:
    return f"mean of {len(values)} samples, {wording.span(values, unit)}" if len(values) > 1 else ""


def _change(room: float, samples: list[list[float]], unit: str) -> str:
    """Return the smallest change of what was measured that would probably have been seen.

    Args:
        room: how far the mean of the samples lies within what is accepted.
        samples: of which the mean was taken; none where each is compared for itself.
        unit: of all of them.
    """
    if not math.isfinite(room):
        return ""
    seen = [sample(values) for values in samples if len(values) > 1]
    noise = max(
        (t_quantile(POWER, each.count - 1) * each.standard_error for each in seen), default=0.0
    )
    return f"a change of {wording.figure(max(room, 0.0) + noise, unit)}"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


# --- ratio and trajectory -------------------------------------------------------------------------


def _ratios(
    entry: ledger.RatioEntry, measured: Measured
) -> tuple[dict[Hashable, list[float]], dict[Hashable, str]]:
    """Return the ratios of each cell that pairs, and the cells' names."""
    if UNITS[entry.unit].dimension != "number":
        call_invalid(f"a ratio has the unit x, 1 or %, not {entry.unit}")
    groups: dict[Hashable, list[float]] = defaultdict(list)
    labels: dict[Hashable, str] = {}
    for one, other in measured.rows.pairs(entry, entry.expect.to):
        unit = one.measurement.unit
        below = other.number(unit)
        if below == 0:
            call_invalid(f"{other.label} is 0: cannot divide by it")
        groups[one.cell].append((one.number(unit) / below) / UNITS[entry.unit].factor)
        labels.setdefault(one.cell, one.label)
    return groups, labels


def _series(rows: list[MeasurementRow], key: str, unit: str) -> dict[float, float]:
    """Return key -> mean over the replicates; the rows are of one cell but for `key`."""
    refuse_several_cells(rows, besides=[key])
    samples: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        at = row.keys.get(key)
        if is_number(at):
            samples[float(at)].append(row.number(unit))
    return {at: fmean(values) for at, values in samples.items()}


def _close(residual: float, tolerance: float, scale: float) -> bool:
    return abs(residual) <= tolerance + ROUND_OFF * scale
