"""What a comparison may look at: the rows of the runs that bind, and what the metrics declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from harness.check.finding import call_invalid
from harness.check.rows import Rows, in_unit
from harness.check.variation import identical_replicates, twins_text
from harness.records import FinishedRun, record
from harness.scenario.expectations import Entry
from harness.workloads.api.declare import Better, Metric


@record
class Measured:
    """The rows of some runs, and the declarations of their metrics by name.

    Attributes:
        recomputed: whether the figures are those of published files, which have no noise of ours.
    """

    rows: Rows
    metrics: Mapping[str, Metric]
    recomputed: bool = False

    @classmethod
    def of(
        cls,
        runs: Sequence[FinishedRun],
        metrics: Mapping[str, Metric],
        asked: Iterable[str] = (),
        *,
        recomputed: bool = False,
    ) -> Self:
        """Return the rows of these runs; of replicates that are all one, none can be used.

        Args:
            runs: each once.
            metrics: what the workloads declare, by name.
            asked: the metrics that will be asked for, as far as they are known (`Rows`).
            recomputed: whether their figures are those of published files.
        """
        same = {
            id(run): twins_text(twins)
            for twins in identical_replicates(runs, metrics)
            for run in twins
        }
        losses = [name for name, metric in metrics.items() if metric.is_loss]
        rows = Rows(runs, losses, asked, unusable=same)
        return cls(rows=rows, metrics=metrics, recomputed=recomputed)

    def resolution(self, entry: Entry) -> float:
        """Return the smallest step of the entry's metric, in the entry's unit; 0 if undeclared."""
        declared = self.metrics.get(entry.metric)
        if declared is None or declared.resolution is None:
            return 0.0
        return in_unit(declared.resolution, declared.unit, entry.unit)

    def sign(self, entry: Entry) -> int:
        """Return 1 where a higher value of the entry's metric is better, -1 where a lower one is.

        Raises:
            Unanswered: RUN FAILED, the metric declares no direction.
        """
        declared = self.metrics.get(entry.metric)
        if declared is None or declared.better is None:
            call_invalid(f"{entry.metric} does not declare which direction is better")
        return 1 if declared.better is Better.HIGHER else -1
