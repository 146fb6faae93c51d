"""Playing episodes: policies, one episode, and many at once with one rule for every fault.

The rule: what the agent does is its own result, also when it breaks its sandbox. What is proven not
to be its doing (the engine or a server broke, no sandbox can be made) is a rollout error. It counts
in no rate, it is counted, and it is bounded: more than 1 % of them, another number of them for
policies that are compared, or a server of the run that has ended, and the run is broken. So no
figure comes from the rollouts that happened to be played before something died.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol

from harness.errors import HostError
from harness.records import digest, record
from harness.workloads.api import progress
from harness.workloads.api.passes import part
from harness.workloads.envs.base import (
    Environment,
    EnvironmentFault,
    EnvironmentTask,
    EpisodeT,
    StopReason,
    TaskT,
    TaskT_contra,
)
from harness.workloads.inference.chat_template import ChatTemplate, Message, Role
from harness.workloads.inference.engine import (
    Engine,
    EngineError,
    PromptTooLongError,
    Reply,
    SamplingParams,
)
from harness.workloads.inference.service import ServiceDied
from harness.workloads.rl.rollout import Key, Rollout, RolloutLog, Timings, Trace, TurnTrace

MAX_ERROR_FRACTION = 0.01  # of rollouts; a rate over the others is then off by at most as much
_AGAIN = "run it again once the cause is gone: what was played is kept"
_SEED_DIGITS = 15  # hex; 60 bits, which every engine takes


def seed_of(*parts: str | int) -> int:
    """Return a seed that depends on `parts` alone: on no order, no thread and no machine."""
    return int(digest(list(parts))[:_SEED_DIGITS], 16)


def require_equal_errors(num_errors: Mapping[str, int]) -> None:
    """Refuse to compare policies of which more rollouts broke of one than of another.

    Args:
        num_errors: policy -> how many of its rollouts broke.

    Raises:
        HostError: the numbers differ, so that what was left out may be what makes the difference.
    """
    if len(set(num_errors.values())) > 1:
        counts = ", ".join(f"{number} of {name}" for name, number in num_errors.items())
        message = f"policies are compared of which not as many rollouts broke: {counts}"
        raise HostError(message, _AGAIN)


# --- Policies -------------------------------------------------------------------------------------


class Agent(Protocol):
    """A policy during one episode."""

    @property
    def trace(self) -> Trace | None:
        """The tokens so far; None where there are none."""
        ...

    @property
    def engine_s(self) -> float:
        """How long an engine was waited for, seconds."""
        ...

    def reply(self, shown: Sequence[Message]) -> str:
        """Return the reply to what is shown: the opening first, then one user's message a turn.

        Raises:
            PromptTooLongError: the conversation no longer fits into the model's context.
            EngineError: there is no reply, for any other reason.
        """
        ...


class Policy(Protocol[TaskT_contra]):
    """Whoever plays."""

    @property
    def name(self) -> str:
        """What its rollouts are filed under."""
        ...

    @property
    def identity(self) -> str:
        """What samples its replies, with its version; empty where nothing does."""
        ...

    @property
    def served(self) -> str:
        """Which weights play; empty where none do."""
        ...

    def agent(self, task: TaskT_contra, sample: int) -> Agent:
        """Return who plays one episode; called by several threads at once."""
        ...


@dataclass(frozen=True, kw_only=True)
class ScriptedPolicy(Generic[TaskT]):
    """Gives replies that are known before the episode.

    Attributes:
        script: from a task to its replies; the last one must end the episode.
    """

    name: str
    script: Callable[[TaskT], Iterable[str]]
    identity: str = ""
    served: str = ""

    def agent(self, task: TaskT, sample: int) -> Agent:  # noqa: ARG002 - all samples are alike
        """Return who gives the replies."""
        return _ScriptedAgent(iter(self.script(task)))


class _ScriptedAgent:
    trace, engine_s = None, 0.0

    def __init__(self, replies: Iterator[str]) -> None:
        self._replies = replies

    def reply(self, shown: Sequence[Message]) -> str:  # noqa: ARG002 - it knows what to say
        return next(self._replies)


# From a sampled reply to its uncertainty, and whether it is kept: what T2PO adds to sampling. Made
# anew for each episode, as it may compare a turn with the one before.
TurnFilter = Callable[[Reply], tuple[float | None, bool]]


@dataclass(frozen=True, kw_only=True)
class EnginePolicy:
    """A model that answers by tokens, all of which are kept.

    Attributes:
        name: what its rollouts are filed under.
        engine: who samples.
        chat_template: of the engine's model.
        sampling: how replies are sampled. Its seed is the run's: each request has one of its own,
            made of this, the task, the sample, the turn and the draw. So a step of training needs
            one of its own (`seed_of`), or it repeats the luck of the steps before.
        turn_filter: makes what decides whether a turn is sampled again; None keeps every turn.
        seed_has_draw: whether a request's seed depends on how often the turn was sampled. Article
            36's runs, which never sample a turn again, were made without.
    """

    name: str
    engine: Engine
    chat_template: ChatTemplate
    sampling: SamplingParams
    turn_filter: Callable[[], TurnFilter] | None = None
    seed_has_draw: bool = True

    @property
    def identity(self) -> str:
        """What samples, with its version."""
        return self.engine.identity

    @property
    def served(self) -> str:
        """Which weights play."""
        return self.engine.served

    def agent(self, task: EnvironmentTask, sample: int) -> EngineAgent:
        """Return who plays one episode."""
        return EngineAgent(self, task.task_id, sample)


class EngineAgent:
    """An `EnginePolicy` during one episode."""

    def __init__(self, policy: EnginePolicy, task_id: str, sample: int) -> None:
        self._policy = policy
        self._seed = (policy.sampling.seed, task_id, sample)
        self._filter = policy.turn_filter() if policy.turn_filter else lambda _: (None, True)
        self._turns: list[TurnTrace] = []
        self._tokens: list[int] = []  # everything so far
        self.engine_s = 0.0

    @property
    def trace(self) -> Trace:
        """What was shown and sampled."""
        return Trace(turns=tuple(self._turns))

    def reply(self, shown: Sequence[Message]) -> str:
        """Sample a turn until the filter keeps it.

        What the model said stays the tokens that it sampled; only what is shown is tokenized.
        """
        template = self._policy.chat_template
        if self._turns:
            context = template.following(self._turns[-1].reply, shown[-1].content)
        else:
            context = template.opening(shown)
        draws = 0
        while True:
            reply = self._sampled((*self._tokens, *context), draws)
            uncertainty, is_kept = self._filter(reply)
            draws += 1
            if is_kept:
                break
        turn = TurnTrace(
            context=context,
            reply=reply.tokens,
            logprobs=reply.logprobs,
            entropy=uncertainty,
            draws=draws,
        )
        self._turns.append(turn)
        self._tokens += (*turn.context, *turn.reply)
        return template.text(reply)

    def _sampled(self, prompt: Sequence[int], draw: int) -> Reply:
        parts: tuple[str | int, ...] = (*self._seed, len(self._turns))
        if self._policy.seed_has_draw:
            parts += (draw,)
        began = time.monotonic()
        try:
            sampling = replace(self._policy.sampling, seed=seed_of(*parts))
            return self._policy.engine.reply(prompt, sampling)
        finally:
            self.engine_s += time.monotonic() - began


# --- One episode ----------------------------------------------------------------------------------


def run_episode(
    policy: Policy[TaskT], environment: Environment[TaskT, EpisodeT], task: TaskT, sample: int = 0
) -> Rollout[EpisodeT]:
    """Let a policy play one task in an environment that is open.

    Raises:
        ServiceDied: a server of the run has ended, and with it the run.
    """
    agent, served = policy.agent(task, sample), policy.served
    tool, grading = _Stopwatch(), _Stopwatch()
    turn_rewards: list[float] = []
    reward, error = None, ""
    stop_reason: StopReason | None = None
    began = time.monotonic()
    try:
        with tool:
            shown = environment.reset(task)
        while stop_reason is None:
            try:
                reply = agent.reply(shown)
            except PromptTooLongError:
                stop_reason = StopReason.CONTEXT_FULL
                break
            with tool:
                step = environment.step(reply)
            turn_rewards.append(step.reward)
            shown = (Message(role=Role.USER, content=step.shown),)
            stop_reason = step.stop_reason
        with grading:
            outcome = environment.finish(stop_reason)
        stop_reason, reward = outcome.stop_reason, outcome.reward
    except ServiceDied:
        raise  # no rollout's end, but the run's
    except (EngineError, EnvironmentFault) as fault:
        stop_reason, error = StopReason.ERROR, str(fault)
    return Rollout(
        task_id=task.task_id,
        policy=policy.name,
        sample=sample,
        settings=environment.settings,
        engine=policy.identity,
        served=served,
        stop_reason=stop_reason,
        reward=reward,
        turn_rewards=tuple(turn_rewards),
        episode=environment.episode,
        trace=agent.trace,
        error=error,
        timings=Timings(
            total_s=round(time.monotonic() - began, 6),
            engine_s=round(agent.engine_s, 6),
            tool_s=round(tool.total_s, 6),
            grading_s=round(grading.total_s, 6),
        ),
    )


class _Stopwatch:
    """Adds up how long its blocks take."""

    def __init__(self) -> None:
        self.total_s = 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.total_s += time.monotonic() - self._began


# --- Many episodes --------------------------------------------------------------------------------


@record
class EpisodeSpec(Generic[TaskT]):
    """One rollout that is wanted."""

    task: TaskT
    sample: int = 0


@dataclass(frozen=True, kw_only=True)
class Runner(Generic[TaskT, EpisodeT]):
    """Plays many episodes at once: threads, each in an environment of its own, and one log.

    A rollout is in the log, whole, as soon as it has ended; so whatever ends the process, what is
    there need not be played again. A rollout of the log counts only if the same weights played it
    under the same settings, and without error; else it is played again and takes that one's place.
    Policies of one log that differ in anything else, as in their temperature, need other names.

    Attributes:
        environment: makes one, which is not open yet.
        max_concurrency: rollouts at once.
        log: takes every rollout; None keeps none.
    """

    environment: Callable[[], Environment[TaskT, EpisodeT]]
    max_concurrency: int
    log: RolloutLog[EpisodeT] | None = None

    def into(self, path: Path) -> Runner[TaskT, EpisodeT]:
        """Return the same runner with a log of its own."""
        assert self.log is not None, "a runner without a log has no kind of it"
        return replace(self, log=self.log.at(path))

    def run(
        self,
        policy: Policy[TaskT],
        tasks: Iterable[TaskT],
        num_samples: int = 1,
        max_errors: int | None = None,
    ) -> tuple[Rollout[EpisodeT], ...]:
        """Play every task `num_samples` times; return the rollouts in this order.

        Args:
            policy: who plays.
            tasks: the tasks.
            num_samples: rollouts of each.
            max_errors: how many rollout errors are tolerated; None for 1 % of these rollouts.

        Raises:
            ServiceDied: a server of the run has ended. As after the following, the log holds what
                was played until then.
            HostError: there were more errors; or an environment cannot be opened.
        """
        wanted = [
            EpisodeSpec(task=task, sample=sample) for task in tasks for sample in range(num_samples)
        ]
        if max_errors is None:
            max_errors = int(MAX_ERROR_FRACTION * len(wanted))
        session = _Session(self, policy, wanted, max_errors)
        num_workers = min(self.max_concurrency, session.num_left)
        with ThreadPoolExecutor(max(1, num_workers)) as pool:
            try:
                workers = [pool.submit(session.work) for _ in range(num_workers)]
                wait(workers, return_when=FIRST_EXCEPTION)
            finally:
                session.stop()  # each worker ends its rollout, and begins no other
        for worker in workers:
            worker.result()
        return session.rollouts

    def run_part(
        self,
        policy: Policy[TaskT],
        tasks: Sequence[TaskT],
        num_all: int,
        num_samples: int = 1,
        max_errors: int | None = None,
    ) -> tuple[Rollout[EpisodeT], ...]:
        """Play every task, as `run` does; a rehearsal plays some of `num_all`.

        How long the others would take follows from what these took by themselves: all of them are
        played at once, and the last ones with fewer and fewer beside them.
        """
        with part("rollouts", num_all, done=len(tasks)) as timed:
            played = self.run(policy, tasks, num_samples, max_errors)
            spent_s = math.fsum(each.timings.total_s for each in played)
            at_once = min(self.max_concurrency, num_all * num_samples)
            timed.more_s = (num_all - len(tasks)) * spent_s / len(tasks) / at_once
        return played


class _Session(Generic[TaskT, EpisodeT]):
    """What the threads of one call share."""

    def __init__(
        self,
        runner: Runner[TaskT, EpisodeT],
        policy: Policy[TaskT],
        wanted: Sequence[EpisodeSpec[TaskT]],
        max_errors: int,
    ) -> None:
        self._runner, self._policy = runner, policy
        self._wanted, self._max_errors = wanted, max_errors
        logged = runner.log.find(map(self._key, wanted)) if runner.log else {}
        self._played: dict[Key, Rollout[EpisodeT]] = {}
        self._left: queue.SimpleQueue[EpisodeSpec[TaskT]] = queue.SimpleQueue()
        settings = runner.environment().settings
        for spec in wanted:
            found = logged.get(self._key(spec))
            counts = found and not found.is_error and found.settings == settings
            if found and counts and found.served == policy.served:
                self._played[found.key] = found
            else:
                self._left.put(spec)
        self.num_left = self._left.qsize()
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._num_errors = 0
        self._began, self._num_tokens = time.monotonic(), 0

    @property
    def rollouts(self) -> tuple[Rollout[EpisodeT], ...]:
        """All that were wanted; every one of them has been played."""
        return tuple(self._played[self._key(spec)] for spec in self._wanted)

    def stop(self) -> None:
        """Let no further rollout begin."""
        self._stopped.set()

    def work(self) -> None:
        """Play until nothing is left, in one environment, or in another where a rollout broke."""
        while not self._left.empty() and not self._stopped.is_set():
            with self._runner.environment() as environment:
                for spec in self._next():
                    rollout = run_episode(self._policy, environment, spec.task, spec.sample)
                    self._keep(rollout)
                    if rollout.is_error:
                        break

    def _next(self) -> Iterator[EpisodeSpec[TaskT]]:
        while not self._stopped.is_set():
            try:
                yield self._left.get_nowait()
            except queue.Empty:
                return

    def _keep(self, rollout: Rollout[EpisodeT]) -> None:
        with self._writing:
            if self._runner.log:
                self._runner.log.append(rollout)
            self._played[rollout.key] = rollout
            self._tell(rollout)
            self._num_errors += rollout.is_error
            # one that did not break, of another thread, has no cause to tell
            if not rollout.is_error or self._num_errors <= self._max_errors:
                return
        self.stop()
        message = (
            f"{self._num_errors} of {len(self._wanted)} rollouts of {self._policy.name} broke, and "
            f"{self._max_errors} may: {rollout.error}"
        )
        raise HostError(message, _AGAIN)

    def _tell(self, rollout: Rollout[EpisodeT]) -> None:
        """Say how many rollouts there are, and how fast tokens come."""
        turns = rollout.trace.turns if rollout.trace else ()
        self._num_tokens += sum(len(turn.reply) * turn.draws for turn in turns)
        rate = self._num_tokens / max(time.monotonic() - self._began, 1e-9)
        speed = {"tokens_per_second": rate} if self._num_tokens else {}
        progress.detail("rollouts", len(self._played), len(self._wanted), speed, unit="rollout")

    def _key(self, spec: EpisodeSpec[TaskT]) -> Key:
        return self._policy.name, spec.task.task_id, spec.sample
