"""The counts of one agent on one set of tasks, and the rates that follow. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.statistics import Proportion, wilson
from harness.workloads.api.declare import Better
from harness.workloads.api.figures import Counted, Figures

_HIGHER = Better.HIGHER


@record
class Evaluation:
    """The counts of one agent on one set of tasks; None where an article prints nothing.

    Attributes:
        mean_wall_s: of a rollout, seconds.
        wall_s: of all rollouts, by the stamps of the log, seconds.
        by_persona: tasks passed, as printed by persona (article 33 completes the table).
    """

    tasks: int
    tasks_passed: int
    assertions: int
    assertions_passed: int
    task_complete: int | None = None
    mean_turns: float | None = None
    mean_wall_s: float | None = None
    wall_s: float | None = None
    by_persona: tuple[int, ...] = ()

    @property
    def passed(self) -> Proportion:
        """Tasks that it passed."""
        return Proportion(successes=self.tasks_passed, trials=self.tasks)

    @property
    def held(self) -> Proportion:
        """Assertions that hold."""
        return Proportion(successes=self.assertions_passed, trials=self.assertions)


def percent(part: float, whole: float) -> float:
    """Return `part` in percent of `whole`."""
    return 100 * part / whole


RATES: Figures[Evaluation] = Figures(keys="policy")
RATES("agent.tasks", "count", "tasks played")(lambda e: e.tasks)
RATES("agent.pass_rate", "%", better=_HIGHER)(
    lambda e: Counted(percent(e.tasks_passed, e.tasks), e.tasks)
)
RATES("agent.pass_rate_low", "%", "Wilson, 95 %")(
    lambda e: Counted(100 * wilson(e.passed).low, e.tasks)
)
RATES("agent.pass_rate_high", "%", "Wilson, 95 %")(
    lambda e: Counted(100 * wilson(e.passed).high, e.tasks)
)
RATES("agent.assertion_pass_rate", "%", "that hold", better=_HIGHER)(
    lambda e: Counted(percent(e.assertions_passed, e.assertions), e.assertions)
)
RATES("agent.assertion_count", "count", "of all its tasks")(lambda e: e.assertions)


@RATES("agent.stop_rate", "%", "clean stops", better=_HIGHER, optional=True)
def _(e: Evaluation) -> Counted | None:
    return None if e.task_complete is None else Counted(percent(e.task_complete, e.tasks), e.tasks)


@RATES("agent.time", "min", "of all rollouts", timing=True, optional=True)
def _(e: Evaluation) -> float | None:
    if e.wall_s is not None:
        return e.wall_s / 60
    return None if e.mean_wall_s is None else e.mean_wall_s * e.tasks / 60


@RATES("agent.turn_time", "s", "of a turn", timing=True, optional=True)
def _(e: Evaluation) -> float | None:
    return e.mean_wall_s / e.mean_turns if e.mean_wall_s and e.mean_turns else None


RATES("agent.num_passed", "count", "passes summed by persona", optional=True)(
    lambda e: sum(e.by_persona) if e.by_persona else None
)

# of evaluations whose whole wall clock is known
WALL: Figures[Evaluation] = Figures(keys="policy")


@WALL("agent.rollout_time", "s", "of a rollout", timing=True, optional=True)
def _(e: Evaluation) -> Counted | None:
    return None if e.wall_s is None else Counted(e.wall_s / e.tasks, e.tasks)
