"""Playing many rollouts at once: threads, each in a box of its own, and one log.

A rollout is in the log, whole, as soon as it has ended; so whatever ends the process, what is there
need not be played again. A rollout that broke is there too, with its cause, and is played again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol

from harness.errors import HostError
from harness.records import record
from harness.sandbox.base import Sandbox
from harness.sandbox.choice import Sandboxes
from harness.workloads.envs.files.rollout import (
    FileRollout,
    Key,
    RolloutLog,
    RolloutSettings,
    StopReason,
    run_episode,
    scripted,
)
from harness.workloads.envs.files.task import Task

BROKEN = frozenset({StopReason.AGENT_ERROR, StopReason.SANDBOX_UNAVAILABLE})  # by no agent
_GIVEN_UP = 3  # rollouts in a row that broke: one may be chance


class FilePolicy(Protocol):
    """Whoever plays tasks."""

    @property
    def name(self) -> str:
        """What its rollouts are filed under."""
        ...

    @property
    def served(self) -> str:
        """Which weights play; empty where none do."""
        ...

    def play(self, task: Task, sample: int, box: Sandbox, rules: RolloutSettings) -> FileRollout:
        """Play one task in a box that exists; called by several threads at once."""
        ...


@record
class ScriptedFilePolicy:
    """Gives commands that are known before, and then stops."""

    name: str
    commands: Callable[[Task], Sequence[str]]
    served: str = ""

    def play(self, task: Task, sample: int, box: Sandbox, rules: RolloutSettings) -> FileRollout:
        """Play one task."""
        agent = scripted(self.commands(task))
        return run_episode(task, agent, box, name=self.name, sample=sample, rules=rules)


NOTHING = ScriptedFilePolicy(name="nothing", commands=lambda _: ())
ORACLE = ScriptedFilePolicy(name="oracle", commands=lambda task: task.oracle)


@record
class EpisodeSpec:
    """One rollout that is wanted."""

    task: Task
    sample: int = 0


def run_episodes(
    attempts: Iterable[EpisodeSpec],
    player: FilePolicy,
    boxes: Sandboxes,
    log: RolloutLog,
    *,
    rules: RolloutSettings,
    max_concurrency: int,
) -> tuple[FileRollout, ...]:
    """Play whatever the log does not hold yet; return all rollouts, in the attempts' order.

    A rollout of the log counts only if the same weights played it, read by the same parser in the
    same wording; else it is played again and takes that one's place. Players of one log that differ
    in anything else, as in their temperature, need names that differ.

    Raises:
        ServiceDied: the engine's server has ended. Like after the following, the log holds what
            was played until then.
        HostError: the engine or the boxes broke for several rollouts in a row.
        SandboxUnavailable: no box can be made.
    """
    wanted = tuple(attempts)
    session = _Session(wanted, player, boxes, log, rules)
    with ThreadPoolExecutor(max(1, min(max_concurrency, session.num_left))) as pool:
        try:
            workers = [
                pool.submit(session.work) for _ in range(min(max_concurrency, session.num_left))
            ]
            wait(workers, return_when=FIRST_EXCEPTION)
        finally:
            session.stop()  # each ends its rollout, and begins no other
    for worker in workers:
        worker.result()
    return session.rollouts(wanted)


class _Session:
    """What the threads of one call share."""

    def __init__(
        self,
        wanted: Sequence[EpisodeSpec],
        player: FilePolicy,
        boxes: Sandboxes,
        log: RolloutLog,
        rules: RolloutSettings,
    ) -> None:
        self._player, self._boxes, self._log, self._rules = player, boxes, log, rules
        there = log.find(map(self._key, wanted))
        self._played = {key: each for key, each in there.items() if self._counts(each)}
        self._left: queue.SimpleQueue[EpisodeSpec] = queue.SimpleQueue()
        for attempt in wanted:
            if self._key(attempt) not in self._played:
                self._left.put(attempt)
        self.num_left = self._left.qsize()
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._broken_in_a_row = 0

    def stop(self) -> None:
        """Let no further rollout begin."""
        self._stopped.set()

    def work(self) -> None:
        """Play until nothing is left, in one box, or in another where it broke."""
        while not self._left.empty() and not self._stopped.is_set():
            with self._boxes.make() as box:
                while self._plays_next(box):
                    pass

    def rollouts(self, wanted: Sequence[EpisodeSpec]) -> tuple[FileRollout, ...]:
        """Return the rollouts of `wanted`, all of which have been played."""
        return tuple(self._played[self._key(attempt)] for attempt in wanted)

    def _plays_next(self, box: Sandbox) -> bool:
        """Play one rollout; say whether the box can be used for another."""
        if self._stopped.is_set():
            return False
        try:
            attempt = self._left.get_nowait()
        except queue.Empty:
            return False
        rollout = self._player.play(attempt.task, attempt.sample, box, self._rules)
        self._keep(rollout)
        return rollout.stopped is not StopReason.SANDBOX_UNAVAILABLE

    def _keep(self, rollout: FileRollout) -> None:
        with self._writing:
            self._log.append(rollout)
            self._played[rollout.key] = rollout
            broke = rollout.stopped in BROKEN
            self._broken_in_a_row = self._broken_in_a_row + 1 if broke else 0
            if self._broken_in_a_row < _GIVEN_UP:
                return
        self.stop()
        message = f"{_GIVEN_UP} rollouts in a row broke ({rollout.stopped}): {rollout.cause}"
        raise HostError(message, "run it again once the cause is gone: what was played is kept")

    def _counts(self, rollout: FileRollout) -> bool:
        asked = self._player.served, self._rules.parser, self._rules.prompt_style
        given = rollout.served, rollout.parser, rollout.prompt_style
        return rollout.grade is not None and given == asked

    def _key(self, attempt: EpisodeSpec) -> Key:
        return self._player.name, attempt.task.task_id, attempt.sample
