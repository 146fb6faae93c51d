"""The claim ledger: ``expectations.yaml``, each figure as claimed, recorded and derived.

An entry keeps what the article prints (`claimed`), what its raw data holds (`recorded`) and what
recomputation gives (`derived`), and says what a run is expected to measure (`expect`), where that
binds and why the tolerance is what it is. Where the three disagree the entry declares it with
`diverges`; an undeclared disagreement fails the check.

`Ledger` is the file: sections, and entries that leave out what their section, their metric or
their own figures already say. `harness.scenario.sections` fills that in and gives `Expectations`,
the complete entries that everything else reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, SkipValidation, field_validator, model_validator

from harness.records import VerdictKind, digest
from harness.scenario.schema import Name, ProfileName, RowKey, Scalar, Strict, Text, written

EntryId = Annotated[
    str, written(r"^[a-z0-9][a-z0-9_.-]*$", "lower-case words joined by dots, _ or -", 100)
]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Point = Annotated[tuple[float, float], Field(strict=False)]  # a list in the file


class EvidenceClass(StrEnum):
    """How far a figure travels."""

    ARITHMETIC = "arithmetic"  # holds anywhere, exactly
    INVARIANT = "invariant"  # near hardware-independent
    RELATIVE = "relative"  # a ratio within one run
    DEVICE = "device"  # binds only on the named device
    QUALITATIVE = "qualitative"  # direction or order; holds for the small profile too
    REPORTED = "reported"  # shown in every table, never counted: it cannot fail


class Printed(Strict):
    """A figure as printed, with the step of its last digit.

    Attributes:
        value: the figure.
        quantum: the smallest difference the printing can show; a figure agrees with it when it
            rounds to it, that is, lies within half a quantum.
    """

    value: Scalar
    quantum: Positive | None = None

    @property
    def step(self) -> float:
        """The quantum given, or that of the last digit as written: 4.61 -> 0.01."""
        if self.quantum is not None:
            return self.quantum
        exponent = Decimal(repr(self.value)).as_tuple().exponent
        return float(10.0 ** min(int(exponent), 0))


def _as_figure(given: Any) -> Any:
    return given if given is None or isinstance(given, dict | Printed) else {"value": given}


# written as the bare figure, or as {value, quantum} where its last digit does not show the step
Figure = Annotated[
    Printed | None, BeforeValidator(_as_figure, json_schema_input_type=Printed | Scalar)
]


class Tolerance(Strict):
    """A target with an absolute or relative tolerance, or an interval; at least one side."""

    value: float | None = None
    abs: NonNegative | None = None
    rel: NonNegative | None = None
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        around = self.value is not None
        within = self.low is not None or self.high is not None
        if around == within:
            message = "give either value with abs or rel, or low and/or high"
            raise ValueError(message)
        if around and (self.abs is None) == (self.rel is None):
            message = "value needs exactly one of abs and rel"
            raise ValueError(message)
        if within and (self.abs is not None or self.rel is not None):
            message = "abs and rel go with value, not with low and high"
            raise ValueError(message)
        if self.low is not None and self.high is not None and self.low > self.high:
            message = "low is above high"
            raise ValueError(message)
        if self.value == 0 and self.rel:
            message = "rel of a value of 0 allows no deviation: give abs"
            raise ValueError(message)
        return self

    @property
    def interval(self) -> tuple[float, float]:
        """The accepted interval, both ends included; infinite where a side is open."""
        if self.value is None:
            low = float("-inf") if self.low is None else self.low
            return low, float("inf") if self.high is None else self.high
        margin = self.abs if self.abs is not None else (self.rel or 0.0) * abs(self.value)
        return self.value - margin, self.value + margin


class Cell(Strict):
    """Selects measurements: a metric, and swept params or row keys that must match."""

    metric: Name
    where: Mapping[RowKey, Scalar] = {}


class Binds(Strict):
    """Where an expectation can be compared; an empty field binds everywhere."""

    profile: tuple[ProfileName, ...] = Field(default=(), strict=False)
    device: Text | None = None


class ExactTarget(Strict):
    """The very value: integer, text, hash or flag."""

    value: Scalar


class BoundTarget(Tolerance):
    """A tolerance, or with `noise` the effect that matters.

    Then a test asks whether the mean lies within it: the more replicates, the smaller an effect is
    seen.

    Attributes:
        noise: standard deviation of a single run's figure, absolute beside `abs`, relative beside
            `rel`.
        alpha: level of the test.
    """

    noise: Positive | None = None
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05

    @model_validator(mode="after")
    def _noise_about_a_value(self) -> Self:
        if self.noise is not None and self.value is None:
            message = "noise goes with value, not with low and high"
            raise ValueError(message)
        return self


class RatioTarget(Tolerance):
    """The metric divided by the metric of another cell of the same results."""

    to: Cell


class OrderingTarget(Strict):
    """The metric is better than in the cells of `than`, by at least `margin` (in the unit).

    Cells are paired over every param or row key that `where` and `than.where` leave free. With
    `or_equal`, and without a margin, a tie will do.
    """

    than: Cell
    margin: NonNegative = 0.0
    or_equal: bool = False

    @model_validator(mode="after")
    def _has_one_meaning(self) -> Self:
        if self.or_equal and self.margin:
            message = "give or_equal or a margin, not both"
            raise ValueError(message)
        return self


class ProportionTarget(Strict):
    """A rate that `successes` of `trials` show, or a known `constant` that a rate is not above.

    A sample is compared by a two-proportion test, a constant by exact binomial tests, at level
    `alpha`. The measurement's value is a proportion and its `count` the number of trials.

    Attributes:
        constant: a rate that is known and no sample, such as that of a constant answer. The
            measured rate must not be better by `margin` or more.
        clusters: how many tasks the trials of one run share; in every replicate the same.
        icc: intraclass correlation of the trials of a task.
    """

    successes: Annotated[int, Field(ge=0)] | None = None
    trials: Annotated[int, Field(ge=1)] | None = None
    constant: Annotated[float, Field(ge=0, le=1)] | None = None
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    clusters: Annotated[int, Field(ge=2)] | None = None
    icc: Annotated[float, Field(gt=0, le=1)] | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        has_sample = self.successes is not None and self.trials is not None
        has_constant = self.constant is not None and self.margin is not None
        given = (self.successes, self.trials, self.constant, self.margin)
        if has_sample == has_constant or sum(each is not None for each in given) > 2:  # noqa: PLR2004 - one of two pairs
            message = "give either successes and trials, or constant and margin"
            raise ValueError(message)
        if self.successes is not None and self.trials is not None and self.successes > self.trials:
            message = "more successes than trials"
            raise ValueError(message)
        if (self.clusters is None) != (self.icc is None):
            message = "clusters and icc go together"
            raise ValueError(message)
        return self


class TrajectoryTarget(Strict):
    """A series along `key`: no point further than `max_abs`, the mean residual within `mean_abs`.

    The second bound catches a one-sided drift that the first lets through.
    """

    key: RowKey = "step"
    points: Annotated[list[Point], Field(min_length=1)]
    max_abs: Positive
    mean_abs: Positive

    @model_validator(mode="after")
    def _both_bounds_bind(self) -> Self:
        if self.mean_abs > self.max_abs:
            message = "mean_abs is above max_abs: no mean is above the largest"
            raise ValueError(message)
        if len({at for at, _ in self.points}) < len(self.points):
            message = "two points have the same key"
            raise ValueError(message)
        return self


class LawTarget(Strict):
    """A named relation of `harness.check.laws`, which holds on any device."""

    law: Name
    params: Mapping[Name, Any] = {}
    rel: NonNegative | None = None
    abs: NonNegative | None = None


class EquivalenceTarget(Strict):
    """The replicates' mean lies within `margin` of `value` (two one-sided t-tests)."""

    value: float
    margin: Positive
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05


