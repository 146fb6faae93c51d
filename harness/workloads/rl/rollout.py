"""A rollout: one policy's episode of one task, with every token, kept whole. Loads no torch."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Generic

from harness.appended import end_of_whole
from harness.errors import InputError, Problem
from harness.reading import read_json
from harness.records import from_json, record, to_json
from harness.workloads.envs.base import EpisodeT, StopReason
from harness.workloads.inference.observed import REQUESTS
from harness.workloads.models.example import Example, masked

Key = tuple[str, str, int]  # of a rollout: policy, task, sample
ROLLOUTS = "rollouts.jsonl"  # in the folder of a step that plays
PLAYED = (ROLLOUTS, REQUESTS)  # what such a step leaves to the next attempt when it is killed
NOT_TRAINED = -1  # the turn of a token that the policy did not sample


@record
class TurnTrace:
    """The tokens of one turn.

    Attributes:
        context: shown since the last reply; the whole prompt for the first turn.
        reply: sampled by the policy.
        logprobs: of each token of the reply when it was sampled, nats.
        entropy: mean over the reply's tokens, nats (`rl.algorithms.t2po`); None where not taken.
        draws: how many replies were sampled for this turn; the last one was kept.
    """

    context: tuple[int, ...]
    reply: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropy: float | None = None
    draws: int = 1


@record
class Trace:
    """The tokens of a whole rollout, turn by turn."""

    turns: tuple[TurnTrace, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Everything in order: T tokens."""
        return tuple(chain.from_iterable((*turn.context, *turn.reply) for turn in self.turns))

    @property
    def turn_ids(self) -> tuple[int, ...]:
        """Of each token its turn, from 0; `NOT_TRAINED` for what was shown: T numbers."""
        return tuple(
            number
            for turn_number, turn in enumerate(self.turns)
            for number in (NOT_TRAINED,) * len(turn.context) + (turn_number,) * len(turn.reply)
        )

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Of each token that the policy sampled, in order: N numbers, N <= T."""
        return tuple(chain.from_iterable(turn.logprobs for turn in self.turns))

    @property
    def example(self) -> Example:
        """The sequence to train on: of all tokens, those that the policy sampled."""
        return masked(self.tokens, [turn != NOT_TRAINED for turn in self.turn_ids])


@record
class Timings:
    """Where the time of a rollout went, seconds; the rest is bookkeeping.

    Attributes:
        total_s: from the first to the last moment.
        engine_s: waiting for replies.
        tool_s: the environment's: laying a workspace out, running commands, searching.
        grading_s: looking at what the agent has come to.
    """

    total_s: float = 0.0
    engine_s: float = 0.0
    tool_s: float = 0.0
    grading_s: float = 0.0

    @property
    def environment_s(self) -> float:
        """All that is not the model's own."""
        return self.total_s - self.engine_s


@record
class Rollout(Generic[EpisodeT]):
    """One rollout.

    Attributes:
        task_id: the task.
        policy: who answered; what the rollout is filed under.
        sample: which of several rollouts of this task, from 0.
        settings: of the environment.
        engine: what sampled the replies, with its version; empty where no model did.
        served: which weights; empty where none.
        stop_reason: why it ended.
        reward: None where it ended by an error: it has earned neither much nor little.
        turn_rewards: what each turn earned by itself, one number a turn.
        episode: what happened, in the environment's own words.
        trace: what a model was shown and what it sampled; None where no model played.
        error: the cause, where it ended by an error.
    """

    task_id: str
    policy: str
    sample: int = 0
    settings: str = ""
    engine: str = ""
    served: str = ""
    stop_reason: StopReason
    reward: float | None
    turn_rewards: tuple[float, ...] = ()
    episode: EpisodeT
    trace: Trace | None = None
    error: str = ""
    timings: Timings = Timings()

    @property
    def key(self) -> Key:
        """What it is the rollout of."""
        return self.policy, self.task_id, self.sample

    @property
    def is_error(self) -> bool:
        """Whether the engine or the environment broke: it counts in no rate."""
        return self.stop_reason is StopReason.ERROR


class RolloutLog(Generic[EpisodeT]):
    """A file of rollouts, one whole JSON line each; of a killed writer's the torn tail is cut off.

    It remembers where each rollout stands, and reads only what it is asked for: a long run's log
    holds thousands, most of them of steps long gone. One thread at a time.

    Args:
        path: the file; made when it does not exist.
        episode: the record of the environment's episodes.
    """

    def __init__(self, path: Path, episode: type[EpisodeT]) -> None:
        self._path = path
        self._episode = episode
        self._forget()

    def at(self, path: Path) -> RolloutLog[EpisodeT]:
        """Return a log of such episodes in another file."""
        return RolloutLog(path, self._episode)

    def read(self) -> tuple[Rollout[EpisodeT], ...]:
        """Return the rollouts, the later one where one was played again.

        Raises:
            InputError: a line that is not the last is damaged; names file and line.
        """
        self._look()
        return tuple(self.find(self._places).values())

    def find(self, keys: Iterable[Key]) -> Mapping[Key, Rollout[EpisodeT]]:
        """Return those of the rollouts that are there.

        Raises:
            InputError: a line that is not the last is damaged; names file and line.
        """
        self._look()
        places = {key: self._places[key] for key in keys if key in self._places}
        if not places:
            return {}
        with self._path.open("rb") as file:
            return {key: self._rollout(file, place) for key, place in places.items()}

    def append(self, rollout: Rollout[EpisodeT]) -> None:
        """Write one rollout as one line, after cutting off what a killed writer left."""
        line = (json.dumps(to_json(rollout)) + "\n").encode()
        self._look()
        with self._path.open("ab+") as file:
            file.truncate(self._end)
            file.write(line)
        self._remember(rollout.key, len(line))

    def _forget(self) -> None:
        self._places: dict[Key, _Place] = {}
        self._end, self._lines = 0, 0  # of what has been looked at: bytes, whole lines

    def _look(self) -> None:
        """Find the rollouts of the lines that were not there when the log was last looked at."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < self._end:
            self._forget()
        if size == self._end:
            return
        with self._path.open("rb") as file:
            file.seek(self._end)
            new = file.read()
        for line in io.BytesIO(new[: end_of_whole(new)]):
            self._remember(self._key_of(line), len(line))

    def _remember(self, key: Key, num_bytes: int) -> None:
        self._lines += 1
        self._places[key] = _Place(begin=self._end, line=self._lines)
        self._end += num_bytes

    def _key_of(self, line: bytes) -> Key:
        try:
            facts = read_json(line)
            policy, task = (from_json(str, facts[name]) for name in ("policy", "task_id"))
            return policy, task, from_json(int, facts["sample"])
        except (ValueError, LookupError, TypeError) as error:
            raise self._damaged(self._lines + 1, error) from None

    def _rollout(self, file: BinaryIO, place: _Place) -> Rollout[EpisodeT]:
        file.seek(place.begin)
        try:
            rollout: Rollout[Any] = from_json(Rollout, read_json(file.readline()))
            return replace(rollout, episode=from_json(self._episode, rollout.episode))
        except ValueError as error:
            raise self._damaged(place.line, error) from None

    def _damaged(self, line: int, error: Exception) -> InputError:
        message = f"damaged rollout: {error}"
        return InputError([Problem(message=message, path=self._path, line=line)])


@record
class _Place:
    """Where a rollout stands: its first byte, and its line from 1."""

    begin: int
    line: int
