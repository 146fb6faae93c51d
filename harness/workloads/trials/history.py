"""What the rows say together: the best, how it came about, the tree and its droughts."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from operator import itemgetter
from types import MappingProxyType

from harness.workloads.trials.trial import Label, Layout, Trial

NO_CAPS: Mapping[str, float] = MappingProxyType({})


class History:
    """Trials in the order of their rows, each id once.

    Attributes:
        layout: the columns by which trials are compared.
        trials: all of them.
    """

    def __init__(self, layout: Layout, trials: Iterable[Trial] = ()) -> None:
        self.layout = layout
        self.trials: list[Trial] = []
        self._scored: list[tuple[float, Trial]] = []  # (cost, baseline or keep)
        self._by_id: dict[str, Trial] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Take the next trial.

        Raises:
            ValueError: its id is taken.
        """
        if self._by_id.setdefault(trial.exp_id, trial) is not trial:
            message = f"the id {trial.exp_id!r} is taken"
            raise ValueError(message)
        self.trials.append(trial)
        cost = self.layout.cost_of(trial)
        if cost is not None and trial.status in (Label.KEEP, Label.BASELINE):
            self._scored.append((cost, trial))

    def get(self, exp_id: str) -> Trial | None:
        """Return the trial of this id, or None."""
        return self._by_id.get(exp_id)

    def best(self, caps: Mapping[str, float] = NO_CAPS) -> Trial | None:
        """Return the best of the baselines and keeps, the earliest of equals; None without any.

        A row over a budget may have a better score, but that score does not count.

        Args:
            caps: column -> largest valid figure, e.g. ``{"eval_s": 600.0}``: refuses a keep that
                is over it, whatever its label; a row without the figure passes.
        """
        within = (
            (cost, trial)
            for cost, trial in self._scored
            if not caps or all((getattr(trial, name) or 0) <= cap for name, cap in caps.items())
        )
        _, found = min(within, key=itemgetter(0), default=(0.0, None))
        return found

    def top_keeps(self, count: int) -> list[Trial]:
        """Return the `count` best keeps, best first."""
        keeps = (pair for pair in self._scored if pair[1].status is Label.KEEP)
        return [trial for _, trial in heapq.nsmallest(count, keeps, key=itemgetter(0))]

    def chain(self, end: Trial) -> list[Trial]:
        """Return the trials from a root to `end`, each the parent of the next.

        The walk ends at a parent that is not there, or that it has met before.
        """
        path = {end.exp_id: end}
        here: Trial | None = end
        while (here := here and self.get(here.parent_exp)) and here.exp_id not in path:
            path[here.exp_id] = here
        return list(reversed(path.values()))

    def edges(self) -> list[tuple[Trial, Trial]]:
        """Return (parent, child) wherever a trial builds on another trial, not on a baseline."""
        found = ((self.get(child.parent_exp), child) for child in self.trials)
        return [(p, c) for p, c in found if p is not None and p.status is not Label.BASELINE]
