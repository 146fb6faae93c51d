"""Parse proposals, and compare them with the proposer's real answers. Loads no torch.

Article 25, section "Phase 3". How it departs: a prompt may be answered several times, and a value
must be of its knob's type.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from harness.reading import read_json
from harness.records import Scalar, record
from harness.workloads.autoresearch.search_space import KnobType, Space

_SCALAR = str | int | float
_OBJECT = re.compile(r"\{[^{}]*\}")


@record
class PredictedChange:
    """One change: a knob and its new value."""

    knob: str
    value: Scalar

    @property
    def pair(self) -> str:
        """As ``knob=value``."""
        return f"{self.knob}={self.value}"


@record
class Prediction:
    """One answer of a racer.

    Attributes:
        change: None where it is no change that the menu has.
        latency_s: wall clock; None for a baseline, which takes no time.
    """

    change: PredictedChange | None
    latency_s: float | None = None


@record
class RepeatedPredictions:
    """One held-out question, the proposer's real answer, and a model's answers."""

    iteration: int
    truth: PredictedChange
    predictions: tuple[Prediction, ...]

    @property
    def modal(self) -> PredictedChange | None:
        """The pick given most often, the first such where several are; None for none."""
        picks = Counter(each.change for each in self.predictions if each.change)
        return picks.most_common(1)[0][0] if picks else None


@record
class AccuracyRates:
    """What came of a race, each as a share of the answers.

    Attributes:
        answers: how many.
        valid: that are a change of the menu.
        knob: that change the knob that was changed.
        exact: that set it to the same value too.
    """

    answers: int
    valid: float
    knob: float
    exact: float


@record
class PredictionSpread:
    """How the valid picks of a race are spread.

    Attributes:
        distinct: how many different ones.
        knobs: of how many knobs.
        modal_share: of the most frequent one among them.
        entropy_bits: of their distribution.
    """

    counts: Mapping[str, int]
    distinct: int
    knobs: int
    modal_share: float
    entropy_bits: float


def read_pick(text: str, space: Space) -> PredictedChange | None:
    """Return the first change that a text holds, if the menu has it.

    The first ``{...}`` that speaks of a knob counts, whatever is around it, as in the article; the
    loop's own parser accepts only the bare object.
    """
    found = next((each for each in _OBJECT.findall(text) if '"knob"' in each), None)
    if found is None:
        return None
    try:
        given = read_json(found, mend=True)
    except ValueError:
        return None
    knob, value = given.get("knob"), given.get("new_value", given.get("value"))
    if not isinstance(knob, str) or not _is_on_menu(knob, value, space):
        return None
    return PredictedChange(knob=knob, value=value)


def rates(heats: Sequence[RepeatedPredictions]) -> AccuracyRates:
    """Return the shares of all answers of a race."""
    given = [(heat.truth, answer.change) for heat in heats for answer in heat.predictions]
    return AccuracyRates(
        answers=len(given),
        valid=fmean(pick is not None for _, pick in given),
        knob=fmean(pick is not None and pick.knob == truth.knob for truth, pick in given),
        exact=fmean(pick == truth for truth, pick in given),
    )


def spread(picks: Sequence[PredictedChange | None]) -> PredictionSpread | None:
    """Return how valid picks are spread; None where there is none."""
    counts = Counter(pick.pair for pick in picks if pick)
    total = counts.total()
    if not total:
        return None
    return PredictionSpread(
        counts=dict(counts.most_common()),
        distinct=len(counts),
        knobs=len({pair.partition("=")[0] for pair in counts}),
        modal_share=max(counts.values()) / total,
        entropy_bits=math.fsum(n / total * math.log2(total / n) for n in counts.values()),
    )


@record
class Latency:
    """How long answers took, seconds.

    Attributes:
        upper_median: of an even number, the larger of the two in the middle: the article's median.
    """

    mean: float
    median: float
    upper_median: float
    min: float
    max: float


def latency(seconds: Sequence[float]) -> Latency:
    """Return the figures of some answers' latencies, of which there is one at least."""
    return Latency(
        mean=fmean(seconds),
        median=median(seconds),
        upper_median=sorted(seconds)[len(seconds) // 2],
        min=min(seconds),
        max=max(seconds),
    )


def _is_on_menu(name: str, value: Scalar, space: Space) -> bool:
    if name not in space.knobs or isinstance(value, bool) or not isinstance(value, _SCALAR):
        return False
    knob = space.knobs[name]
    if knob.kind is KnobType.TEXT or isinstance(value, str):
        return value in knob.choices
    if knob.kind is KnobType.INT and not isinstance(value, int):
        return False
    if knob.choices:
        return value in knob.choices
    return math.isfinite(value) and knob.low <= value <= knob.high
