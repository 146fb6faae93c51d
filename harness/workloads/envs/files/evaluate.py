"""Evaluating players on the same tasks: what they left, how they stopped, and who was better.

Every player plays the same tasks in the same kind of box, under the same rules and sampling.
Article 33 compared a model read by the new parser with another one's stored rollouts, read by the
old one; `replayed` says of stored rollouts what another parser would have made of them, and
`parser_split` how much of a difference the parser alone is.

Rollouts that broke count nowhere, and are counted. Of two players only the tasks count that both
finished. Tasks of one persona resemble each other, and assertions of one task hold together, so
intervals of what is counted within tasks come from resampling whole tasks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from statistics import fmean

from harness.errors import HostError
from harness.records import record
from harness.sandbox.choice import Sandboxes
from harness.statistics import Interval, Proportion, bootstrap, mcnemar_exact
from harness.workloads.envs.files.baseline import BaselineRates, rates
from harness.workloads.envs.files.grade import Grade, Result
from harness.workloads.envs.files.personas import role_of
from harness.workloads.envs.files.players import EpisodeSpec, FilePolicy, run_episodes
from harness.workloads.envs.files.protocol import (
    FileActionKind,
    NotUnderstoodError,
    ParserVersion,
    parse,
)
from harness.workloads.envs.files.rollout import (
    FileRollout,
    RolloutLog,
    RolloutSettings,
    StopReason,
)
from harness.workloads.envs.files.task import AssertionKind, Task


@record
class PolicyEvaluation:
    """One player's rollouts, one a task.

    Attributes:
        policy: who played.
        rollouts: all of them, those that broke included.
    """

    policy: str
    rollouts: tuple[FileRollout, ...]

    @property
    def graded(self) -> tuple[FileRollout, ...]:
        """The rollouts that count."""
        return tuple(each for each in self.rollouts if each.grade is not None)

    @property
    def num_errors(self) -> int:
        """How many count nowhere."""
        return len(self.rollouts) - len(self.graded)

    @property
    def rates(self) -> BaselineRates:
        """What passed."""
        return rates(_grades(self.graded))

    @property
    def assertions_interval(self) -> Interval:
        """Of the share of assertions that hold: 95 %, by resampling tasks."""
        return bootstrap([_held(each) for each in _counted(self.graded)], _ratio)

    @property
    def stops(self) -> Mapping[StopReason, int]:
        """How rollouts ended, those that broke included."""
        found = Counter(each.stopped for each in self.rollouts)
        return {reason: found[reason] for reason in StopReason}

    @property
    def stop_rate(self) -> Proportion:
        """How many stopped by themselves."""
        count = sum(_stopped(each) for each in self.graded)
        return Proportion(successes=count, trials=len(self.graded))

    @property
    def mean_turns(self) -> float:
        """Of a rollout."""
        return fmean(len(each.turns) for each in self.graded)

    @property
    def wall_s(self) -> float:
        """All rollouts' time together, seconds."""
        return math.fsum(each.wall_s for each in self.graded)

    @property
    def environment_share(self) -> float:
        """The share of that which is not the model's own: boxes, grading, bookkeeping."""
        return math.fsum(each.environment_s for each in self.graded) / self.wall_s

    @property
    def by_persona(self) -> Mapping[str, BaselineRates]:
        """What passed, by the persona whose tasks they are."""
        roles = sorted({role_of(each.task_id) for each in self.graded})
        return {
            role: rates(_grades(each for each in self.graded if role_of(each.task_id) == role))
            for role in roles
        }

    @property
    def by_kind(self) -> Mapping[AssertionKind, Proportion]:
        """Which assertions hold, by their kind; kinds that no task has are left out."""
        results = list(chain.from_iterable(each.results for each in _grades(self.graded)))
        of_kind = {kind: [each for each in results if each.kind is kind] for kind in AssertionKind}
        return {kind: _proportion(found) for kind, found in of_kind.items() if found}


def evaluate(
    player: FilePolicy,
    tasks: Iterable[Task],
    boxes: Sandboxes,
    log: RolloutLog,
    *,
    rules: RolloutSettings,
    threads: int,
) -> PolicyEvaluation:
    """Have `player` play every task once; what the log holds already is not played again.

    Raises:
        HostError: the engine or the boxes broke for several rollouts in a row, or for all.
    """
    attempts = [EpisodeSpec(task=task) for task in tasks]
    rollouts = run_episodes(attempts, player, boxes, log, rules=rules, max_concurrency=threads)
    if all(each.grade is None for each in rollouts):
        causes = {each.cause for each in rollouts} or {"there are no tasks"}
        message = f"{player.name} has finished no rollout: {'; '.join(sorted(causes))}"
        raise HostError(message)
    return PolicyEvaluation(policy=player.name, rollouts=rollouts)


# --- Two players --------------------------------------------------------------------------------


@record
class PairedDifference:
    """One figure of two players on the same tasks: the one's less the other's.

    Attributes:
        value: of all tasks.
        interval: 95 %, by resampling tasks.
        p: two-sided, of no difference; None where the figure is not one of yes and no.
    """

    value: float
    interval: Interval
    p: float | None = None


