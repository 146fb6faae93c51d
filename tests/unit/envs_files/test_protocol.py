from __future__ import annotations

from dataclasses import replace

import pytest

from harness.sandbox.base import CommandResult
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    SYSTEM_PROMPT,
    FileAction,
    FileActionKind,
    NotUnderstoodError,
    ParserVersion,
    PromptStyle,
    Turn,
    conversation,
    error_message,
    observation_message,
    parse,
    shortened,
)
from harness.workloads.inference.chat_template import Role

DONE, ERROR = "done", "error"
PHASE5, PHASE6 = ParserVersion.PHASE5, ParserVersion.PHASE6


def block(command: str, tag: str = "bash") -> str:
    return f"```{tag}\n{command}\n```"


def outcome(reply: str, version: ParserVersion) -> str:
    try:
        action = parse(reply, version)
    except NotUnderstoodError:
        return ERROR
    return DONE if action.kind is FileActionKind.DONE else action.command


# reply -> what both parsers make of it
SAME = [
    ("", ERROR),
    (" \n\t", ERROR),
    ("I am done.", ERROR),
    ("TASK_COMPLETE", DONE),
    ("  TASK_COMPLETE  \n", DONE),
    ("All is moved.\nTASK_COMPLETE\n", DONE),
    ("I will say TASK_COMPLETE when done.", ERROR),
    ("task_complete", ERROR),
    (block("TASK_COMPLETE"), DONE),
    (f"{block('rm x')}\nTASK_COMPLETE", DONE),  # the command is not run
    (block("ls -la"), "ls -la"),
    (block("ls", "sh"), "ls"),
    (block("ls", "shell"), "ls"),
    (block("ls", ""), "ls"),
    (block("ls", "python"), ERROR),
    (block("ls", "Bash"), ERROR),
    ("```bash ls```", ERROR),
    ("```bash\nls", ERROR),
    ("ls", ERROR),
    (block(""), ERROR),
    (block("# nothing to do"), ERROR),
    (block("# first\n\n  mv a b\nrm c"), "mv a b"),
    (f"{block('ls')}\n{block('rm c')}", "ls"),
    (f"Look first.\n{block('cat a')}\nThen more.", "cat a"),
    (block("cat <<EOF\ntext\nEOF"), "cat <<EOF"),
    (block("ls; rm a && mv b c"), "ls; rm a && mv b c"),
]
# command -> whether the second parser takes it for a stop; the first one runs all of them
SAID = [
    ("echo TASK_COMPLETE", True),
    ('echo "Task complete"', True),
    ("echo 'Task completed.'", True),
    ("echo Task completed.", True),
    ("echo taskcomplete", True),
    ("echo task_completed", True),
    ('echo "TASK COMPLETE" # all moved', True),
    ('echo "Task complete!"', False),
    ('echo "The task is complete."', False),
    ('echo -n "Task complete"', False),
    ('echo "Task  complete"', False),
    ('echo "Task complete" > done.txt', False),
    ('echo "Task complete" | cat', False),
    ('echo "Task complete" && ls', False),
    ('echo "Task complete"; ls', False),
    ("echo \"Task complete'", False),
    ('printf "Task complete"', False),
    ("echo Task", False),
]


@pytest.mark.parametrize(("reply", "wanted"), SAME)
def test_what_both_published_parsers_make_of_a_reply(reply: str, wanted: str) -> None:
    assert outcome(reply, PHASE5) == wanted
    assert outcome(reply, PHASE6) == wanted


@pytest.mark.parametrize(("command", "stops"), SAID)
def test_what_only_the_second_parser_takes_for_a_stop(command: str, *, stops: bool) -> None:
    assert outcome(block(command), PHASE5) == command
    assert outcome(block(command), PHASE6) == (DONE if stops else command)


def test_a_long_text_loses_its_middle() -> None:
    text = "a" * 2000 + "b" * 1000 + "c" * 2000
    short = shortened(text)
    assert len(short) == 3994
    assert short.startswith("a" * 1984 + "\n")
    assert short.endswith("\n" + "c" * 1984)
    assert "1032 chars" in short
    assert shortened("x" * 4000) == "x" * 4000


def test_the_prompt_names_the_contract() -> None:
    for word in (STOP_WORD, "```bash", "sed -i", "mkdir -p", "no network", "exactly one command"):
        assert word in SYSTEM_PROMPT


def test_an_observation_says_how_the_command_ended() -> None:
    late = CommandResult(exit_code=124, stdout="some", stderr="", timed_out=True)
    assert "exit code: 124 TIMED OUT\nstdout:\nsome\nstderr:\n" in observation_message(late)
    long = CommandResult(exit_code=0, stdout="x" * 9000, stderr="")
    assert len(observation_message(long)) < 4200


def test_a_conversation_is_built_from_its_turns() -> None:
    ran = Turn(
        response=block("ls"),
        action=FileAction(kind=FileActionKind.COMMAND, command="ls"),
        observation=CommandResult(exit_code=0, stdout="a\n", stderr=""),
    )
    lost = Turn(response="hm", parse_error="there is no closed ```bash block")
    done = Turn(response=STOP_WORD, action=FileAction(kind=FileActionKind.DONE))
    messages = conversation("Tidy up.", ("a", "b/"), [ran, lost, done])
    assert [message.role for message in messages] == [
        *(Role.SYSTEM, Role.USER),
        *(Role.ASSISTANT, Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT),
    ]
    assert messages[1].content.startswith("TASK\nTidy up.\n\nWORKSPACE FILES\n  a\n  b/\n")
    assert messages[5].content == error_message(lost.parse_error)
    assert messages[:4] == conversation("Tidy up.", ("a", "b/"), [ran])


def test_the_brief_wording_says_the_same_in_few_words() -> None:
    failed = Turn(
        response=block("cat a"),
        action=FileAction(kind=FileActionKind.COMMAND, command="cat a"),
        observation=CommandResult(exit_code=1, stdout="", stderr="a: no such file"),
    )
    shown = replace(failed, observation=CommandResult(exit_code=0, stdout="x" * 99, stderr=""))
    lost = Turn(response="hm", parse_error="there is no closed ```bash block")
    messages = conversation("Tidy up.", ("a", "b/"), [failed, shown, lost], PromptStyle.BRIEF)
    assert [message.content for message in messages if message.role is Role.USER] == [
        "TASK\nTidy up.\nFILES\na\nb/",
        "exit 1",
        "exit 0\n" + "x" * 80,
        "not understood",
    ]
    assert all(message.role is not Role.SYSTEM for message in messages)
