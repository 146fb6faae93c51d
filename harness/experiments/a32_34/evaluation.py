"""Evaluations of file agents: what they left, how they stopped, and who was better.

Every policy plays the same tasks in the same kind of sandbox, under the same settings and sampling.
Article 33 compared a model read by the new parser with another one's stored rollouts, read by the
old one; `reparsed` says of stored rollouts what another parser would have made of them, and
`parser_split` how much of a difference the parser alone is.

Rollout errors count in no rate, and are counted; two policies are compared only where as many of
the one's rollouts broke as of the other's, on the tasks that both finished. Tasks of one persona
resemble each other, and assertions of one task hold together, so intervals of what is counted
within tasks come from resampling whole tasks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate, chain
from statistics import fmean

from harness.records import record
from harness.statistics import (
    Interval,
    Proportion,
    Sample,
    above_test,
    below_test,
    bootstrap,
    clustered_rate,
    mcnemar_exact,
)
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import STOP_REASONS, FileEpisode
from harness.workloads.envs.files.grade import BaselineRates, Grade, rates
from harness.workloads.envs.files.personas import role_of
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileActionKind,
    NotUnderstoodError,
    ParserVersion,
    parse,
)
from harness.workloads.envs.files.task import AssertionKind, Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import Engine, PromptTooLongError
from harness.workloads.rl.rollout import Rollout, Trace
from harness.workloads.rl.runner import require_equal_errors

FileRollout = Rollout[FileEpisode]


@record
class PolicyEvaluation:
    """One policy's rollouts, one a task.

    Attributes:
        policy: name of the policy.
        rollouts: all of them, errors included.
    """

    policy: str
    rollouts: tuple[FileRollout, ...]

    def on(self, policy: str, tasks: Iterable[Task]) -> PolicyEvaluation:
        """Return the rollouts of some of the tasks, as an evaluation under another name."""
        ids = {task.task_id for task in tasks}
        own = tuple(each for each in self.rollouts if each.task_id in ids)
        return PolicyEvaluation(policy=policy, rollouts=own)

    @property
    def graded(self) -> tuple[FileRollout, ...]:
        """The rollouts that did not break."""
        return tuple(each for each in self.rollouts if not each.is_error)

    @property
    def num_errors(self) -> int:
        """How many rollouts broke; they are in no rate."""
        return len(self.rollouts) - len(self.graded)

    @property
    def rates(self) -> BaselineRates:
        """Pass rates of tasks and assertions."""
        return rates(map(_grade, self.graded))

    @property
    def assertions_interval(self) -> Interval:
        """95 % interval of the assertion pass rate, by resampling tasks."""
        return bootstrap([_held(each) for each in _with_assertions(self.graded)], _ratio)

    @property
    def stops(self) -> Mapping[StopReason, int]:
        """How rollouts ended, errors included."""
        found = Counter(each.stop_reason for each in self.rollouts)
        return {reason: found[reason] for reason in STOP_REASONS}

    @property
    def task_complete(self) -> Proportion:
        """How many stopped by themselves."""
        count = sum(_stopped(each) for each in self.graded)
        return Proportion(successes=count, trials=len(self.graded))

    @property
    def mean_turns(self) -> float:
        """Of a rollout."""
        return fmean(len(each.episode.turns) for each in self.graded)

    @property
    def total_s(self) -> float:
        """All rollouts' time together, seconds."""
        return math.fsum(each.timings.total_s for each in self.graded)

    @property
    def environment_share(self) -> float:
        """The share of that which is not the model's own: sandboxes, grading, bookkeeping."""
        return math.fsum(each.timings.environment_s for each in self.graded) / self.total_s

    @property
    def by_persona(self) -> Mapping[str, BaselineRates]:
        """What passed, by the persona whose tasks they are."""
        grades: dict[str, list[Grade]] = {}
        for each in self.graded:
            grades.setdefault(role_of(each.task_id), []).append(_grade(each))
        return {role: rates(grades[role]) for role in sorted(grades)}

    @property
    def by_kind(self) -> Mapping[AssertionKind, Proportion]:
        """Which assertions hold, by their kind; kinds that no task has are left out."""
        results = list(chain.from_iterable(_grade(each).results for each in self.graded))
        of_kind = {kind: [each for each in results if each.kind is kind] for kind in AssertionKind}
        return {
            kind: Proportion(successes=sum(each.passed for each in found), trials=len(found))
            for kind, found in of_kind.items()
            if found
        }


# --- Two policies ---------------------------------------------------------------------------------


