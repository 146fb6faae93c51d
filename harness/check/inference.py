"""The kinds that ask whether a difference is more than chance.

They answer INCONCLUSIVE where the sample is too small to tell, with the effect that it could have
seen with power 0.8. All tests of the counted entries of a ledger are decided together, with Holm's
correction: the chance that any of them is wrongly refuted stays below the level, and so does the
chance that any is wrongly shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import stdev

from harness.check import wording
from harness.check.finding import (
    Judgement,
    SignificanceTest,
    call_invalid,
    decided_by,
)
from harness.check.measured import Measured
from harness.check.rows import MeasurementRow
from harness.records import VerdictKind, record
from harness.scenario import expectations as ledger
from harness.statistics import (
    POWER,
    Proportion,
    Sample,
    above_test,
    below_test,
    binomial_tails,
    clustered_z,
    detectable_effect,
    detectable_rate_above,
    detectable_rates,
    holm,
    is_discrete,
    largest_spread,
    normal_tail,
    sample,
    sign_test,
    two_proportions,
)

MIN_REPLICATES = 3  # below it a spread says too little for a test of means
_MIN_SPREAD = 2
_WHOLE = 1e-3  # how far rate times trials may lie from a whole number of successes


# --- several tests --------------------------------------------------------------------------------


def decide(findings: Mapping[str, Judgement], counted: set[str]) -> dict[str, Judgement]:
    """Return every finding with the kind that its test decides.

    Args:
        findings: by the id of their entry.
        counted: the entries that count; Holm's correction is over their tests. Any other is tested
            alone.
    """
    tests = {name: found.test for name, found in findings.items() if found.test is not None}
    together = [name for name in tests if name in counted]
    refuted = {name: test.refuted for name, test in tests.items()}
    shown = {name: test.shown for name, test in tests.items() if test.shown is not None}
    for p_values in (refuted, shown):
        names = [name for name in together if name in p_values]
        p_values.update(zip(names, holm([p_values[name] for name in names]), strict=True))
    return {
        name: _decided(
            found, refuted[name], shown.get(name), len(together) if name in together else 1
        )
        if name in tests
        else found
        for name, found in findings.items()
    }


def _decided(found: Judgement, refuted: float, shown: float | None, num_tests: int) -> Judgement:
    """Return the finding that corrected p-values decide."""
    test = found.test
    assert test is not None
    sees = test.sight(test.alpha / num_tests)
    over = f" by Holm over {num_tests} tests" if num_tests > 1 else ""
    if shown is not None and shown <= test.alpha:
        kind, said = VerdictKind.REPRODUCED, f"{test.name} p = {shown:.3g}{over}"
    elif refuted <= test.alpha:
        refutation = test.refutation or test.name
        kind, said = VerdictKind.OUTSIDE, f"{refutation} p = {refuted:.3g}{over}"
    else:
        p_value = refuted if shown is None else shown
        kind, said = test.otherwise, f"{test.name} p = {p_value:.3g}{over}"
    unseen = (
        f"could have seen {sees} with power {POWER:g}" if kind is VerdictKind.INCONCLUSIVE else ""
    )
    detail = "; ".join(part for part in (found.detail, said, unseen) if part)
    return replace(found, kind=kind, detail=detail, sees=sees)


# --- proportions ----------------------------------------------------------------------------------


def proportion(entry: ledger.ProportionEntry, measured: Measured) -> Judgement:
    """The rate cannot be told from the expected one, or is not better than a constant."""
    rows = [_proportion(row) for row in measured.rows.samples(entry)]
    seen = Proportion(
        successes=sum(one.successes for one in rows), trials=sum(one.trials for one in rows)
    )
    if entry.expect.constant is not None:
        return _against_constant(entry.expect.constant, seen, entry, measured)
    return _against_sample(seen, entry)


def _against_sample(seen: Proportion, entry: ledger.ProportionEntry) -> Judgement:
    """The rate cannot be told from the expected one, by a sample that could have told.

    Replicates are pooled. The sample must be as large as the expected figure's: a smaller one that
    shows no difference says less than the article did. And it must see some rate at all.
    """
    target, reference = entry.expect, wording.reference(entry)
    effects = wording.effect(seen, target), wording.effect(reference, target)
    if max(effects) > 1:
        p_value, name = clustered_z(seen, reference, effects), "z-test over clusters"
    else:
        p_value, name = two_proportions(seen, reference)

    def sight(alpha: float) -> str:
        rates = detectable_rates(reference, seen.trials, alpha, effects=effects)
        told = {"below": rates.below, "above": rates.above}
        sides = [f"{side} {wording.percent(at)}" for side, at in told.items() if at is not None]
        return f"a rate {' or '.join(sides)}" if sides else "no other rate"

    is_small = seen.trials < reference.trials
    rates = detectable_rates(reference, seen.trials, target.alpha, effects=effects)
    is_blind = rates.below is None and rates.above is None
    test = SignificanceTest(
        name=name,
        alpha=target.alpha,
        refuted=p_value,
        otherwise=VerdictKind.INCONCLUSIVE if is_small or is_blind else VerdictKind.REPRODUCED,
        sight=sight,
    )
    few = f"{seen.trials} trials, expected {reference.trials}" if is_small else ""
    return decided_by(wording.proportion(seen, target), test, few)


def _against_constant(
    constant: float, seen: Proportion, entry: ledger.ProportionEntry, measured: Measured
) -> Judgement:
    """The rate is not better than a known constant by the margin; exact binomial tests."""
    target, sign = entry.expect, measured.sign(entry)
    trials = seen.trials / wording.effect(seen, target)
    rate = seen.rate if sign > 0 else 1 - seen.rate
    base = constant if sign > 0 else 1 - constant
    as_good_as_margin, _ = binomial_tails(rate * trials, trials, base + (target.margin or 0.0))
    _, no_better = binomial_tails(rate * trials, trials, base)

    def sight(alpha: float) -> str:
        found = detectable_rate_above(trials, base, alpha)
        if found is None:
            return "no better rate"
        word, at = ("above", found) if sign > 0 else ("below", 1 - found)
        return f"a rate {word} {wording.percent(at)}"

    test = SignificanceTest(
        name="exact binomial test",
        alpha=target.alpha,
        shown=as_good_as_margin,
        refuted=no_better,
        refutation="better than the constant,",
        sight=sight,
    )
    effective = f"as {trials:.3g} independent trials" if trials < seen.trials else ""
    return decided_by(wording.proportion(seen, target), test, effective)


def _proportion(row: MeasurementRow) -> Proportion:
    """Return successes and trials of a row whose value is a rate and whose count its trials."""
    trials = row.measurement.count
    successes = row.number("1") * trials
    whole = round(successes)
    if abs(successes - whole) > _WHOLE or not 0 <= whole <= trials or trials < 1:
        call_invalid(f"{row.label}: {successes:g} of {trials} is not a count of successes")
    return Proportion(successes=whole, trials=trials)


# --- means ----------------------------------------------------------------------------------------


@record
class Scatter:
    """Values that scatter by chance, and what they say of the mean they scatter about.

    Attributes:
        values: one a replicate, or one a pair.
        step: the smallest difference of two values, where they are counted; 0 if unknown.
        noise: a known standard deviation of one value; None where only the values tell.
    """

    values: tuple[float, ...]
    step: float = 0.0
    noise: float | None = None

    @property
    def is_discrete(self) -> bool:
        """Whether tests must permute the values."""
        return self.noise is None and is_discrete(self.values, self.step or 1.0)

    @property
    def is_known(self) -> bool:
        """Whether the spread is that of `noise`; replicates that contradict it are believed."""
        if self.noise is None:
            return False
        count = len(self.values)
        return count < _MIN_SPREAD or stdev(self.values) <= largest_spread(self.noise, count)

    @property
    def test(self) -> str:
        """The name of the test that `above` and `below` make."""
        if self.is_discrete:
            return "sign-flip test"
        return "z-test of the known noise" if self.is_known else "t-test"

    @property
    def sample(self) -> Sample:
        """The spread is what is known of it, or else at least what rounding to steps makes."""
        found = sample(self.values)
        if self.noise is not None and self.is_known:
            return replace(found, std=self.noise)
        return replace(found, std=max(found.std, self.step / math.sqrt(12)))

    def above(self, bound: float) -> float:
        """Return the p-value of "the mean is `bound` or less"; small: it lies above."""
        if self.is_discrete:
            return sign_test(self.values, bound)[1]
        if self.is_known:
            return normal_tail((self.sample.mean - bound) / self.sample.standard_error)
        return above_test(self.sample, bound)

    def below(self, bound: float) -> float:
        """Return the p-value of "the mean is `bound` or more"; small: it lies below."""
        if self.is_discrete:
            return sign_test(self.values, bound)[0]
        if self.is_known:
            return normal_tail((bound - self.sample.mean) / self.sample.standard_error)
        return below_test(self.sample, bound)

    def sees(self, alpha: float, power: float = POWER) -> float | None:
        """Return how far from a bound the true mean must lie to be shown there.

        None where no mean would be: flipped signs of n values have no p-value below 2 ** -n.
        """
        found = self.sample
        if self.is_discrete:
            least = 0.5**found.count
            if alpha < least:
                return None
            alpha = math.floor(alpha / least) * least
        degrees = math.inf if self.is_known else found.count - 1
        return detectable_effect(degrees, alpha, power) * found.standard_error


def equivalence(entry: ledger.EquivalenceEntry, measured: Measured) -> Judgement:
    """The replicates' mean lies within the margin of the value, by two one-sided tests."""
    margin = max(entry.expect.margin, measured.resolution(entry))
    scatter = Scatter(values=_values(entry, measured), step=measured.resolution(entry))
    return _within(entry.unit, entry.expect.value, margin, entry.expect.alpha, scatter)


