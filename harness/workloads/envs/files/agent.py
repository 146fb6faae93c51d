"""An agent that is a model: it answers by tokens that an engine draws, and keeps all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.records import digest, record
from harness.sandbox.base import Sandbox
from harness.workloads.envs.files.protocol import Message
from harness.workloads.envs.files.rollout import (
    AgentError,
    ContextFullError,
    FileRollout,
    RolloutSettings,
    run_episode,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import (
    Engine,
    EngineError,
    PromptTooLongError,
    Reply,
    SamplingParams,
)
from harness.workloads.inference.service import ServiceDied
from harness.workloads.rl.algorithms.t2po import ResampleRule, Resampling
from harness.workloads.training.trace import Trace, TurnTrace

_SEED_DIGITS = 15  # hex; 60 bits, which every engine takes

# how uncertain a reply was, from the alternatives of its tokens (`t2po.turn_entropy`)
Uncertainty = Callable[[Sequence[Sequence[float]]], float | None]


def seed_of(*parts: str | int) -> int:
    """Return a seed that depends on `parts` alone: on no order, no thread and no machine."""
    return int(digest(list(parts))[:_SEED_DIGITS], 16)


@record
class EngineFilePolicy:
    """A model that plays tasks.

    Attributes:
        name: what its rollouts are filed under.
        engine: who draws.
        chat_template: of the engine's model.
        sampling: how replies are drawn. Its seed is the run's: each reply has one of its own, made
            of this, the task, the sample, the turn and the draw. So a step of training needs one of
            its own (`seed_of`), or it repeats the luck of the steps before.
        uncertainty: taken of each reply; `SamplingParams.alternatives` must be asked for.
        resample: which turns are drawn again, by their uncertainty (article 34, "Turn-level").
    """

    name: str
    engine: Engine
    chat_template: ChatTemplate
    sampling: SamplingParams
    uncertainty: Uncertainty | None = None
    resample: ResampleRule | None = None

    @property
    def served(self) -> str:
        """Which weights play."""
        return self.engine.served

    def play(self, task: Task, sample: int, box: Sandbox, rules: RolloutSettings) -> FileRollout:
        """Play one task in a box that exists."""
        agent = EngineAgent(self, task.task_id, sample)
        rollout = run_episode(task, agent, box, name=self.name, sample=sample, rules=rules)
        return replace(
            rollout,
            engine=self.engine.identity,
            served=agent.trace.served,
            trace=agent.trace,
            spent=replace(rollout.spent, engine_s=round(agent.engine_s, 6)),
        )


class EngineAgent:
    """The protocol `rollout.Agent`, for one rollout of a player.

    Attributes:
        engine_s: how long the engine was waited for, seconds.
    """

    def __init__(self, player: EngineFilePolicy, task_id: str, sample: int) -> None:
        self._player = player
        self._rollout = (player.sampling.seed, task_id, sample)
        self._served = player.served
        self._turns: list[TurnTrace] = []
        self._tokens: list[int] = []  # everything so far
        self._redraw = Resampling(rule=player.resample or ResampleRule(max_resamples=0))
        self.engine_s = 0.0

    @property
    def trace(self) -> Trace:
        """What was shown and drawn."""
        return Trace(turns=tuple(self._turns), served=self._served)

    def __call__(self, messages: Sequence[Message]) -> str:
        """Draw the next reply; `messages` are those of the last call, the reply, and one more.

        Raises:
            ContextFullError: the conversation no longer fits.
            AgentError: the engine gives no reply, for any other reason.
            ServiceDied: it never will again.
        """
        context = self._context(messages)
        try:
            turn, reply = self._drawn(context)
        except PromptTooLongError as error:
            raise ContextFullError(str(error)) from error
        except ServiceDied:
            raise  # this is no rollout's end, but the run's
        except EngineError as error:
            raise AgentError(str(error)) from error
        self._turns.append(turn)
        self._tokens += (*turn.context, *turn.reply)
        return self._player.chat_template.text(reply)

    def _context(self, messages: Sequence[Message]) -> tuple[int, ...]:
        chat_template = self._player.chat_template
        if not self._turns:
            return chat_template.opening(messages)
        return chat_template.following(self._turns[-1].reply, messages[-1].content)

    def _drawn(self, context: tuple[int, ...]) -> tuple[TurnTrace, Reply]:
        """Draw a turn until the rule is content; the last draw is kept."""
        measure = self._player.uncertainty
        draws = 0
        while True:
            reply = self._reply((*self._tokens, *context), draws)
            uncertainty = None if measure is None else measure(reply.alternatives)
            self._redraw = self._redraw.drew(uncertainty)
            draws += 1
            if self._redraw.accepted:
                break
        turn = TurnTrace(
            context=context,
            reply=reply.tokens,
            logprobs=reply.logprobs,
            entropy=uncertainty,
            num_samples=draws,
        )
        return turn, reply

    def _reply(self, prompt: Sequence[int], draw: int) -> Reply:
        seed = seed_of(*self._rollout, len(self._turns), draw)
        began = time.monotonic()
        try:
            return self._player.engine.reply(prompt, replace(self._player.sampling, seed=seed))
        finally:
            self.engine_s += time.monotonic() - began