@record
class PairedDifference:
    """One figure of two policies on the same tasks: the one's less the other's.

    Attributes:
        value: of all tasks.
        interval: 95 %, by resampling tasks.
        p: two-sided, of no difference: exact where the figure is one of yes and no, else by a
            t-test over the tasks' differences.
    """

    value: float
    interval: Interval
    p: float


@record
class Comparison:
    """Two policies on the tasks that both finished.

    Attributes:
        tasks: how many.
        task_pass: difference of the shares of tasks passed; McNemar's exact test.
        assertions: of the shares of assertions that hold; those of one task are no independent
            trials.
        task_complete: of the shares of clean stops; McNemar's exact test.
        turns: of the mean turns.
        by_persona: of the shares of assertions that hold, by the persona whose tasks they are.
    """

    tasks: int
    task_pass: PairedDifference
    assertions: PairedDifference
    task_complete: PairedDifference
    turns: PairedDifference
    by_persona: Mapping[str, float]


Share = tuple[float, float]  # what is counted, and of how many
Pair = tuple[FileRollout, FileRollout]


def compare(one: PolicyEvaluation, other: PolicyEvaluation) -> Comparison:
    """Compare two policies, task by task.

    Raises:
        HostError: not as many rollouts of the one broke as of the other.
        ValueError: there is no task that both finished.
    """
    require_equal_errors({each.policy: each.num_errors for each in (one, other)})
    others = {each.task_id: each for each in other.graded}
    pairs = [(each, others[each.task_id]) for each in one.graded if each.task_id in others]
    if not pairs:
        message = f"no task was finished by both {one.policy} and {other.policy}"
        raise ValueError(message)
    counted = [pair for pair in pairs if _with_assertions(pair)]
    by_persona: dict[str, list[Pair]] = {}
    for pair in counted:
        by_persona.setdefault(role_of(pair[0].task_id), []).append(pair)
    return Comparison(
        tasks=len(pairs),
        task_pass=_of_yes_and_no(counted, lambda rollout: _grade(rollout).passed),
        assertions=_difference(counted, _held),
        task_complete=_of_yes_and_no(pairs, _stopped),
        turns=_difference(pairs, lambda rollout: (len(rollout.episode.turns), 1)),
        by_persona={
            role: _ratio_difference([(_held(each), _held(than)) for each, than in by_persona[role]])
            for role in sorted(by_persona)
        },
    )


def _of_yes_and_no(pairs: Sequence[Pair], holds: Callable[[FileRollout], bool]) -> PairedDifference:
    found = _difference(pairs, lambda rollout: (holds(rollout), 1))
    outcomes = Counter((holds(one), holds(other)) for one, other in pairs)
    return replace(found, p=mcnemar_exact(outcomes[True, False], outcomes[False, True]))


def _difference(pairs: Sequence[Pair], share: Callable[[FileRollout], Share]) -> PairedDifference:
    units = [(share(one), share(other)) for one, other in pairs]
    # both played the same task, so that it has as many assertions for either
    by_task = clustered_rate([(one - other, whole) for (one, whole), (other, _) in units])
    return PairedDifference(
        value=_ratio_difference(units),
        interval=bootstrap(units, _ratio_difference),
        p=_p_of_none(by_task),
    )


def _p_of_none(differences: Sample) -> float:
    """Return the two-sided p-value of a mean of 0; 1 of a single task, which has no spread."""
    if math.isnan(differences.std):
        return 1.0
    return min(1.0, 2 * min(above_test(differences, 0.0), below_test(differences, 0.0)))


def _ratio_difference(units: Sequence[tuple[Share, Share]]) -> float:
    ones, others = zip(*units, strict=True)
    return _ratio(ones) - _ratio(others)


def _ratio(shares: Sequence[Share]) -> float:
    return sum(part for part, _ in shares) / sum(whole for _, whole in shares)


def _grade(rollout: FileRollout) -> Grade:
    assert rollout.episode.grade is not None, "only rollouts without error are counted"
    return rollout.episode.grade


def _with_assertions(rollouts: Iterable[FileRollout]) -> list[FileRollout]:
    """Leave out the rollouts of tasks that have no assertion."""
    return [each for each in rollouts if _grade(each).num_total]


def _held(rollout: FileRollout) -> Share:
    return _grade(rollout).num_passed, _grade(rollout).num_total


def _stopped(rollout: FileRollout) -> bool:
    return rollout.stop_reason is StopReason.TASK_COMPLETE


# --- Two parsers ----------------------------------------------------------------------------------


