"""What A2TGPO adds to a step: how much likelier each call made the gold answer.

A2TGPO, equations 2 and 3: what a call gained is by how much the answer became likelier. For that
the answer is put behind the context after each call, and scored with the weights that sampled it:
by the engine, or by the trainer's own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch

from harness.records import record
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import Engine
from harness.workloads.models.example import Example
from harness.workloads.rl.advantages import UnscorableError
from harness.workloads.rl.algorithms.a2tgpo import ContextEnd, GainOf, gains
from harness.workloads.rl.rollout import Key, Rollout, Trace

if TYPE_CHECKING:  # it needs peft, which gains taken by the engine do not
    from harness.workloads.models.lora import LoraPolicy

# from examples to the log-probabilities of their trained tokens
Score = Callable[[Sequence[Example]], Sequence[Sequence[float]]]


@record
class GoldAnswer:
    """How a gold answer is put behind a context.

    Attributes:
        before: tokens that lead to it.
        tokens: its own, which are scored.
    """

    before: tuple[int, ...]
    tokens: tuple[int, ...]


def gold_answer(before: str, answer: str, chat_template: ChatTemplate) -> GoldAnswer:
    """Return a gold answer in tokens; made apart from what stands before it."""
    return GoldAnswer(
        before=chat_template.said(before)[:-1], tokens=chat_template.said(answer)[:-1]
    )


def probes(
    trace: Trace, gold: GoldAnswer, chat_template: ChatTemplate, end: ContextEnd
) -> tuple[Example, ...]:
    """Return what must be scored: one context a turn, each with the gold answer behind it.

    The first is the question alone, the others end with a call's result, or the last, where `end`
    says so, with the call itself. A turn that was not followed by another one is the answer's.
    """
    found = []
    tokens: list[int] = []
    for number, turn in enumerate(trace.turns):
        is_last_call = 0 < number == len(trace.turns) - 1
        shown = () if end is ContextEnd.CALL and is_last_call else turn.context
        context = [*tokens, *shown]
        if not shown and context[-1] == chat_template.end:
            context.pop()  # the answer goes on where the call ends
        start = len(context) + len(gold.before)
        example = Example(
            tokens=(*context, *gold.before, *gold.tokens),
            trained=tuple(range(start, start + len(gold.tokens))),
        )
        found.append(example)
        tokens += (*turn.context, *turn.reply)
    return tuple(found)


def by_engine(engine: Engine, max_concurrency: int) -> Score:
    """Return a way to score that asks the engine, many at once."""

    def one(example: Example) -> tuple[float, ...]:
        logprobs = engine.score(example.tokens)  # from the second token on
        if len(logprobs) != len(example.tokens) - 1:
            message = f"{len(logprobs)} log-probabilities of {len(example.tokens)} tokens"
            raise UnscorableError(message)
        return tuple(logprobs[at - 1] for at in example.trained)

    def score(examples: Sequence[Example]) -> list[tuple[float, ...]]:
        with ThreadPoolExecutor(max_concurrency) as pool:
            return list(pool.map(one, examples))

    return score


def by_trainer(policy: LoraPolicy) -> Score:
    """Return a way to score that asks the trainer's own model, as it is now."""

    def score(examples: Sequence[Example]) -> list[tuple[float, ...]]:
        with torch.no_grad():
            return [tuple(each.tolist()) for each in policy.logprobs(examples)]

    return score


@record
class Probing:
    """What the gold answers are scored behind.

    Attributes:
        gold: of every task, by its id.
        chat_template: of the model.
        end: where the last call's context ends.
        gain_of: probabilities or their logarithms.
    """

    gold: Mapping[str, GoldAnswer]
    chat_template: ChatTemplate
    end: ContextEnd
    gain_of: GainOf

    def probes(self, rollouts: Sequence[Rollout[Any]]) -> Mapping[Key, tuple[Example, ...]]:
        """Return what must be scored of rollouts that did not break."""
        return {
            each.key: probes(each.trace, self.gold[each.task_id], self.chat_template, self.end)
            for each in rollouts
            if not each.is_error and each.trace is not None and each.trace.turns
        }

    def examples(self, rollouts: Sequence[Rollout[Any]]) -> tuple[Example, ...]:
        """Return the same, each once: all rollouts of a task share their first context."""
        probed = self.probes(rollouts).values()
        return tuple(dict.fromkeys(example for own in probed for example in own))

    def gains(
        self, rollouts: Sequence[Rollout[Any]], score: Score
    ) -> Mapping[Key, tuple[float, ...]]:
        """Return the gain of every process turn of rollouts that did not break.

        Raises:
            UnscorableError: a gain cannot be taken; names the rollout. The paper's code goes on
                with outcomes alone.
            EngineError: the engine does not answer.
        """
        examples = self.examples(rollouts)
        scored = dict(zip(examples, score(examples), strict=True))
        found = {}
        for key, own in self.probes(rollouts).items():
            try:
                found[key] = gains([scored[example] for example in own], self.gain_of)
            except UnscorableError as error:
                _, task, sample = key
                message = f"task {task}, sample {sample}: {error}"
                raise UnscorableError(message) from None
        return found
