"""The gold answer's log-probability after every call, from the engine or from the trainer.

A2TGPO, equations 2 and 3: what a call gained is by how much the answer became likelier. For that
the answer is put behind the context after each call, and scored with the weights that drew it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.records import record
from harness.workloads.envs.search.protocol import SearchPromptStyle, before_answer
from harness.workloads.envs.search.rollout import SearchRollout
from harness.workloads.envs.search.world import Question
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import Engine
from harness.workloads.rl.algorithms.a2tgpo import ContextEnd, GainOf, gains
from harness.workloads.rl.group import Group, Member
from harness.workloads.rl.scores import UnscorableError
from harness.workloads.training.example import Example
from harness.workloads.training.trace import Trace

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


def gold_answer(
    answer: str, chat_template: ChatTemplate, prompt_style: SearchPromptStyle
) -> GoldAnswer:
    """Return a gold answer in tokens; made apart from what stands before it."""
    return GoldAnswer(
        before=chat_template.said(before_answer(prompt_style))[:-1],
        tokens=chat_template.said(answer)[:-1],
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
        found.append(_probe(context, gold))
        tokens += (*turn.context, *turn.reply)
    return tuple(found)


def _probe(context: Sequence[int], gold: GoldAnswer) -> Example:
    start = len(context) + len(gold.before)
    return Example(
        tokens=(*context, *gold.before, *gold.tokens),
        trained=tuple(range(start, start + len(gold.tokens))),
    )


def by_engine(engine: Engine, threads: int) -> Score:
    """Return a way to score that asks the engine, many at once."""

    def one(example: Example) -> tuple[float, ...]:
        logprobs = engine.score(example.tokens)  # from the second token on
        if len(logprobs) != len(example.tokens) - 1:
            message = f"{len(logprobs)} log-probabilities of {len(example.tokens)} tokens"
            raise UnscorableError(message)
        return tuple(logprobs[at - 1] for at in example.trained)

    def score(examples: Sequence[Example]) -> list[tuple[float, ...]]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(one, examples))

    return score


@record
class GainRules:
    """How gains are taken.

    Attributes:
        prompt_style: how the model was spoken to.
        gain_of: probabilities or their logarithms.
        end: where the last call's context ends.
    """

    prompt_style: SearchPromptStyle
    gain_of: GainOf
    end: ContextEnd


Gains = Mapping[tuple[str, int], tuple[float, ...]]  # by question and sample


def take_gains(
    rollouts: Sequence[SearchRollout],
    questions: Mapping[str, Question],
    chat_template: ChatTemplate,
    score: Score,
    rules: GainRules,
) -> Gains:
    """Return the gain of every process turn of rollouts that did not break.

    A context that several rollouts share, as all of a question share its first, is scored once.

    Raises:
        UnscorableError: a gain cannot be taken; names the rollout.
        EngineError: the engine does not answer.
    """
    asked = probes_of(rollouts, questions, chat_template, rules)
    examples = different(asked)
    found = dict(zip(examples, score(examples), strict=True))
    return {key: _gains(key, [found[each] for each in own], rules) for key, own in asked.items()}


Probes = Mapping[tuple[str, int], tuple[Example, ...]]  # by question and sample


def probes_of(
    rollouts: Sequence[SearchRollout],
    questions: Mapping[str, Question],
    chat_template: ChatTemplate,
    rules: GainRules,
) -> Probes:
    """Return what must be scored of rollouts that did not break."""
    found = {}
    for each in rollouts:
        if each.reward is not None and each.trace.turns:
            gold = gold_answer(questions[each.question].answer, chat_template, rules.prompt_style)
            found[each.question, each.sample] = probes(each.trace, gold, chat_template, rules.end)
    return found


def different(asked: Probes) -> tuple[Example, ...]:
    """Return every example once."""
    return tuple(dict.fromkeys(example for own in asked.values() for example in own))


def _gains(
    key: tuple[str, int], answers: Sequence[Sequence[float]], rules: GainRules
) -> tuple[float, ...]:
    try:
        return gains(answers, rules.gain_of)
    except UnscorableError as error:
        message = f"question {key[0]}, sample {key[1]}: {error}"
        raise UnscorableError(message) from None


def groups(rollouts: Iterable[SearchRollout], gained: Gains) -> tuple[Group, ...]:
    """Return one group a question, in the order in which they come first.

    What broke is left out.

    Args:
        rollouts: of one set of weights.
        gained: their gains; empty where the objective has no use for them.
    """
    members: dict[str, list[Member]] = defaultdict(list)
    for each in rollouts:
        if each.reward is not None:
            own = gained.get((each.question, each.sample), ())
            members[each.question].append(Member(trace=each.trace, reward=each.reward, gains=own))
    return tuple(Group(key=question, members=tuple(own)) for question, own in members.items())
