"""The kinds that ask whether a difference is more than chance.

They answer INCONCLUSIVE where the sample is too small to tell, with the effect that it could have
seen with power 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness.check import wording
from harness.check.finding import Judgement, call_invalid, inconclusive, outside, reproduced
from harness.check.measured import Measured
from harness.check.rows import MeasurementRow
from harness.records import record
from harness.scenario import expectations as ledger
from harness.statistics import (
    POWER,
    Detectable,
    Proportion,
    Sample,
    above_test,
    below_test,
    detectable_rates,
    equivalence_margin,
    equivalence_test,
    noninferiority_margin,
    sample,
    two_proportions,
)

MIN_REPLICATES = 3  # below it a spread says too little for a test of means
_MIN_SPREAD = 2
_WHOLE = 1e-3  # how far rate times trials may lie from a whole number of successes


def proportion(entry: ledger.ProportionEntry, measured: Measured) -> Judgement:
    """The rate cannot be told from the expected one, by a sample that could have told.

    Replicates are pooled. The sample must be as large as the expected figure's:
    a smaller one that shows no difference says less than the article did.
    """
    target = entry.expect
    reference = wording.reference(entry)
    seen = _pooled([_proportion(row) for row in measured.rows.samples(entry)])
    text = wording.proportion(seen, target.alpha)
    p_value, test = two_proportions(seen, reference)
    sight = _sight(detectable_rates(reference, seen.trials, target.alpha))
    detail = f"{test} p = {p_value:.3g}; {sight}"
    if p_value < target.alpha:
        return outside(text, detail)
    if seen.trials < reference.trials:
        return inconclusive(text, f"{seen.trials} trials, expected {reference.trials}; {detail}")
    return reproduced(text, detail)


def equivalence(entry: ledger.EquivalenceEntry, measured: Measured) -> Judgement:
    """The replicates' mean lies within the margin of the value, by two one-sided t-tests."""
    value, margin = entry.expect.value, _margin(entry, measured)
    seen = _sample(entry, measured)
    if seen.count < MIN_REPLICATES:
        return _too_few(entry, seen, equivalence_margin)
    beyond = min(above_test(seen, value + margin), below_test(seen, value - margin))
    tested = _Tested(name="TOST", shown=equivalence_test(seen, value, margin), refuted=beyond)
    return _decided(entry, seen, tested, equivalence_margin)


def noninferiority(entry: ledger.NoninferiorityEntry, measured: Measured) -> Judgement:
    """The replicates' mean is not worse than the value by the margin, by a one-sided t-test."""
    sign = measured.sign(entry)
    bound = entry.expect.value - sign * _margin(entry, measured)
    seen = _sample(entry, measured)
    if seen.count < MIN_REPLICATES:
        return _too_few(entry, seen, noninferiority_margin)
    shown, refuted = above_test(seen, bound), below_test(seen, bound)
    if sign < 0:
        shown, refuted = refuted, shown
    tested = _Tested(name="one-sided t-test", shown=shown, refuted=refuted)
    return _decided(entry, seen, tested, noninferiority_margin)


# --- proportions ----------------------------------------------------------------------------------


def _proportion(row: MeasurementRow) -> Proportion:
    """Return successes and trials of a row whose value is a rate and whose count its trials."""
    trials = row.measurement.count
    successes = row.number("1") * trials
    whole = round(successes)
    if abs(successes - whole) > _WHOLE or not 0 <= whole <= trials or trials < 1:
        call_invalid(f"{row.label}: {successes:g} of {trials} is not a count of successes")
    return Proportion(successes=whole, trials=trials)


def _pooled(each: Sequence[Proportion]) -> Proportion:
    return Proportion(
        successes=sum(one.successes for one in each), trials=sum(one.trials for one in each)
    )


def _sight(rates: Detectable) -> str:
    told = {"below": rates.below, "above": rates.above}
    sides = [f"{side} {wording.percent(rate)}" for side, rate in told.items() if rate is not None]
    seen = f"a rate {' or '.join(sides)}" if sides else "no other rate"
    return f"could have distinguished it from {seen} with power {POWER:g}"


# --- means ----------------------------------------------------------------------------------------

Margin = Callable[[Sample, float], float]


@record
class _Tested:
    """The p-values of a test and of its reverse.

    Attributes:
        shown: small where the claim is shown.
        refuted: small where the claim's contrary is shown.
    """

    name: str
    shown: float
    refuted: float


def _sample(entry: ledger.Expectation, measured: Measured) -> Sample:
    """Return the replicates; their spread is at least what rounding to the metric's steps makes."""
    seen = sample([row.number(entry.unit) for row in measured.rows.samples(entry)])
    rounding = measured.resolution(entry) / math.sqrt(12)
    if seen.count < _MIN_SPREAD or seen.std >= rounding:
        return seen
    return Sample(count=seen.count, mean=seen.mean, std=rounding)


def _margin(
    entry: ledger.EquivalenceEntry | ledger.NoninferiorityEntry, measured: Measured
) -> float:
    return max(entry.expect.margin, measured.resolution(entry))


def _decided(
    entry: ledger.EquivalenceEntry | ledger.NoninferiorityEntry,
    seen: Sample,
    tested: _Tested,
    margin: Margin,
) -> Judgement:
    alpha, text = entry.expect.alpha, _mean(seen, entry.unit)
    if tested.shown <= alpha:
        return reproduced(text, f"{tested.name} p = {tested.shown:.3g}")
    if tested.refuted <= alpha:
        return outside(text, f"beyond the margin, p = {tested.refuted:.3g}")
    sight = _could_have_shown(entry, seen, margin)
    return inconclusive(text, f"{tested.name} p = {tested.shown:.3g}; {sight}")


def _too_few(
    entry: ledger.EquivalenceEntry | ledger.NoninferiorityEntry, seen: Sample, margin: Margin
) -> Judgement:
    needs = f"needs {MIN_REPLICATES} replicates, has {seen.count}"
    if seen.count < _MIN_SPREAD:
        return inconclusive(_mean(seen, entry.unit), f"{needs}: their spread is unknown")
    return inconclusive(
        _mean(seen, entry.unit), f"{needs}; {_could_have_shown(entry, seen, margin)}"
    )


def _could_have_shown(
    entry: ledger.EquivalenceEntry | ledger.NoninferiorityEntry, seen: Sample, margin: Margin
) -> str:
    smallest = wording.figure(margin(seen, entry.expect.alpha), entry.unit)
    return f"could have shown a margin of {smallest} with power {POWER:g}"


def _mean(seen: Sample, unit: str) -> str:
    if seen.count < _MIN_SPREAD:
        return wording.figure(seen.mean, unit)
    spread = wording.figure(seen.std, unit)
    return f"{wording.figure(seen.mean, unit)}, sd {spread}, n = {seen.count}"
