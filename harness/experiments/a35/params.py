"""Parameters and metrics of our run of article 35's ablation. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.experiments.a22.params import LOOP
from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.autoresearch.params import SERVICES, SearchParams


@record
class AblationParams(SearchParams):
    """The same search with and without the record of past trials."""

    proposer: str = param("bandit", doc="who proposes", choices=("random", "bandit", "llm"))
    hill_climb: bool = param(True, doc="a keep is what later proposals change")
    min_improvement: float = param(0.0, doc="a keep improves by more than this", low=0.0, high=0.5)
    reseed_candidates: bool = param(
        False,
        doc="each evaluation has its own initial weights; else all of a loop share them",
    )


# name -> unit, meaning, which direction is better, whether the clock decides it
ARM_FIGURES: Mapping[str, tuple[str, str, Better | None, bool]] = MappingProxyType(
    {
        "accepted": ("count", "better than what they changed", Better.HIGHER, False),
        "accepted_significant": ("count", "better by more than the noise", Better.HIGHER, False),
        "repeats": ("count", "candidates that were tried before", Better.LOWER, False),
        "refused": ("count", "refused by a rail", Better.LOWER, False),
        "overruns": ("count", "ended at their limit", Better.LOWER, False),
        "failures": ("count", "without a figure, the overruns among them", Better.LOWER, False),
        "gain": ("%", "the best against the baseline", Better.HIGHER, False),
        "parents": ("count", "trials that others were built on", None, False),
        "depth": ("count", "changes from the baseline to the deepest trial", None, False),
        "trials_without_improvement": (
            "count",
            "most trials in a row without a keep",
            Better.LOWER,
            False,
        ),
        "time": ("s", "all iterations", None, True),
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
        *_arms("with_lineage", "of the search that is shown the record"),
        *_arms("without_lineage", "of the search that is not"),
        *_arms("lineage_effect", "with the record minus without"),
        Metric(name="eval.val_bpb_min", unit="bit/token", doc="so far; where: variant, iteration"),
        Metric(
            name="trial.depth",
            unit="count",
            doc="changes from the baseline to a trial; where: variant, trial, label",
        ),
        *(
            each
            for each in LOOP.metrics
            if each.name
            in ("guardrails.cases", "guardrails.wrong", "guardrails.passing", "resume.missing")
            or each.name in ("noise.std", "corpus.tokens", "chat.engine")
        ),
    ),
    entry="harness.experiments.a35.ablation:run",
    requires=("torch",),
    services=SERVICES,
)

WORKLOADS = (ABLATION,)
