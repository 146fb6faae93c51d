"""A sandbox without processes: a handful of file commands, executed on a dictionary of files.

It is not a shell: an unknown command fails with exit code 127. It suffices for policies that write
nothing else, such as the scripted ones and the small model, and makes their rollouts the same on
every machine. Commands of any other model need a sandbox with processes.

The files are held by this process, so their size is bounded, and so is what a command may do: one
that would leave more than the limits fails as on a full disk, and one with too many words for the
files that are there is refused as a shell refuses too many arguments.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Self

from harness.errors import InputError
from harness.sandbox.base import CommandResult
from harness.sandbox.limits import (
    MAX_LISTING_BYTES,
    MAX_PATH_BYTES,
    CommandLimits,
    SandboxLimits,
)
from harness.sandbox.workspace import Workspace, is_there, seed_problems

_NOT_FOUND = 127
_CANNOT_RUN = 126
_MAX_COMMAND = 128 << 10  # letters; as of a shell's one argument
_MAX_WORK = 1 << 20  # words of a command times paths, those it may add too: each is looked for
_SUBSTITUTION = re.compile(r"s/(?P<old>[^/\\]+)/(?P<new>[^/\\&]*)/g")


class _Refused(Exception):  # noqa: N818 - becomes an exit code
    """A command that fails, with its message."""


class MemorySandbox:
    """The protocol `Sandbox`, on a mapping.

    Args:
        limits: what it holds at most; the rest of them is for sandboxes with processes.
    """

    def __init__(self, limits: SandboxLimits = SandboxLimits()) -> None:  # noqa: B008 - frozen
        self._limits = limits
        self._files = Files(limits)
        self._seed: Workspace = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def materialise(self, workspace: Workspace) -> None:
        """Make the workspace hold exactly `workspace`."""
        if problems := tuple(seed_problems(workspace, self._limits)):
            raise InputError(problems)
        self._seed = dict(workspace)
        self.reset()

    def reset(self) -> None:
        """Make it hold again what was last materialised."""
        self._files = Files(self._limits, self._seed)

    def destroy(self) -> None:
        """Forget everything."""
        self._seed, self._files = {}, Files(self._limits)

    def snapshot(self) -> Workspace:
        """Return what the workspace holds."""
        return dict(sorted(self._files.items()))

    def list(self) -> tuple[str, ...]:
        """Return its sorted paths."""
        return tuple(sorted(self._files))

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008 - frozen
        """Run one of the commands that this sandbox knows."""
        if len(command) > _MAX_COMMAND:
            return CommandResult(exit_code=_CANNOT_RUN, stdout="", stderr="command too long\n")
        self._files.kept_output = limits.output_bytes
        try:
            words = shlex.split(command)
            known = _COMMANDS.get(words[0] if words else "")
            if known is None:
                return CommandResult(exit_code=_NOT_FOUND, stdout="", stderr="command not found\n")
            if len(words) * (len(self._files) + len(words)) > _MAX_WORK:
                message = "argument list too long\n"
                return CommandResult(exit_code=_CANNOT_RUN, stdout="", stderr=message)
            stdout = known(self._files, words[1:])
        except (_Refused, ValueError) as error:
            return CommandResult(exit_code=1, stdout="", stderr=f"{error}\n")
        kept = stdout[: limits.output_bytes]
        return CommandResult(exit_code=0, stdout=kept, stderr="", truncated=kept != stdout)


class Files(dict[str, bytes]):
    """Paths with their bytes, which no command makes larger than the limits.

    Attributes:
        kept_output: how much of a command's output is kept, letters.
    """

    def __init__(self, limits: SandboxLimits, files: Workspace | None = None) -> None:
        super().__init__(files or {})
        self.kept_output = 0
        self._limits = limits

    def require_room(self, path: str, size: int) -> None:
        """Refuse a file of `size` bytes that has no name, or does not fit beside the others.

        Raises:
            _Refused: as a full disk does.
        """
        _require(len(path) <= MAX_PATH_BYTES, "file name too long")
        others = [(name, content) for name, content in self.items() if name != path]
        num_bytes = size + sum(len(content) for _, content in others)
        listing = len(path) + sum(len(name) for name, _ in others)
        fits = (
            num_bytes <= self._limits.workspace_bytes
            and len(others) < self._limits.workspace_paths
            and listing <= MAX_LISTING_BYTES
        )
        _require(fits, f"{path[:80]}: no space left")


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
        files.require_room(target, len(content))
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
    old, new = (script[name].encode() for name in ("old", "new"))
    for path in words[2:]:
        content = _content(files, path)
        content.decode()  # it must be text
        files.require_room(path, len(content) + content.count(old) * (len(new) - len(old)))
        files[path] = content.replace(old, new)
    return ""


def _cat(files: Files, words: list[str]) -> str:
    shown = ""
    for path in words:
        # a letter has at most four bytes; what is not kept need not be read
        left = files.kept_output + 1 - len(shown)
        shown += _content(files, path)[: 4 * left].decode(errors="replace")
    return shown


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
    files.require_room(path, len(content))
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
