"""A sandbox without processes: a handful of file commands, executed on a dictionary of files.

It is not a shell: an unknown command fails with exit code 127. It suffices for policies that write
nothing else, such as the scripted ones and the small model, and makes their rollouts the same on
every machine. Commands of any other model need a sandbox with processes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Self

from harness.errors import InputError
from harness.sandbox.base import CommandResult
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import Workspace, is_there, workspace_problems

_NOT_FOUND = 127
_SUBSTITUTION = re.compile(r"s/(?P<old>[^/\\]+)/(?P<new>[^/\\&]*)/g")


class _Refused(Exception):  # noqa: N818 - becomes an exit code
    """A command that fails, with its message."""


class MemorySandbox:
    """The protocol `Sandbox`, on a mapping."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._seed: Workspace = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def materialise(self, workspace: Workspace) -> None:
        """Make the workspace hold exactly `workspace`."""
        if problems := tuple(workspace_problems(workspace)):
            raise InputError(problems)
        self._seed = dict(workspace)
        self.reset()

    def reset(self) -> None:
        """Make it hold again what was last materialised."""
        self._files = dict(self._seed)

    def destroy(self) -> None:
        """Forget everything."""
        self._seed, self._files = {}, {}

    def snapshot(self) -> Workspace:
        """Return what the workspace holds."""
        return dict(sorted(self._files.items()))

    def list(self) -> tuple[str, ...]:
        """Return its sorted paths."""
        return tuple(sorted(self._files))

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008 - frozen
        """Run one of the commands that this sandbox knows."""
        try:
            words = shlex.split(command)
            known = _COMMANDS.get(words[0] if words else "")
            if known is None:
                return CommandResult(exit_code=_NOT_FOUND, stdout="", stderr="command not found\n")
            stdout = known(self._files, words[1:])
        except (_Refused, ValueError) as error:
            return CommandResult(exit_code=1, stdout="", stderr=f"{error}\n")
        kept = stdout[: limits.output_bytes]
        return CommandResult(exit_code=0, stdout=kept, stderr="", truncated=kept != stdout)


Files = dict[str, bytes]


def _mkdir(files: Files, words: list[str]) -> str:
    _require(words[:1] == ["-p"], "only mkdir -p is known")
    for path in words[1:]:
        _require(path not in files, f"{path}: is a file")
        if not is_there(files, path):
            _put(files, f"{path}/", b"")
    return ""


def _move(files: Files, words: list[str]) -> str:
    for source, target in _pairs(files, words):
        content = _content(files, source)
        _remove(files, [source])
        _put(files, target, content)
    return ""


def _copy(files: Files, words: list[str]) -> str:
    for source, target in _pairs(files, words):
        _put(files, target, _content(files, source))
    return ""


def _remove(files: Files, words: list[str]) -> str:
    for path in words:
        _content(files, path)
        del files[path]
        above = path.rpartition("/")[0]
        if above and not is_there(files, above):
            files[f"{above}/"] = b""
    return ""


def _echo(files: Files, words: list[str]) -> str:
    if len(words) < 2 or words[-2] not in {">", ">>"}:  # noqa: PLR2004 - the sign and the file
        return " ".join(words) + "\n"
    text, (sign, path) = " ".join(words[:-2]), words[-2:]
    before = files.get(path, b"") if sign == ">>" else b""
    _put(files, path, before + f"{text}\n".encode())
    return ""


def _sed(files: Files, words: list[str]) -> str:
    script = _SUBSTITUTION.fullmatch(words[1]) if words[:1] == ["-i"] and len(words) > 1 else None
    if script is None:
        message = "only sed -i s/old/new/g is known"
        raise _Refused(message)
    for path in words[2:]:
        text = _content(files, path).decode()
        files[path] = text.replace(script["old"], script["new"]).encode()
    return ""


def _cat(files: Files, words: list[str]) -> str:
    return "".join(_content(files, path).decode(errors="replace") for path in words)


def _ls(files: Files, words: list[str]) -> str:
    _require(len(words) < 2, "only one directory is listed")  # noqa: PLR2004 - as it says
    folder = words[0].removesuffix("/") if words and words[0] != "." else ""
    if folder in files:
        return f"{folder}\n"
    _require(not folder or is_there(files, folder), f"{folder}: no such file or directory")
    begin = f"{folder}/" if folder else ""
    below = (path.removeprefix(begin) for path in files if path.startswith(begin))
    names = {path.partition("/")[0] for path in below if not path.startswith(".")}
    return "".join(f"{name}\n" for name in sorted(names - {""}))


def _pairs(files: Files, words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each source with its target, which lies in the last word where that is a directory."""
    _require(len(words) > 1, "missing operand")
    *sources, target = words
    folder = target.removesuffix("/")
    into = folder not in files and is_there(files, folder)
    _require(into or (len(sources) == 1 and target == folder), f"{target}: is no directory")
    for source in sources:
        yield source, f"{folder}/{source.rpartition('/')[2]}" if into else target


def _content(files: Files, path: str) -> bytes:
    _require(path in files and not path.endswith("/"), f"{path}: no such file")
    return files[path]


def _put(files: Files, path: str, content: bytes) -> None:
    above = path.removesuffix("/").rpartition("/")[0]
    is_new_folder = path.endswith("/")
    _require(is_new_folder or not above or is_there(files, above), f"{path}: no such directory")
    while above:  # what holds something is no longer an empty directory
        files.pop(f"{above}/", None)
        above = above.rpartition("/")[0]
    files[path] = content


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - the condition itself
    if not holds:
        raise _Refused(message)


_COMMANDS: Mapping[str, Callable[[Files, list[str]], str]] = {
    "mkdir": _mkdir,
    "mv": _move,
    "cp": _copy,
    "rm": _remove,
    "echo": _echo,
    "sed": _sed,
    "cat": _cat,
    "ls": _ls,
}
