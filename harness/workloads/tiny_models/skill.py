"""Scores of a tiny model: it acts in its environment on the held-out tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen2ForCausalLM

from harness.records import record
from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.envs.files.grade import MAX_TURNS, Grade, grade, rates
from harness.workloads.envs.files.personas import Split, slots, split_of
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileActionKind,
    NotUnderstoodError,
    ParserVersion,
    PromptStyle,
    error_message,
    first_message,
    observation_message,
    parse,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.envs.search.bm25 import Bm25
from harness.workloads.envs.search.environment import (
    SearchEnvironment,
    SearchEvalResults,
    eval_results,
)
from harness.workloads.envs.search.world import World
from harness.workloads.inference.chat_template import load_chat_template
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.inference.transformers_engine import TransformersEngine
from harness.workloads.inference.vllm import OnCpu, Serving, VllmDtype
from harness.workloads.rl.runner import EnginePolicy, Runner
from harness.workloads.tiny_models.conversations import Conversations
from harness.workloads.tiny_models.search import HOPS, NAMES_PER_KIND
from harness.workloads.tiny_models.tokenizer import ASSISTANT, END, MAX_TOKENS, USER

_FILE_TEMPERATURES = (0.0, 0.2, 1.0)  # 0.2 is article 32's
_SEARCH_TEMPERATURES = (0.0, 1.0)
_WORLD_SEED, _QUESTIONS = 1000, 120  # of the search agent; no run plays in this world
_REPLY_TOKENS = 48  # of the search agent
MAX_REPLY_TOKENS = 64  # the author's longest command has 27


@record
class FileEvalResults:
    """What was counted over some tasks.

    Attributes:
        temperature: of the sampling; 0 takes the likeliest token.
        pass_rate: share of the tasks with every assertion.
        assertion_pass_rate: share of all assertions.
        turns: mean.
        stop_rate: share of the rollouts that said they were done.
        stop_early: probability of stopping at a turn, mean over the turns at which the author of
            the task would still have had a command to give; nothing is said of whether the turns
            before did any good.
        stop_late: the same for the turns after those; None where there were none.
    """

    tasks: int
    temperature: float
    pass_rate: float
    assertion_pass_rate: float
    turns: float
    stop_rate: float
    stop_early: float
    stop_late: float | None


def measure_files(folder: Path, seed: int) -> tuple[FileEvalResults, ...]:
    """Return what the file agent in a folder can do on the held-out tasks, at each temperature."""
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tasks = held_out()
    return tuple(
        measure(model, tokenizer, tasks, temperature=each, seed=seed) for each in _FILE_TEMPERATURES
    )


def held_out() -> list[Task]:
    """Return the file tasks that no model is trained on: 158, in the article's order."""
    author = TemplateAuthor()
    return [author.write(slot) for slot in slots() if split_of(slot.task_id) is Split.HELD_OUT]


def measure_search(folder: Path, seed: int) -> dict[str, SearchEvalResults]:
    """Return what the search agent in a folder can do in a world of its own, by temperature."""
    world = World(_WORLD_SEED, NAMES_PER_KIND)
    questions = world.questions(_WORLD_SEED, _QUESTIONS, HOPS)
    chat_template = load_chat_template(folder)
    serving = Serving(
        model_dir=folder,
        name="policy",
        dtype=VllmDtype.FLOAT32,
        max_model_len=MAX_TOKENS,
        max_num_seqs=1,
        seed=seed,
        place=OnCpu(kv_cache_gib=1),
    )
    engine = TransformersEngine(serving, chat_template.end)
    runner = Runner(environment=partial(SearchEnvironment, Bm25(world.passages)), max_concurrency=1)
    found = {}
    for temperature in _SEARCH_TEMPERATURES:
        policy = EnginePolicy(
            name="policy",
            engine=engine,
            chat_template=chat_template,
            sampling=SamplingParams(
                temperature=temperature, max_new_tokens=_REPLY_TOKENS, seed=seed
            ),
            seed_has_draw=False,
        )
        rollouts = runner.run(policy, questions)
        counted = [each.episode for each in rollouts if not each.is_error]
        found[f"{temperature:g}"] = eval_results(counted)
    return found


