"""An author without a model: one to three plain operations on a persona's workspace.

The same slot gives the same task on every machine. Every task has an oracle, every assertion
follows from an operation, and one more guards a file that no operation touches. An operation only
takes files that no other one took, so that assertions cannot contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from random import Random

from harness.records import record
from harness.workloads.envs.files.lint import ASKED_FOR
from harness.workloads.envs.files.personas import Seed, Slot
from harness.workloads.envs.files.task import Assertion, AssertionKind, Difficulty, SeedFile, Task

_MAX_OPERATIONS = 3
_NAMES = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "hazel", "ivory", "jade"),
    *("kelp", "larch", "maple", "nimbus", "onyx", "pebble", "quartz", "raven", "slate", "tundra"),
)
_WORD = re.compile(r"[A-Za-z]{4,}")


@record
class _Step:
    """One operation: what is asked, how it is done, and what then holds."""

    asked: str
    commands: tuple[str, ...]
    assertions: tuple[Assertion, ...]


class _Draft:
    """What the operations of one task draw from: files and names, each given once."""

    def __init__(self, random: Random, files: Seed) -> None:
        self.random = random
        self.files = list(files)
        self._names = random.sample(_NAMES, len(_NAMES))

    def name(self) -> str:
        return f"{self._names.pop()}-{self._names.pop()}"

    def take(self, files: Sequence[SeedFile] | None = None) -> SeedFile:
        """Take one file, of those given.

        Raises:
            IndexError: there is none.
        """
        file = self.random.choice(self.files if files is None else files)
        self.files.remove(file)
        return file

    def texts(self) -> list[SeedFile]:
        return [file for file in self.files if file.text is not None]


class TemplateAuthor:
    """The protocol `TaskAuthor`, from templates."""

    def write(self, slot: Slot) -> Task:
        """Return the task of a slot."""
        files = slot.files
        draft = _Draft(Random(slot.seed), files)  # noqa: S311 - the same task again
        steps = tuple(_steps(draft, slot.persona.focus))
        commands = tuple(command for step in steps for command in step.commands)
        bands = ((3, Difficulty.EASY), (7, Difficulty.MEDIUM))
        return Task(
            task_id=slot.task_id,
            role=slot.persona.role,
            context=slot.persona.context,
            intent=" ".join(step.asked for step in steps),
            seed=files,
            skills=tuple(dict.fromkeys(_SKILL_OF[command.split()[0]] for command in commands)),
            assertions=tuple(each for step in steps for each in step.assertions),
            difficulty=next(
                (band for most, band in bands if len(commands) <= most), Difficulty.HARD
            ),
            estimated_steps=len(commands),
            oracle=commands,
        )


def _steps(draft: _Draft, focus: Sequence[str]) -> Iterator[_Step]:
    """Draw operations while assertions are left for them, then guard a file not touched."""
    room = ASKED_FOR[1] - 1
    for _ in range(draft.random.randint(1, _MAX_OPERATIONS)):
        fitting = [(fits, does) for fits, needs, does in _OPERATIONS if needs <= room]
        if not fitting:
            break
        weights = [3 if skill in focus else 1 for skill, _ in fitting]
        ((_, operation),) = draft.random.choices(fitting, weights)
        try:
            step = operation(draft)
        except IndexError:  # this workspace has no file left for it
            step = _note(draft)
        room -= len(step.assertions)
        yield step
    if texts := draft.texts():
        guarded = draft.take(texts)
        guard = Assertion(kind=AssertionKind.UNCHANGED, path=guarded.path)
        yield _Step(asked=f"Leave {guarded.path} as it is.", commands=(), assertions=(guard,))


# --- Operations ---------------------------------------------------------------------------------


def _move(draft: _Draft) -> _Step:
    source, folder = draft.take().path, draft.name()
    target = f"{folder}/{_split(source)[1]}"
    return _Step(
        asked=f"Move {source} into a new directory {folder}.",
        commands=(f"mkdir -p {folder}", f"mv {source} {target}"),
        assertions=(_exists(target), _gone(source)),
    )


def _rename(draft: _Draft) -> _Step:
    source = draft.take().path
    target = _sibling(source, draft.name())
    return _Step(
        asked=f"Rename {source} to {target}.",
        commands=(f"mv {source} {target}",),
        assertions=(_exists(target), _gone(source)),
    )


def _delete(draft: _Draft) -> _Step:
    path = draft.take().path
    return _Step(asked=f"Delete {path}.", commands=(f"rm {path}",), assertions=(_gone(path),))


def _copy(draft: _Draft) -> _Step:
    source = draft.take().path
    target = _sibling(source, draft.name())
    return _Step(
        asked=f"Copy {source} to {target}.",
        commands=(f"cp {source} {target}",),
        assertions=(_exists(target),),
    )


def _note(draft: _Draft) -> _Step:
    path, text = f"notes-{draft.name()}.md", f"Reviewed by {draft.name()}"
    return _Step(
        asked=f"Create {path} with the line '{text}'.",
        commands=(f"echo '{text}' > {path}",),
        assertions=(_contains(path, text),),
    )


def _append(draft: _Draft) -> _Step:
    path, line = draft.take(draft.texts()).path, f"checked {draft.name()}"
    last = Assertion(kind=AssertionKind.MATCH, path=path, regex=rf"\n{line}\n\Z")
    return _Step(
        asked=f"Add the line '{line}' at the end of {path}.",
        commands=(f"echo '{line}' >> {path}",),
        assertions=(last,),
    )


def _replace(draft: _Draft) -> _Step:
    file, new = draft.take(draft.texts()), draft.name()
    assert file.text is not None
    old = draft.random.choice(sorted(set(_WORD.findall(file.text))))
    line = next(line for line in file.text.splitlines() if old in line)
    return _Step(
        asked=f"Replace every '{old}' in {file.path} by '{new}'.",
        commands=(f"sed -i 's/{old}/{new}/g' {file.path}",),
        assertions=(_contains(file.path, line.replace(old, new)),),
    )


def _collect(draft: _Draft) -> _Step:
    """Move all files of one suffix, two to four of them, into one directory."""
    suffixes = [file.path.rpartition(".")[2] for file in draft.files]
    names = {_split(file.path)[1] for file in draft.files}
    several = [each for each in sorted(set(suffixes)) if 2 <= suffixes.count(each) <= _MOST]  # noqa: PLR2004
    if len(names) < len(draft.files):
        several = []  # two files of one name would meet
    suffix, folder = draft.random.choice(several), draft.name()
    sources = [file.path for file in draft.files if file.path.endswith(f".{suffix}")]
    draft.files = [file for file in draft.files if file.path not in sources]
    targets = [f"{folder}/{_split(source)[1]}" for source in sources]
    moves = (f"mv {source} {folder}/" for source in sources)
    return _Step(
        asked=f"Collect all .{suffix} files in a new directory {folder}.",
        commands=(f"mkdir -p {folder}", *moves),
        assertions=(*map(_exists, targets), _gone(sources[0])),
    )


_MOST = 4
# the skill that makes it likelier for a persona, how many assertions it makes at most, and itself
_OPERATIONS: tuple[tuple[str, int, Callable[[_Draft], _Step]], ...] = (
    ("file.move", 2, _move),
    ("file.move", 2, _rename),
    ("file.delete", 1, _delete),
    ("file.copy", 1, _copy),
    ("file.write", 1, _note),
    ("file.write", 1, _append),
    ("shell.sed", 1, _replace),
    ("shell.mkdir", _MOST + 1, _collect),
)
_SKILL_OF = {
    "mkdir": "shell.mkdir",
    "mv": "file.move",
    "rm": "file.delete",
    "cp": "file.copy",
    "echo": "file.write",
    "sed": "shell.sed",
}


def _exists(path: str) -> Assertion:
    return Assertion(kind=AssertionKind.EXISTS, path=path)


def _gone(path: str) -> Assertion:
    return Assertion(kind=AssertionKind.NOT_EXISTS, path=path)


def _contains(path: str, text: str) -> Assertion:
    return Assertion(kind=AssertionKind.CONTAIN, path=path, must_contain=(text,))


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name


def _sibling(path: str, stem: str) -> str:
    """Return `path` with another stem, in the same directory and with the same suffix."""
    folder, name = _split(path)
    _, dot, suffix = name.rpartition(".")
    return f"{folder}/{stem}{dot}{suffix}" if folder else f"{stem}{dot}{suffix}"
