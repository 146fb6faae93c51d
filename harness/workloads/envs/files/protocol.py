"""How an agent is spoken to and understood: prompts, observations, and the two parsers.

Article 32, section "The agent protocol", with the contract of its prompts in our own words. One
builder makes the conversation for demonstrations, rollouts and training alike; the article's
demonstrations listed directories that its rollouts did not. The same conversation has a second,
brief style of ours, for models whose context or size the article's prompts are too much for; the
replies, and so the parsers, are the same.

The parsers keep two rules that cost an agent work, as published: a reply that holds the stop word
ends the rollout without running its command, and of a block only the first command line is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from harness.records import record
from harness.sandbox.base import CommandResult
from harness.workloads.inference.chat_template import Message, Role

STOP_WORD = "TASK_COMPLETE"
MAX_CHARS = 4000  # of a reply, a stdout or a stderr that is shown again
_KEPT = MAX_CHARS // 2 - 16  # at each end of a longer one
BRIEF_CHARS = 80  # of a stdout, in the brief prompt_style

SYSTEM_PROMPT = f"""\
You are a file agent. You work in a sandboxed Linux directory, one command at a time.

Tools: ls, cat, head, tail, mv, cp, rm, mkdir, sed, grep, find, wc, echo, touch.

Each reply holds exactly one command in one block:

```bash
ls
```

When the task is done, reply with {STOP_WORD} alone on a line, and no command.

- One command a reply; do not chain with ; or &&.
- Paths are relative to the directory you start in.
- Change text in place with sed -i; make directories with mkdir -p.
- There is no network and no editor."""


class ParserVersion(StrEnum):
    """The published parsers; article 33 made the second one after article 32's evaluation."""

    PHASE5 = "phase5"
    PHASE6 = "phase6"  # also takes `echo "Task complete"` for a stop


class PromptStyle(StrEnum):
    """How an agent is spoken to."""

    ARTICLE = "article"
    BRIEF = "brief"  # no system message, no reminders; for a model of a million parameters


class FileActionKind(StrEnum):
    """What a reply asks for."""

    COMMAND = "command"
    DONE = "done"


@record
class FileAction:
    """What a reply was understood as."""

    kind: FileActionKind
    command: str = ""


@record
class Turn:
    """One reply and what came of it.

    Attributes:
        response: the reply, cut to `MAX_CHARS`.
        action: what it was understood as; None where it was not.
        observation: what the command did; None where none was run.
        parse_error: why it was not understood; empty where it was.
    """

    response: str
    action: FileAction | None = None
    observation: CommandResult | None = None
    parse_error: str = ""


class NotUnderstoodError(ValueError):
    """A reply that neither asks for a command nor says that the task is done."""


# --- Understanding a reply ----------------------------------------------------------------------

_BLOCK = re.compile(r"```(?:bash|sh|shell)?[ \t]*\r?\n(.*?)```", re.DOTALL)
_SAID_DONE = re.compile(
    r"echo[ \t]+(?P<quote>[\"']?)(?i:task[ _]?completed?)\.?(?P=quote)[ \t]*(?:#.*)?"
)


def parse(reply: str, version: ParserVersion) -> FileAction:
    """Return what a reply asks for.

    Raises:
        NotUnderstoodError: it asks for nothing; says what is missing.
    """
    if not reply.strip():
        message = "the reply is empty"
        raise NotUnderstoodError(message)
    if any(line.strip() == STOP_WORD for line in reply.splitlines()):
        return FileAction(kind=FileActionKind.DONE)
    block = _BLOCK.search(reply)
    if block is None:
        message = "there is no closed ```bash block"
        raise NotUnderstoodError(message)
    command = _first_command(block[1])
    if version is ParserVersion.PHASE6 and _SAID_DONE.fullmatch(command):
        return FileAction(kind=FileActionKind.DONE)
    return FileAction(kind=FileActionKind.COMMAND, command=command)