def noisy_bound(entry: ledger.BoundEntry, measured: Measured) -> Judgement:
    """The mean lies within the tolerance of the value, for a known noise of one run."""
    low, high = entry.expect.interval
    value, margin = (low + high) / 2, (high - low) / 2
    noise = entry.expect.noise or 0.0
    noise *= abs(value) if entry.expect.rel is not None else 1.0
    scatter = Scatter(values=_values(entry, measured), noise=noise)
    return _within(entry.unit, value, margin, entry.expect.alpha, scatter)


def _within(unit: str, value: float, margin: float, alpha: float, scatter: Scatter) -> Judgement:
    low, high = value - margin, value + margin

    def sight(level: float) -> str:
        return sight_text(scatter, level / 2, unit, "the margin")

    if scatter.noise is None and (few := too_few(scatter, unit, sight(alpha))):
        return few
    test = SignificanceTest(
        name=f"TOST, {scatter.test}",
        alpha=alpha,
        shown=max(scatter.above(low), scatter.below(high)),
        refuted=min(1.0, 2 * min(scatter.above(high), scatter.below(low))),  # beyond either end
        refutation="beyond the margin,",
        sight=sight,
    )
    return decided_by(mean_text(scatter.sample, unit), test)


def noninferiority(entry: ledger.NoninferiorityEntry, measured: Measured) -> Judgement:
    """The replicates' mean is not worse than the value by the margin, by a one-sided test."""
    sign, step = measured.sign(entry), measured.resolution(entry)
    bound = entry.expect.value - sign * max(entry.expect.margin, step)
    scatter = Scatter(values=_values(entry, measured), step=step)

    def sight(level: float) -> str:
        return sight_text(scatter, level, entry.unit, wording.figure(bound, entry.unit))

    if few := too_few(scatter, entry.unit, sight(entry.expect.alpha)):
        return few
    above, below = scatter.above(bound), scatter.below(bound)
    test = SignificanceTest(
        name=scatter.test,
        alpha=entry.expect.alpha,
        shown=above if sign > 0 else below,
        refuted=below if sign > 0 else above,
        refutation="beyond the margin,",
        sight=sight,
    )
    return decided_by(mean_text(scatter.sample, entry.unit), test)


