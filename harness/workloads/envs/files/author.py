"""Who writes tasks: the protocol, and the loop over the slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from harness.errors import HarnessError
from harness.records import record
from harness.workloads.envs.files.personas import Slot
from harness.workloads.envs.files.task import Task


class AuthorFailedError(HarnessError):
    """An author gave no usable task for one slot; the others are not concerned."""


class TaskAuthor(Protocol):
    """Turns a slot (persona, index, seed and its workspace) into a task."""

    def write(self, slot: Slot) -> Task:
        """Return the task of a slot.

        Raises:
            AuthorFailedError: there is none, and why.
            HostError: the author itself cannot be reached; no slot will get a task.
        """
        ...


@record
class Synthesis:
    """What came of writing tasks: the tasks, and why the other slots have none."""

    tasks: tuple[Task, ...]
    failures: Mapping[str, str]


def synthesise(author: TaskAuthor, slots: Iterable[Slot]) -> Synthesis:
    """Have `author` write the task of every slot; a slot that fails is skipped, with its cause."""
    tasks: list[Task] = []
    failures: dict[str, str] = {}
    for slot in slots:
        try:
            tasks.append(author.write(slot))
        except AuthorFailedError as error:
            failures[slot.task_id] = str(error)
    return Synthesis(tasks=tuple(tasks), failures=failures)
