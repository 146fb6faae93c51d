"""Strict YAML with the place of every key.

A subset of YAML 1.2: mappings with text keys, lists, and plain scalars read by the JSON rules, so
``1e-4`` is a float, ``no`` is text and ``12:30:45`` is text. Duplicate keys, anchors, aliases, tags
and non-finite numbers are errors. PyYAML's C parser does the parsing; the construction is ours
because its own drops positions and lets the second of two equal keys win silently.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import InputError, Problem

Key = tuple[str | int, ...]
Place = tuple[int, int]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?\Z")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_MAX_DEPTH = 40
_MAX_BYTES = 4 * 1024 * 1024
_TEXT_TAG = "tag:yaml.org,2002:str"


class _Loader(yaml.CSafeLoader):
    """The C parser with no implicit types: every plain scalar arrives as text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own protocol


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, and where each key stands.

    Attributes:
        path: the file.
        value: the top-level mapping.
        places: key path -> (line, column), 1-based, of the key or list item.
        values: key path -> (line, column) of the value.
    """

    path: Path
    value: dict[str, Any]
    places: dict[Key, Place] = field(repr=False)
    values: dict[Key, Place] = field(repr=False)

    def problem(self, key: Key, message: str, **facts: str) -> Problem:
        """Return a problem at `key`, or at its nearest parent that stands in the file."""
        at = key
        while at and at not in self.places:
            at = at[:-1]
        line, column = self.places.get(at, (1, 1))
        return Problem(
            message=message, path=self.path, line=line, column=column, key=dotted(key), **facts
        )


def dotted(key: Key) -> str:
    """Return ``profiles.cpu.params[2]`` for ``("profiles", "cpu", "params", 2)``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        InputError: the file cannot be read, is no UTF-8, no YAML, or uses what is refused here.
    """
    return parse(_text_of(path), path)


def parse(text: str, path: Path) -> Document:
    """Parse YAML `text`; `path` is for messages.

    Raises:
        InputError: as `read`.
    """
    node = _compose(text, path)
    builder = _Builder(path)
    value = builder.build(node, (), 0) if node is not None else {}
    if not isinstance(value, dict) and not builder.problems:
        builder.refuse(node, "the file must hold a mapping", ())
    if builder.problems:
        raise InputError(builder.problems)
    return Document(path, value, builder.places, builder.values)


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            [Problem(message=f"cannot be read: {error.strerror}", path=path)]
        ) from None
    if len(content) > _MAX_BYTES:
        raise InputError([Problem(message=f"is larger than {_MAX_BYTES} bytes", path=path)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        problem = Problem(
            message="is not UTF-8",
            path=path,
            line=line,
            column=column,
            value=f"byte 0x{content[error.start]:02x}",
        )
        raise InputError([problem]) from None


def _compose(text: str, path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        what = (error.problem or error.context or "is no YAML").strip()
        problem = Problem(message=f"YAML: {what}", path=path, line=line, column=column)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem(message=f"YAML: {error.reason}", path=path, line=line, column=1)
    except RecursionError:
        problem = Problem(message="YAML: nested too deeply", path=path, line=1, column=1)
    raise InputError([problem])


class _Builder:
    """Turns nodes into plain values, noting places and collecting what is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[Key, Place] = {}
        self.values: dict[Key, Place] = {}
        self.problems: list[Problem] = []
        self._seen: set[int] = set()

    def refuse(self, node: yaml.Node | None, message: str, key: Key, value: str = "") -> None:
        line, column = _place(node) if node is not None else self.places[key]
        problem = Problem(
            message=message, path=self.path, line=line, column=column, key=dotted(key), value=value
        )
        self.problems.append(problem)

    def build(self, node: yaml.Node, key: Key, depth: int) -> Any:
        self.values[key] = _place(node)
        self.places.setdefault(key, _place(node))
        if id(node) in self._seen:
            # the node is the anchor's; the key is where the alias stands
            return self.refuse(None, "anchors and aliases are not used here", key)
        self._seen.add(id(node))
        if depth > _MAX_DEPTH:
            return self.refuse(node, f"nested deeper than {_MAX_DEPTH} levels", key)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*key, i), depth + 1) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = name_node.value
            if not isinstance(name_node, yaml.ScalarNode):
                self.refuse(name_node, "a key must be text", key)
                continue
            if name in built:
                first = self.places[(*key, name)]
                self.refuse(name_node, f"key stands twice, first on line {first[0]}", (*key, name))
                continue
            self.places[(*key, name)] = _place(name_node)
            built[name] = self.build(value_node, (*key, name), depth + 1)
        return built

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        if node.tag not in (_TEXT_TAG, "!"):
            return self.refuse(node, "tags are not used here", key, node.tag)
        text = node.value
        if node.style:  # quoted or block: text as it stands
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.match(text):
            return int(text) if len(text) < 300 else self.refuse(node, "number is too long", key)  # noqa: PLR2004
        if _FLOAT.match(text):
            number = float(text)
            if not math.isfinite(number):
                return self.refuse(node, "number is not finite", key, text)
            return number
        return text


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1