def too_few(scatter: Scatter, unit: str, sight: str) -> Judgement | None:
    """Return that there are too few replicates for a test of means; None if there are enough."""
    if (count := len(scatter.values)) >= MIN_REPLICATES:
        return None
    needs = f"needs {MIN_REPLICATES} replicates, has {count}"
    could = f"could have seen {sight} with power {POWER:g}"
    is_alone = count < _MIN_SPREAD
    return Judgement(
        kind=VerdictKind.INCONCLUSIVE,
        measured=mean_text(scatter.sample, unit),
        detail=f"{needs}: their spread is unknown" if is_alone else f"{needs}; {could}",
        sees="" if is_alone else sight,
    )


def sight_text(scatter: Scatter, alpha: float, unit: str, bound: str) -> str:
    """Return which means a scatter of values would probably show to lie beyond a bound."""
    if len(scatter.values) < _MIN_SPREAD and scatter.noise is None:
        return ""
    effect = scatter.sees(alpha)
    if effect is None:
        return f"no mean: counted values need {math.ceil(-math.log2(alpha))} replicates"
    return f"a mean {wording.figure(effect, unit)} beyond {bound}"


def mean_text(seen: Sample, unit: str) -> str:
    """Return a mean, its spread and how many values there are."""
    if math.isnan(seen.std):
        return wording.figure(seen.mean, unit)
    spread = wording.figure(seen.std, unit)
    return f"{wording.figure(seen.mean, unit)}, sd {spread}, n = {seen.count}"


def _values(entry: ledger.Expectation, measured: Measured) -> tuple[float, ...]:
    return tuple(row.number(entry.unit) for row in measured.rows.samples(entry))
