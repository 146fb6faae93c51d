"""What the file agent is trained on: demonstrations of file tasks. Loads no torch.

The tasks are of the same author and the same personas as the evaluation's, so the distribution is
the same; the seeds are others, from `FIRST_SEED` on, where the evaluation's are 42 to 241. Most of
them are then renamed: every name becomes a string of random pieces of the tokenizer. Without that
the policy learns the author's twenty names by heart and cannot copy any other; and a piece that is
never a target is never produced, as its embedding is only ever pushed down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from random import Random

from harness.records import record
from harness.sandbox.base import CommandResult
from harness.workloads.envs.files.personas import PERSONAS, Slot
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileAction,
    FileActionKind,
    PromptStyle,
    Turn,
    conversation,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.inference.chat_template import Message
from harness.workloads.tiny_models.recipe import TrainingPhase

FIRST_SEED = 100_000  # the evaluation world has the seeds 42 to 241
_LAST_SEED = 2**31
_TOKENIZER_SEED, _TOKENIZER_TASKS = 7, 2000
VOCABULARY = 768  # with all bytes, before the phrases
PHRASES = (
    *("```bash\n", "\n```", STOP_WORD, "TASK\n", "\nFILES\n", "exit 0", "exit 1"),
    *("sed -i 's/", "mkdir -p ", "echo '", "mv ", "cp ", "rm "),
    *(" into a new directory ", " files in a new directory ", "Replace every '", " by '"),
    *("Add the line '", " with the line '", "' at the end of ", "Reviewed by ", " as it is."),
)
_MAX_PIECES = 3  # of a random name

# words that a template or a command holds itself, which no renaming may touch
_WORD = re.compile(r"[A-Za-z]+")
_FIXED = frozenset(
    _WORD.findall(
        "Move Rename Delete Copy Create Add Replace Collect Leave Reviewed"
        " into a new directory to with the line by at end of every in all files as it is checked"
        " notes md mkdir mv rm cp echo sed i s g p"
    )
)


@record
class Demonstration:
    """A task as an agent is given it, and commands that do it, or a part of it."""

    intent: str
    listing: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def operations(self) -> int:
        """How many things are asked for."""
        return sum(not each.startswith("Leave ") for each in re.split(r"(?<=\.) ", self.intent))


def of_task(task: Task) -> Demonstration:
    """Return what the author of a task would do."""
    listing = tuple(sorted(file.path for file in task.seed))
    return Demonstration(intent=task.intent, listing=listing, commands=task.oracle)


def draw(random: Random) -> Demonstration:
    """Draw a task of another seed than any of the evaluation's."""
    seed = random.randrange(FIRST_SEED, _LAST_SEED)
    slot = Slot(persona=random.choice(PERSONAS), index=0, seed=seed)
    return of_task(TemplateAuthor().write(slot))


def renamed(given: Demonstration, random: Random, pieces: Sequence[str]) -> Demonstration:
    """Replace every name, each by the same random pieces everywhere."""
    new: dict[str, str] = {}
    # the words of paths and commands, without suffixes and the templates' own words
    stems = (path.rpartition(".")[0] or path for path in given.listing)
    suffixes = {path.rpartition(".")[2] for path in given.listing if "." in path}
    words = {word for text in (*stems, *given.commands) for word in _WORD.findall(text)}
    for name in sorted(words - suffixes - _FIXED):
        other = _random_name(random, pieces)
        while other in new.values():  # two files would meet
            other = _random_name(random, pieces)
        new[name] = other

    def rename(text: str) -> str:
        return _WORD.sub(lambda found: new.get(found[0], found[0]), text)

    return Demonstration(
        intent=rename(given.intent),
        listing=tuple(sorted(map(rename, given.listing))),
        commands=tuple(map(rename, given.commands)),
    )


def cut_short(given: Demonstration, random: Random, hazard: float) -> Demonstration:
    """Give up early: after each command with probability `hazard`."""
    done = 1
    while done < len(given.commands) and random.random() >= hazard:
        done += 1
    return Demonstration(intent=given.intent, listing=given.listing, commands=given.commands[:done])


def messages_of(given: Demonstration) -> list[Message]:
    """Return the conversation in which the commands are given, work, and are followed by a stop."""
    turns = [
        Turn(
            response=f"```bash\n{command}\n```",
            action=FileAction(kind=FileActionKind.COMMAND, command=command),
            observation=CommandResult(exit_code=0, stdout="", stderr=""),
        )
        for command in given.commands
    ]
    done = Turn(response=STOP_WORD, action=FileAction(kind=FileActionKind.DONE))
    return conversation(given.intent, given.listing, [*turns, done], PromptStyle.BRIEF)


def conversations(
    random: Random, pieces: Sequence[str]
) -> Callable[[TrainingPhase], Sequence[Message]]:
    """Return what draws a conversation; `pieces` are what random names are made of."""

    def draw_one(phase: TrainingPhase) -> Sequence[Message]:
        given = draw(random)
        while given.operations > phase.operations:
            given = draw(random)
        if random.random() < phase.renamed:
            given = renamed(given, random, pieces)
        return messages_of(cut_short(given, random, phase.hazard))

    return draw_one


def texts() -> Iterator[str]:
    """Yield what the tokenizer is trained on."""
    random = Random(_TOKENIZER_SEED)  # noqa: S311 - no secret
    for _ in range(_TOKENIZER_TASKS):
        yield from (message.content for message in messages_of(draw(random)))


def _random_name(random: Random, pieces: Sequence[str]) -> str:
    return "".join(random.choices(pieces, k=random.randint(1, _MAX_PIECES)))
