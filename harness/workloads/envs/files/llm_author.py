"""An author with a model behind an OpenAI-compatible endpoint.

Article 32, section "Synthesis": what the prompt asks for, temperature 0.4, at most 1500 tokens, no
thinking, three attempts a task. The wording is ours; its last word turns thinking off where a
model's own chat template looks for it, as Nemotron's does. Unlike the article's author this one
sends a seed, so that a server which honours it writes the same tasks again, and each attempt has
its own.
"""

from __future__ import annotations

from typing import Any

from harness.errors import InputError
from harness.reading import objects_in
from harness.workloads.envs.files.author import AuthorFailedError
from harness.workloads.envs.files.lint import ASKED_FOR
from harness.workloads.envs.files.personas import Slot
from harness.workloads.envs.files.task import SKILLS, SeedFile, Task
from harness.workloads.envs.files.task_json import file_document, parse_task
from harness.workloads.inference.chat import ChatSamplingParams, Endpoint, chat
from harness.workloads.inference.chat_template import Message, Role

_PREVIEW = 80  # letters of each file that the author is shown
_OWN = ("intent", "skills_required", "verifiable_assertions", "difficulty", "estimated_steps")

_SYSTEM = """\
You write tasks for a benchmark of file agents. Write one realistic task on the files you are shown.
It must be solvable offline with the skills listed, name concrete paths, and be verifiable by a
function that looks at the files afterwards and at nothing else.
Reply with one JSON object and nothing else: no prose, no code fence.
/no_think"""

_SCHEMA = """\
{"intent": "one to three sentences that tell the agent what to do",
 "skills_required": ["file.move"],
 "verifiable_assertions": [
   {"kind": "file_exists", "path": "..."},
   {"kind": "file_not_exists", "path": "..."},
   {"kind": "file_contents_contain", "path": "...", "must_contain": ["..."]},
   {"kind": "file_contents_match_regex", "path": "...", "regex": "..."},
   {"kind": "file_unchanged", "path": "..."}],
 "difficulty": "easy | medium | hard",
 "estimated_steps": 3}"""

_RULES = f"""\
- {ASKED_FOR[0]} to {ASKED_FOR[1]} assertions, of the five kinds above.
- A path is in the workspace, or the task asks for it to be made.
- file_unchanged only for files that the task does not touch.
- easy takes 1 to 3 commands, medium 4 to 7, hard 8 or more."""


class LlmAuthor:
    """The protocol `TaskAuthor`, with a model.

    Args:
        endpoint: where it is served.
        attempts: how many replies are asked for before a slot is given up.
    """

    def __init__(self, endpoint: Endpoint, attempts: int = 3) -> None:
        self._endpoint = endpoint
        self._attempts = attempts

    def write(self, slot: Slot) -> Task:
        """Return the task of a slot.

        Raises:
            AuthorFailedError: no reply held a valid task; says what was wrong with the last one.
            HostError: the endpoint does not answer.
        """
        cause = ""
        for attempt in range(self._attempts):
            sampling = ChatSamplingParams(
                temperature=0.4,
                max_new_tokens=1500,
                seed=slot.seed * self._attempts + attempt,
                extra={"chat_template_kwargs": {"thinking": False}},
            )
            try:
                return read_reply(chat(self._endpoint, prompt(slot), sampling), slot)
            except InputError as error:
                cause = str(error)
        message = f"{self._attempts} replies, none a valid task; the last one: {cause}"
        raise AuthorFailedError(message)


def prompt(slot: Slot) -> list[Message]:
    """Return what a model is asked for one slot."""
    persona = slot.persona
    others = [skill for skill in SKILLS if skill not in persona.focus]
    files = "\n".join(_preview(file) for file in slot.files)
    asked = (
        f"PERSONA\n{persona.role}: {persona.context}\n\n"
        f"FOCUS\n{', '.join(persona.focus)}\n\n"
        f"SKILLS\n{', '.join((*persona.focus, *others))}\n\n"
        f"WORKSPACE\n{files}\n\nSCHEMA\n{_SCHEMA}\n\nRULES\n{_RULES}"
    )
    return [Message(role=Role.SYSTEM, content=_SYSTEM), Message(role=Role.USER, content=asked)]


def _preview(file: SeedFile) -> str:
    shown = f"binary, {file.size} bytes" if file.text is None else repr(file.text[:_PREVIEW])
    return f"  {file.path}: {shown}"


def read_reply(reply: str, slot: Slot) -> Task:
    """Return the task that a reply describes, on the workspace of `slot`.

    Raises:
        InputError: all that is wrong with it.
    """
    given = extract(reply)
    document = {
        "task_id": slot.task_id,
        "persona": {"role": slot.persona.role, "context": slot.persona.context},
        "workspace_seed": {"files": [file_document(file) for file in slot.files]},
        **{name: given[name] for name in _OWN if name in given},
    }
    skills = document.get("skills_required")
    if isinstance(skills, list):  # they inform and decide nothing: one that is not ours is dropped
        document["skills_required"] = [skill for skill in skills if skill in SKILLS]
    return parse_task(document)


def extract(reply: str) -> dict[str, Any]:
    """Return the JSON object of a reply: of several the one with most keys; empty without any.

    What a model thought aloud, up to ``</think>``, is left out, and so is whatever stands around.
    """
    found = objects_in(reply.rpartition("</think>")[2])
    return max(found, key=len, default={})
