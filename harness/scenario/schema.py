"""The shape of ``scenario.yaml``: a declared question, and the profiles it is asked at.

`harness validate --schema scenario` exports this as JSON Schema for editors.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from harness.records import Profile

WRITTEN_AS: dict[str, str] = {}  # pattern -> its description


def written(pattern: str, words: str, max_length: int | None = None) -> StringConstraints:
    """Return the constraint that text is written as `pattern`, which asks for `words`."""
    WRITTEN_AS[pattern] = words
    return StringConstraints(pattern=pattern, max_length=max_length)


# of something declared elsewhere: looked up there, so that a wrong one has a nearest right one
Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
RowKey = Annotated[str, written(r"^[a-z][a-z0-9_]*$", "lower-case words joined by _", 80)]
Slug = Annotated[
    str, written(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", "lower-case words joined by dashes", 60)
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Day = Annotated[str, written(r"^\d{4}-\d{2}-\d{2}$", "a day, e.g. 2026-01-31")]
Sha256 = Annotated[str, written(r"^[0-9a-f]{64}$", "64 hex digits")]
Url = Annotated[str, written(r"^https://", "an address that begins with https://")]
RelativePath = Annotated[
    str,
    written(
        r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$",
        "a relative path of letters, digits and _.-",
    ),
]
ModelName = Annotated[
    str,
    written(
        r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*@[0-9a-f]{40}$",
        "organisation/name@revision, the revision in 40 hex digits",
    ),
]
Address = Annotated[
    str,
    written(
        r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._-]+)+$",
        "the address of an OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1",
    ),
]
Scalar = str | int | float | bool | None
ProfileName = Annotated[Profile, Field(strict=False)]  # text becomes the enum; nothing else is lax


class Strict(BaseModel):
    """No unknown keys, no silent conversions, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ScenarioStatus(StrEnum):
    """Whether the article's figures exist yet."""

    PUBLISHED = "published"
    PLANNED = "planned"


class PackageSet(StrEnum):
    """The set of packages under ``requirements/`` that a scenario's workloads need."""

    BASE = "base"
    TORCH = "torch"
    MEGATRON = "megatron"
    NEMO = "nemo"
    RL = "rl"


class Article(Strict):
    """The article whose experiment this is."""

    number: Annotated[int, Field(ge=0)]
    title: Text
    date: Day | None = None


class Sweep(Strict):
    """The params that vary. Only lists here are swept; a list elsewhere is a value.

    `product` axes are crossed in the order written, the last varying fastest; `zip` axes advance
    together, and are crossed with the product as its outermost axis; a cell matching every entry
    of an `exclude` item is left out.
    """

    product: Mapping[Name, Annotated[list[Any], Field(min_length=1)]] = {}
    zip: Mapping[Name, Annotated[list[Any], Field(min_length=1)]] = {}
    exclude: list[Mapping[Name, Any]] = []


class LimitsModel(Strict):
    """What one run may use; see `harness.records.Limits`."""

    stall_s: Annotated[float, Field(gt=0)] = 1800.0
    timeout_s: Annotated[float, Field(gt=0)] = 604_800.0
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    shm_gib: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    nodes: Annotated[int, Field(ge=1, le=8)] = 1
    network: bool = False
    cores: Annotated[int, Field(ge=1)] | None = None


class ServiceModel(Strict):
    """A model server that a profile's runs ask and that its user starts.

    Attributes:
        model: its name there.
        memory_gib: what the server takes of the machine that it is on.
        start: the command that starts it here.
        source: where the memory and the command come from.
    """

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    address: Address
    memory_gib: Annotated[float, Field(gt=0)]
    start: Text
    source: Text


class Estimate(Strict):
    """What a whole profile is expected to cost, for `harness plan`; each figure has a source."""

    hours: Annotated[float, Field(ge=0)]
    peak_memory_gib: Annotated[float, Field(ge=0)] | None = None
    energy_wh: Annotated[float, Field(ge=0)] | None = None
    download_gib: Annotated[float, Field(ge=0)] | None = None
    source: Text


class ProfileModel(Strict):
    """Where, and at what size, the question is asked.

    A profile that names its own `workload` starts from that workload's defaults; any other
    inherits the scenario's params and sweep. A profile's `sweep` replaces the scenario's whole.
    """

    summary: Text
    workload: Name | None = None
    image: Name | None = None
    params: Mapping[Name, Any] = {}
    sweep: Sweep | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    replicates: Annotated[int, Field(ge=1, le=1000)] | None = None
    uses: list[str] = []
    models: list[ModelName] = []
    services: Mapping[RowKey, ServiceModel] = {}
    limits: LimitsModel = LimitsModel()
    estimate: Estimate | None = None


class EvidenceFile(Strict):
    """A published raw file: its address and the sha256 of its content."""

    file: RelativePath
    url: Url | None = None
    sha256: Sha256
    size: Annotated[int, Field(ge=0)] | None = None


class IntervalKind(StrEnum):
    """How far a figure may be off, where no metric says so."""

    RUNS = "runs"  # 95 %, Student's t over three replicates or more
    SHARE = "share"  # the same of a figure between nothing and all, cut there
    WILSON = "wilson"  # 95 % of a share of `count` trials, of one run


