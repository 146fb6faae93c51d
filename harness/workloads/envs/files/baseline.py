"""What doing nothing earns, and what an author who knows the way earns.

Article 32 gives neither; without the first, its 31.8 % of assertions cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.records import record
from harness.sandbox.base import Sandbox
from harness.workloads.envs.files.grade import Grade, grade
from harness.workloads.envs.files.rollout import FileRollout, RolloutSettings, run_episode, scripted
from harness.workloads.envs.files.task import Task


@record
class BaselineRates:
    """Counts over some tasks; a task with no assertion counts nowhere."""

    tasks: int
    tasks_passed: int
    assertions: int
    assertions_passed: int

    @property
    def held(self) -> float:
        """Share of all assertions that hold."""
        return self.assertions_passed / self.assertions


def rates(grades: Iterable[Grade]) -> BaselineRates:
    """Count what passed."""
    counted = [each for each in grades if each.num_total]
    return BaselineRates(
        tasks=len(counted),
        tasks_passed=sum(each.passed for each in counted),
        assertions=sum(each.num_total for each in counted),
        assertions_passed=sum(each.num_passed for each in counted),
    )


def do_nothing(tasks: Iterable[Task]) -> BaselineRates:
    """Grade every workspace as it is at the start."""
    return rates(grade(task, task.workspace) for task in tasks)


def play_oracle(
    tasks: Iterable[Task], box: Sandbox, rules: RolloutSettings
) -> tuple[FileRollout, ...]:
    """Play every task's own commands, as an agent would; tasks without any are left out."""
    return tuple(
        run_episode(task, scripted(task.oracle), box, name="oracle", rules=rules)
        for task in tasks
        if task.oracle
    )