class NoninferiorityTarget(EquivalenceTarget):
    """The replicates' mean is not worse than `value` by more than `margin` (one-sided t-test)."""


Target = Annotated[
    ExactTarget
    | BoundTarget
    | RatioTarget
    | OrderingTarget
    | ProportionTarget
    | TrajectoryTarget
    | LawTarget
    | EquivalenceTarget,
    SkipValidation,  # which of them it is, only the whole entry tells
]
Kind = Literal[
    "exact",
    "bound",
    "ratio",
    "ordering",
    "proportion",
    "trajectory",
    "law",
    "equivalence",
    "noninferiority",
    "reported",
    "arithmetic",
]


class Defaults(Strict):
    """What the entries of a section have in common.

    An entry that writes a key itself means its own value; `where` alone is put together of both.
    """

    metric: Name | None = None
    where: Mapping[RowKey, Scalar] = {}
    unit: str | None = None
    evidence_class: Annotated[EvidenceClass | None, Field(strict=False, alias="class")] = None
    kind: Kind | None = None
    expect: Target | None = None
    binds: Binds = Binds()
    source: Text | None = None
    reason: Text | None = None


class WrittenEntry(Defaults):
    """An entry as written in the file; missing keys come from the defaults or are derived."""

    id: EntryId
    claimed: Figure = None
    recorded: Figure = None
    derived: Figure = None
    formula: Text | None = None
    diverges: Text | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _derived_once(self) -> Self:
        other = self.model_fields_set & {"derived", "recorded", "expect", "binds", "reason"}
        if self.formula is not None and other:
            message = f"a formula says it all: it goes with no {', '.join(sorted(other))}"
            raise ValueError(message)
        return self