@record
class ReparsedRollouts:
    """What another parser would have made of stored rollouts.

    Attributes:
        rollouts: how many there are.
        complete: clean stops, by the other parser.
        earlier: of them, those that come before the stored rollout's own end.
        turns_saved: how many turns earlier, in all.
        continued: stored stops that the other parser does not see; how these would have gone on
            nobody knows, so they are counted as they are stored.
    """

    rollouts: int
    complete: int
    earlier: int
    turns_saved: int
    continued: int


def reparsed(rollouts: Iterable[FileRollout], version: ParserVersion) -> ReparsedRollouts:
    """Read stored rollouts with another parser (article 33, "replay").

    Replies are read as they are stored, without the middle of those longer than 4000 letters.
    """
    given = tuple(rollouts)
    ends = [stop_turn(each, version) for each in given]
    saved = [len(each.episode.turns) - end for each, end in zip(given, ends, strict=True) if end]
    unseen = [end is None and _stopped(each) for each, end in zip(given, ends, strict=True)]
    return ReparsedRollouts(
        rollouts=len(given),
        complete=len(saved) + sum(unseen),
        earlier=sum(turns > 0 for turns in saved),
        turns_saved=sum(saved),
        continued=sum(unseen),
    )


def stop_turn(rollout: FileRollout, version: ParserVersion) -> int | None:
    """Return the first turn, from 1, whose reply is a stop to a parser; None without one."""
    for number, turn in enumerate(rollout.episode.turns, 1):
        try:
            action = parse(turn.response, version)
        except NotUnderstoodError:
            continue
        if action.kind is FileActionKind.DONE:
            return number
    return None


@record
class ParserSplit:
    """Where clean stops come from, between one policy by the old parser and another by the new.

    Shares of rollouts; the two parts add up to the whole.
    """

    by_parser: float
    by_training: float


def parser_split(old: float, matched: float, new: float) -> ParserSplit:
    """Split a rise of clean stops.

    Args:
        old: share of clean stops of the earlier policy, by the old parser.
        matched: of the same policy by the new parser: a replay, or rollouts of its own.
        new: of the later policy, by the new parser.
    """
    return ParserSplit(by_parser=matched - old, by_training=new - matched)


# --- The probability of stopping ------------------------------------------------------------------

_AT_ONCE = 48  # questions; a server answers several in hardly more time than one


@record
class StopChance:
    """One conversation, and from which turn on there is nothing left to do.

    Attributes:
        trace: of a rollout, or of a demonstration, which gives every model the same chances.
        work: how many commands the task takes; turns after those are late.
    """

    trace: Trace
    work: int


@record
class StopProbability:
    """Mean probabilities of stopping: that a reply begins with the stop word, at temperature 1.

    At a low temperature an evaluation sees stops that are likely, and no others: a model that stops
    once in ten chances and one that never does look the same, and only the first can be trained to
    stop by its own rollouts. The probability itself tells them apart.

    Attributes:
        early: at turns before all commands that the task takes were given; None without any.
        late: at the turns after those; None without any.
        num_early: how many turns that is.
        num_late: the same.
    """

    early: float | None
    late: float | None
    num_early: int
    num_late: int


def stop_probability(
    engine: Engine, chat_template: ChatTemplate, chances: Iterable[StopChance]
) -> StopProbability:
    """Ask a model at the beginning of every turn how likely it stops.

    Turns are early or late by their number, whether or not the work was really done; of an oracle's
    demonstration it was.

    Raises:
        EngineError: the engine gives no answer.
    """
    stop_word = chat_template.exactly(STOP_WORD)
    early: list[tuple[int, ...]] = []
    late: list[tuple[int, ...]] = []
    for chance in chances:
        for number, prompt in enumerate(prompts(chance.trace)):
            (late if number >= chance.work else early).append((*prompt, *stop_word))

    def probability(tokens: Sequence[int]) -> float | None:
        try:
            return math.exp(math.fsum(engine.score(tokens, len(tokens) - len(stop_word))))
        except PromptTooLongError:
            return None  # at the end of its context a model cannot stop either

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [pool.map(probability, asked) for asked in (early, late)]  # both under way at once
        of_early, of_late = ([each for each in own if each is not None] for own in found)
    return StopProbability(
        early=fmean(of_early) if of_early else None,
        late=fmean(of_late) if of_late else None,
        num_early=len(of_early),
        num_late=len(of_late),
    )


def prompts(trace: Trace) -> Iterator[tuple[int, ...]]:
    """Yield all that was shown and said before each turn's reply."""
    replies = ((), *(turn.reply for turn in trace.turns))
    added = ((*reply, *turn.context) for reply, turn in zip(replies, trace.turns, strict=False))
    yield from accumulate(added)
