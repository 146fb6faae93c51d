"""Parameters and metrics of our run of article 35's ablation. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.experiments.a22.params import LOOP
from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.autoresearch.params import SearchParams


@record
class AblationParams(SearchParams):
    """The same search with and without the record of past trials."""

    proposer: str = param("bandit", doc="proposer", choices=("random", "bandit", "llm"))
    climbs: bool = param(
        True, doc="hill climbing: later proposals change the last kept configuration"
    )
    accept_delta: float = param(
        0.0, doc="a kept trial improves by more than this", low=0.0, high=0.5
    )
    own_weights: bool = param(
        False,
        doc="each evaluation has its own initial weights; else all of a loop share them",
    )


# name -> unit, meaning, which direction is better, whether the clock decides it
ARM_FIGURES: Mapping[str, tuple[str, str, Better | None, bool]] = MappingProxyType(
    {
        "keeps": ("count", "better than their parent", Better.HIGHER, False),
        "keeps_noise": ("count", "better by more than the noise", Better.HIGHER, False),
        "repeats": ("count", "candidates that were tried before", Better.LOWER, False),
        "refused": ("count", "refused by a rail", Better.LOWER, False),
        "overruns": ("count", "ended at their limit", Better.LOWER, False),
        "failures": ("count", "without a figure, the overruns among them", Better.LOWER, False),
        "gain": ("%", "the best against the baseline", Better.HIGHER, False),
        "parents": ("count", "trials that others were built on", None, False),
        "depth": ("count", "changes from the baseline to the deepest trial", None, False),
        "drought": ("count", "most trials in a row without a keep", Better.LOWER, False),
        "wall": ("s", "all iterations", None, True),
        "wasted": (
            "s",
            "iterations without a new figure: refused, failed or repeated",
            Better.LOWER,
            True,
        ),
        "wasted_share": ("%", "of the wall clock", Better.LOWER, True),
    }
)


def _arms(prefix: str, which: str) -> Iterator[Metric]:
    for name, (unit, doc, better, timing) in ARM_FIGURES.items():
        text = f"{doc}: {which}"
        yield Metric(name=f"{prefix}.{name}", unit=unit, doc=text, better=better, timing=timing)


ABLATION = Workload(
    name="autoresearch.ablation",
    doc="the same search with and without the record of past trials",
    params=AblationParams,
    metrics=(
        *_arms("shown", "of the search that is shown the record"),
        *_arms("hidden", "of the search that is not"),
        *_arms("effect", "shown minus hidden"),
        Metric(name="arm.lowest", unit="bit/token", doc="lowest so far; where: record, iteration"),
        Metric(
            name="arm.depth",
            unit="count",
            doc="changes from the baseline to a trial; where: record, trial, label",
        ),
        *(
            each
            for each in LOOP.metrics
            if each.name in ("rails.cases", "rails.wrong", "rails.passing", "resume.missing")
            or each.name in ("noise.sd", "corpus.tokens")
        ),
    ),
    entry="harness.experiments.a35.ablation:run",
    requires=("torch",),
)

WORKLOADS = (ABLATION,)