class Given(Strict):
    """A printed number that formulas start from.

    Attributes:
        unit: of `harness.units`.
        source: where it is printed.
    """

    value: float
    unit: str
    source: Text


class Section(Strict):
    """Entries that belong together, under a heading."""

    title: Text
    defaults: Defaults = Defaults()
    entries: Annotated[list[WrittenEntry], Field(min_length=1)]


class Ledger(Strict):
    """The ledger of one scenario as it is written: ``scenarios/<id>/expectations.yaml``."""

    scenario: Name | str
    given: Mapping[RowKey, Given] = {}
    sections: Annotated[list[Section], Field(min_length=1)]


class Entry(Strict):
    """What every kind of entry holds once it is complete."""

    id: EntryId
    metric: Name
    where: Mapping[RowKey, Scalar] = {}
    unit: str
    evidence_class: Annotated[EvidenceClass, Field(strict=False, alias="class")]
    claimed: Figure = None
    recorded: Figure = None
    derived: Figure = None
    binds: Binds = Binds()
    source: Text
    reason: Text | None = None
    diverges: Text | None = None
    note: Text | None = None


class ExactEntry(Entry):
    """The value itself."""

    kind: Literal["exact"]
    expect: ExactTarget


class TolerantEntry(Entry):
    """What every kind holds whose target is a judgement: why the tolerance is what it is."""

    reason: Text


class BoundEntry(TolerantEntry):
    """A value with a tolerance, or an interval."""

    kind: Literal["bound"]
    expect: BoundTarget


class RatioEntry(TolerantEntry):
    """Two metrics of the same results."""

    kind: Literal["ratio"]
    expect: RatioTarget


class OrderingEntry(Entry):
    """One cell better than another."""

    kind: Literal["ordering"]
    expect: OrderingTarget


class ProportionEntry(Entry):
    """k of n."""

    kind: Literal["proportion"]
    expect: ProportionTarget

    @model_validator(mode="after")
    def _reason_for_a_margin(self) -> Self:
        if self.expect.constant is not None and self.reason is None:
            message = "a margin needs a reason"
            raise ValueError(message)
        return self


class TrajectoryEntry(TolerantEntry):
    """A series along steps."""

    kind: Literal["trajectory"]
    expect: TrajectoryTarget


class LawEntry(TolerantEntry):
    """A named relation between measurements."""

    kind: Literal["law"]
    expect: LawTarget


class EquivalenceEntry(TolerantEntry):
    """Statistically the same, over replicates."""

    kind: Literal["equivalence"]
    expect: EquivalenceTarget


class NoninferiorityEntry(TolerantEntry):
    """Statistically not worse, over replicates."""

    kind: Literal["noninferiority"]
    expect: NoninferiorityTarget