@record
class Comparison:
    """Two players on the tasks that both finished.

    Attributes:
        tasks: how many.
        pass_rate: difference of the shares of tasks passed; McNemar's exact test.
        assertion_pass_rate: of the shares of assertions that hold.
        stop_rate: of the shares of clean stops; McNemar's exact test.
        turns: of the mean turns.
    """

    tasks: int
    pass_rate: PairedDifference
    assertion_pass_rate: PairedDifference
    stop_rate: PairedDifference
    turns: PairedDifference


Share = tuple[float, float]  # what is counted, and of how many
Pair = tuple[FileRollout, FileRollout]


def compare(one: PolicyEvaluation, other: PolicyEvaluation) -> Comparison:
    """Compare two players, task by task.

    Raises:
        ValueError: there is no task that both finished.
    """
    others = {each.task_id: each for each in other.graded}
    pairs = [(each, others[each.task_id]) for each in one.graded if each.task_id in others]
    if not pairs:
        message = f"no task was finished by both {one.policy} and {other.policy}"
        raise ValueError(message)
    counted = [pair for pair in pairs if _counted(pair)]
    return Comparison(
        tasks=len(pairs),
        pass_rate=_of_yes_and_no(counted, _passed),
        assertion_pass_rate=_difference(counted, _held),
        stop_rate=_of_yes_and_no(pairs, _stopped),
        turns=_difference(pairs, lambda rollout: (len(rollout.turns), 1)),
    )


def _of_yes_and_no(pairs: Sequence[Pair], holds: Callable[[FileRollout], bool]) -> PairedDifference:
    found = _difference(pairs, lambda rollout: (holds(rollout), 1))
    outcomes = Counter((holds(one), holds(other)) for one, other in pairs)
    p = mcnemar_exact(outcomes[True, False], outcomes[False, True])
    return PairedDifference(value=found.value, interval=found.interval, p=p)


def _difference(pairs: Sequence[Pair], share: Callable[[FileRollout], Share]) -> PairedDifference:
    units = [(share(one), share(other)) for one, other in pairs]
    return PairedDifference(
        value=_ratio_difference(units), interval=bootstrap(units, _ratio_difference)
    )


def _ratio_difference(units: Sequence[tuple[Share, Share]]) -> float:
    ones, others = zip(*units, strict=True)
    return _ratio(ones) - _ratio(others)


def _ratio(shares: Sequence[Share]) -> float:
    return sum(part for part, _ in shares) / sum(whole for _, whole in shares)


# --- Two parsers --------------------------------------------------------------------------------


@record
class ReparsedRollouts:
    """What another parser would have made of stored rollouts.

    Attributes:
        rollouts: how many there are.
        stopped: clean stops, by the other parser.
        earlier: of them, those that come before the stored rollout's own end.
        turns_saved: how many turns earlier, in all.
        continued: stored stops that the other parser does not see; how these would have gone on
            nobody knows, so they are counted as they are stored.
    """

    rollouts: int
    stopped: int
    earlier: int
    turns_saved: int
    continued: int


def replayed(rollouts: Iterable[FileRollout], version: ParserVersion) -> ReparsedRollouts:
    """Read stored rollouts with another parser (article 33, "replay").

    Replies are read as they are stored, without the middle of those longer than 4000 letters.
    """
    given = tuple(rollouts)
    ends = [stop_turn(each, version) for each in given]
    saved = [len(each.turns) - end for each, end in zip(given, ends, strict=True) if end]
    unseen = [end is None and _stopped(each) for each, end in zip(given, ends, strict=True)]
    return ReparsedRollouts(
        rollouts=len(given),
        stopped=len(saved) + sum(unseen),
        earlier=sum(turns > 0 for turns in saved),
        turns_saved=sum(saved),
        continued=sum(unseen),
    )


def stop_turn(rollout: FileRollout, version: ParserVersion) -> int | None:
    """Return the first turn, from 1, whose reply is a stop to a parser; None without one."""
    for number, turn in enumerate(rollout.turns, 1):
        try:
            action = parse(turn.response, version)
        except NotUnderstoodError:
            continue
        if action.kind is FileActionKind.DONE:
            return number
    return None


@record
class ParserSplit:
    """Where clean stops come from, between one player by the old parser and another by the new.

    Shares of rollouts; the two parts add up to the whole.
    """

    by_parser: float
    by_training: float


def parser_split(old: float, matched: float, new: float) -> ParserSplit:
    """Split a rise of clean stops.

    Args:
        old: share of clean stops of the earlier player, by the old parser.
        matched: of the same player by the new parser: a replay, or rollouts of its own.
        new: of the later player, by the new parser.
    """
    return ParserSplit(by_parser=matched - old, by_training=new - matched)


# --- Counting -----------------------------------------------------------------------------------


def _grades(rollouts: Iterable[FileRollout]) -> list[Grade]:
    return [each.grade for each in rollouts if each.grade is not None]


def _counted(rollouts: Iterable[FileRollout]) -> list[FileRollout]:
    """Leave out the rollouts of tasks that have no assertion."""
    return [each for each in rollouts if each.grade is not None and each.grade.num_total]


def _held(rollout: FileRollout) -> Share:
    assert rollout.grade is not None
    return rollout.grade.num_passed, rollout.grade.num_total


def _passed(rollout: FileRollout) -> bool:
    return rollout.grade is not None and rollout.grade.passed


def _stopped(rollout: FileRollout) -> bool:
    return rollout.stopped is StopReason.TASK_COMPLETE


def _proportion(results: Sequence[Result]) -> Proportion:
    return Proportion(successes=sum(each.passed for each in results), trials=len(results))