def _first_command(block: str) -> str:
    lines = [line.strip() for line in block.splitlines()]
    commands = [line for line in lines if line and not line.startswith("#")]
    if not commands:
        message = "the block holds no command"
        raise NotUnderstoodError(message)
    return commands[0]


# --- Speaking to it -----------------------------------------------------------------------------


def conversation(
    intent: str,
    listing: Iterable[str],
    turns: Sequence[Turn],
    prompt_style: PromptStyle = PromptStyle.ARTICLE,
) -> list[Message]:
    """Return the messages so far; the last one is the user's, unless the agent stopped.

    Args:
        intent: the task, as its author put it.
        listing: the sorted paths of the workspace before the first turn.
        turns: the turns so far.
        prompt_style: what the user says; the brief style has no system message.
    """
    messages = opening(intent, listing, prompt_style)
    for turn in turns:
        messages.append(Message(role=Role.ASSISTANT, content=turn.response))
        if said := answer_to(turn, prompt_style):
            messages.append(Message(role=Role.USER, content=said))
    return messages


def opening(
    intent: str, listing: Iterable[str], prompt_style: PromptStyle = PromptStyle.ARTICLE
) -> list[Message]:
    """Return what is said before the first reply."""
    asked = Message(role=Role.USER, content=first_message(intent, listing, prompt_style))
    if prompt_style is PromptStyle.BRIEF:
        return [asked]
    return [Message(role=Role.SYSTEM, content=SYSTEM_PROMPT), asked]


def answer_to(turn: Turn, prompt_style: PromptStyle = PromptStyle.ARTICLE) -> str:
    """Return what an agent is told of its turn; nothing of a stop."""
    if turn.observation is not None:
        return observation_message(turn.observation, prompt_style)
    return error_message(turn.parse_error, prompt_style) if turn.parse_error else ""


def command_block(command: str) -> str:
    """Return the reply that gives a command."""
    return f"```bash\n{command}\n```"


def first_message(
    intent: str, listing: Iterable[str], prompt_style: PromptStyle = PromptStyle.ARTICLE
) -> str:
    """Return what an agent is told first: the task, and every file of its workspace."""
    if prompt_style is PromptStyle.BRIEF:
        return "\n".join(("TASK", intent, "FILES", *listing))
    files = "\n".join(f"  {path}" for path in listing)
    return f"TASK\n{intent}\n\nWORKSPACE FILES\n{files}\n\nBegin with your first command."


def observation_message(
    result: CommandResult, prompt_style: PromptStyle = PromptStyle.ARTICLE
) -> str:
    """Return what an agent is told of its command: exit code, both outputs, and what to do next.

    The brief prompt_style tells the exit code and the beginning of stdout, if there is any.
    """
    if prompt_style is PromptStyle.BRIEF:
        return f"exit {result.exit_code}\n{result.stdout[:BRIEF_CHARS]}".rstrip("\n")
    late = " TIMED OUT" if result.timed_out else ""
    return (
        f"OBSERVATION\nexit code: {result.exit_code}{late}\n"
        f"stdout:\n{shortened(result.stdout)}\nstderr:\n{shortened(result.stderr)}\n"
        f"Reply with the next command, or with {STOP_WORD} when the task is done."
    )


def error_message(error: str, prompt_style: PromptStyle = PromptStyle.ARTICLE) -> str:
    """Return what an agent is told of a reply that was not understood; briefly, that it was not."""
    if prompt_style is PromptStyle.BRIEF:
        return "not understood"
    return (
        f"PARSE ERROR\n{error}\n"
        f"Reply with exactly one ```bash block that holds one command, or with {STOP_WORD}."
    )


def shortened(text: str) -> str:
    """Return `text`, without its middle where it is longer than `MAX_CHARS`: 5000 become 3994."""
    if len(text) <= MAX_CHARS:
        return text
    return f"{text[:_KEPT]}\n[... {len(text) - 2 * _KEPT} chars cut ...]\n{text[-_KEPT:]}"