class Reported(Entry):
    """A figure of the class `reported`, without an expectation."""

    kind: Literal["reported"]
    expect: None = None

    @field_validator("evidence_class")
    @classmethod
    def _reported(cls, given: EvidenceClass) -> EvidenceClass:
        if given is not EvidenceClass.REPORTED:
            message = "must be reported if there is no expect"
            raise ValueError(message)
        return given


class ArithmeticEntry(Entry):
    """A figure that follows from printed numbers alone: `formula` gives what is derived."""

    kind: Literal["arithmetic"]
    expect: None = None
    formula: Text

    @field_validator("evidence_class")
    @classmethod
    def _arithmetic(cls, given: EvidenceClass) -> EvidenceClass:
        if given is not EvidenceClass.ARITHMETIC:
            message = "must be arithmetic where a formula is given"
            raise ValueError(message)
        return given


Expectation = Annotated[
    ExactEntry
    | BoundEntry
    | RatioEntry
    | OrderingEntry
    | ProportionEntry
    | TrajectoryEntry
    | LawEntry
    | EquivalenceEntry
    | NoninferiorityEntry
    | Reported
    | ArithmeticEntry,
    Field(discriminator="kind"),
]

KINDS: tuple[type[Entry], ...] = get_args(get_args(Expectation)[0])
EXPECT_KEYS = frozenset(
    field.alias or name
    for kind in KINDS
    if (expect := kind.model_fields["expect"].annotation) is not None
    and hasattr(expect, "model_fields")
    for name, field in expect.model_fields.items()
)
"""Every key that `expect` may have in one kind or another."""


class Expectations(Strict):
    """The complete entries of one scenario's ledger, in its order."""

    scenario: Name | str
    given: Mapping[RowKey, Given] = {}
    expectations: Annotated[list[Expectation], Field(min_length=1)]


_PROSE = {"source", "reason", "note", "claimed", "diverges"}


def fingerprint(entry: Entry) -> str:
    """Return a digest (12 hex digits) of all of an entry that judges results.

    The prose about it, and what the article prints, judge none.
    """
    judging = entry.model_dump(mode="json", by_alias=True, exclude=_PROSE, exclude_defaults=True)
    return digest(judging)[:12]


def fingerprints(ledger: Expectations) -> dict[str, str]:
    """Return expectation -> fingerprint, of all that results can be judged by."""
    return {
        entry.id: fingerprint(entry)
        for entry in ledger.expectations
        if not isinstance(entry, ArithmeticEntry)
    }


def claim_verdict(entry: Entry) -> tuple[VerdictKind | None, str]:
    """Compare the printed claim with the ledger's own truth (derived, else recorded).

    Returns:
        The verdict (None where nothing was printed or nothing is known) and the disagreement in
        one line: REPRODUCED if the claim rounds to the truth, ARTICLE DIFFERS if it does not and
        the entry says so, OUTSIDE if it does not and the entry is silent, UNEXPECTED MATCH where
        the entry declares a divergence that is not there.
    """
    claimed, truth = entry.claimed, entry.derived or entry.recorded
    if claimed is None or truth is None:
        return None, ""
    column = "recorded" if entry.derived is None else "derived"
    detail = f"claimed {claimed.value}, {column} {truth.value}"
    if _agree(claimed, truth):
        if entry.diverges:
            return VerdictKind.UNEXPECTED_MATCH, f"{detail}: declared divergent, yet they agree"
        return VerdictKind.REPRODUCED, ""
    if entry.diverges:
        return VerdictKind.ARTICLE_DIFFERS, f"{detail}: {entry.diverges}"
    return VerdictKind.OUTSIDE, f"{detail}: the entry does not declare this (key `diverges`)"


def _agree(claimed: Printed, truth: Printed) -> bool:
    one, other = claimed.value, truth.value
    if _is_number(one) and _is_number(other):
        slack = claimed.step / 2
        return abs(float(one) - float(other)) <= slack * (1 + 1e-9)  # type: ignore[arg-type]
    return one == other


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