def measure(
    model: Qwen2ForCausalLM,
    tokenizer: Tokenizer,
    tasks: Sequence[Task],
    *,
    temperature: float,
    seed: int,
) -> FileEvalResults:
    """Let the model play every task once, and count."""
    games = [_Game(task, tokenizer) for task in tasks]
    # play all games side by side, turn by turn
    conversations = Conversations(model, len(games), MAX_TOKENS)
    end, stop = tokenizer.token_to_id(END), tokenizer.token_to_id(STOP_WORD)
    for _ in range(MAX_TURNS):
        playing = [number for number, game in enumerate(games) if not game.stopped]
        if not playing:
            break
        logits = conversations.extend(playing, [games[number].unread for number in playing])
        for number, share in zip(playing, logits.softmax(-1)[:, stop], strict=True):
            games[number].stop_probabilities.append(float(share))
        for number, reply in _replies(
            conversations, playing, logits, _Draw(temperature, seed), end
        ).items():
            games[number].take(reply)
    counted = rates(game.grade for game in games)
    late = list(chain.from_iterable(game.stop_late for game in games))
    return FileEvalResults(
        tasks=counted.tasks,
        temperature=temperature,
        pass_rate=counted.tasks_passed / counted.tasks,
        assertion_pass_rate=counted.held,
        turns=fmean(len(game.stop_probabilities) for game in games),
        stop_rate=fmean(game.stopped for game in games),
        stop_early=fmean(chain.from_iterable(game.stop_early for game in games)),
        stop_late=fmean(late) if late else None,
    )


class _Draw:
    """How tokens are drawn from logits."""

    def __init__(self, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor) -> list[int]:
        """Return one token a row of logits, [rows, vocabulary]."""
        if not self._temperature:
            return list(map(int, logits.argmax(-1)))
        shares = torch.softmax(logits / self._temperature, -1)
        return list(map(int, torch.multinomial(shares, 1, generator=self._generator)[:, 0]))


class _Game:
    """One task while it is played.

    Attributes:
        stop_probabilities: that the model would stop, at each turn.
        stopped: whether it did.
        unread: tokens that the model has not seen yet.
    """

    def __init__(self, task: Task, tokenizer: Tokenizer) -> None:
        self._task, self._tokenizer, self._sandbox = task, tokenizer, MemorySandbox()
        self._sandbox.materialise(task.workspace)
        self.stop_probabilities: list[float] = []
        self.stopped = False
        self.unread = self._said(
            first_message(task.intent, self._sandbox.list(), PromptStyle.BRIEF)
        )

    def take(self, reply: list[int]) -> None:
        """Do what a reply asks for; the model has read all of it but its last token."""
        end = self._tokenizer.token_to_id(END)
        words = reply[:-1] if reply[-1] == end else reply
        said = self._answer(self._tokenizer.decode(words))
        self.unread = [*reply[-1:], *([end] if words is reply else []), *self._said(said)]

    @property
    def grade(self) -> Grade:
        """The grade of the workspace as it is now."""
        return grade(self._task, self._sandbox.snapshot())

    @property
    def stop_early(self) -> list[float]:
        """The probabilities at turns at which the author would not have stopped yet."""
        return self.stop_probabilities[: len(self._task.oracle)]

    @property
    def stop_late(self) -> list[float]:
        """The probabilities at the turns after those."""
        return self.stop_probabilities[len(self._task.oracle) :]

    def _answer(self, text: str) -> str:
        try:
            action = parse(text, ParserVersion.PHASE6)
        except NotUnderstoodError as error:
            return error_message(str(error), PromptStyle.BRIEF)
        if action.kind is FileActionKind.DONE:
            self.stopped = True
            return ""
        return observation_message(self._sandbox.run(action.command), PromptStyle.BRIEF)

    def _said(self, content: str) -> list[int]:
        """Return what the user says, up to where the model speaks."""
        text = f"{USER}{content}{END}{ASSISTANT}"
        return list(self._tokenizer.encode(text).ids)


def _replies(
    conversations: Conversations, speaking: Sequence[int], logits: Tensor, draw: _Draw, end: int
) -> dict[int, list[int]]:
    """Draw a reply of each of some conversations, whose next token `logits` is of."""
    replies: dict[int, list[int]] = {number: [] for number in speaking}
    while True:
        for number, token in zip(speaking, draw(logits), strict=True):
            replies[number].append(token)
        speaking = [
            number
            for number in speaking
            if replies[number][-1] != end and len(replies[number]) < MAX_REPLY_TOKENS
        ]
        if not speaking:
            return replies
        logits = conversations.extend(speaking, [replies[number][-1:] for number in speaking])