IntervalOf = (
    Annotated[IntervalKind, Field(strict=False)]
    | Annotated[list[Name], Field(min_length=2, max_length=2)]
)
"""A kind of interval, or the metrics of its two ends."""

Label = Annotated[str, StringConstraints(min_length=1, max_length=60)]


class PlotKind(StrEnum):
    """How a plot shows its points."""

    LINE = "line"
    BAR = "bar"
    SCATTER = "scatter"
    TORNADO = "tornado"  # of each series the span of y, the widest first; x is written at the ends


class Plot(Strict):
    """One plot of the report: a metric against a param or a row key, of the cells that match.

    Attributes:
        x_label: x in words, without unit; of its name without it.
        y_label: y in words, without unit; of its name without it.
        interval: how far a figure may be off.
        panels: a panel for each series, the others behind it in grey: for curves that lie on each
            other.
    """

    file: Slug
    title: Text
    kind: Annotated[PlotKind, Field(strict=False)] = PlotKind.LINE
    x: RowKey
    y: Name
    series: list[RowKey] = []
    where: Mapping[RowKey, Scalar] = {}
    x_label: Label | None = None
    y_label: Label | None = None
    interval: IntervalOf = IntervalKind.RUNS
    panels: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it is drawn from."""
        ends = () if isinstance(self.interval, IntervalKind) else self.interval
        return (self.y, *ends)


class Report(Strict):
    """Which metrics the cell table shows, in this order, and which plots are drawn.

    Attributes:
        lineage: the metric by which runs are compared in the record of trials; None for no record.
    """

    metrics: list[Name] = []
    plots: list[Plot] = []
    lineage: Name | None = None


class HeadlineColumn(Strict):
    """One column of the headline table.

    Attributes:
        metric: what it shows.
        header: the same in words, without unit.
        where: row keys that choose its measurements, beside those of the row.
        interval: how far it may be off: a kind, or the metrics of its two ends.
    """

    metric: Name
    header: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    where: Mapping[RowKey, Scalar] = {}
    interval: IntervalOf = IntervalKind.RUNS


class HeadlineTable(Strict):
    """The one table that answers the question, small enough for the end of a terminal.

    Attributes:
        rows: the params or row keys whose values name a row. Without any, each column is a row.
        only: the values of such a key that are shown, in this order.
        names: what people read instead of a row's key, or of a value of it.
        columns: its figures, the most important first: a narrow terminal shows fewer.
    """

    title: Text
    rows: list[RowKey] = []
    only: Mapping[RowKey, Annotated[list[Scalar], Field(min_length=1)]] = {}
    names: Mapping[str, Annotated[str, StringConstraints(min_length=1, max_length=40)]] = {}
    columns: Annotated[list[HeadlineColumn], Field(min_length=1)]


class AnswerClaim(Strict):
    """An entry of the ledger that answers a part of the question.

    Attributes:
        claim: its id.
        says: what holds if the entry does, as a clause without a full stop.
    """

    claim: Name
    says: Annotated[str, StringConstraints(min_length=1, max_length=160)]


class Headline(Strict):
    """What a run ends with: the answer to the question, and the table that carries it.

    Attributes:
        answer: the claims that the answer is made from; their verdicts say which part is shown.
        limits: what a profile's world is too small to say.
        table: the headline table.
        by_profile: the table of a profile that measures something else.
    """

    answer: Annotated[list[AnswerClaim], Field(min_length=1)]
    limits: Mapping[
        ProfileName, Annotated[str, StringConstraints(min_length=1, max_length=160)]
    ] = {}
    table: HeadlineTable
    by_profile: Mapping[ProfileName, HeadlineTable] = {}

    def table_of(self, profile: Profile) -> HeadlineTable:
        """Return the headline table of a profile."""
        return self.by_profile.get(profile, self.table)


class Scenario(Strict):
    """One declared question: ``scenarios/<id>/scenario.yaml``."""

    scenario: Slug
    title: Text
    question: Text
    article: Article
    status: Annotated[ScenarioStatus, Field(strict=False)] = ScenarioStatus.PUBLISHED
    environment: Annotated[PackageSet, Field(strict=False)] = PackageSet.BASE
    workload: Name
    params: Mapping[Name, Any] = {}
    sweep: Sweep = Sweep()
    seed: Annotated[int, Field(ge=0)] = 0
    replicates: Annotated[int, Field(ge=1, le=1000)] = 1
    evidence: list[EvidenceFile] = []
    profiles: Annotated[Mapping[ProfileName, ProfileModel], Field(min_length=1)]
    headline: Headline | None = None
    report: Report = Report()

    def workload_of(self, profile: Profile) -> str:
        """Return the name of the workload that a profile runs."""
        return self.profiles[profile].workload or self.workload

    def sweep_of(self, profile: Profile) -> Sweep:
        """Return the sweep of a profile: its own, else the scenario's for the same workload."""
        own = self.profiles[profile].sweep
        if own is not None:
            return own
        return self.sweep if self.workload_of(profile) == self.workload else Sweep()
