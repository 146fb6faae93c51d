"""Strict YAML with the place of every key.

A subset of YAML 1.2: mappings with text keys, lists, and plain scalars read by the JSON rules, so
``1e-4`` is a float, ``no`` is text and ``12:30:45`` is text. Duplicate keys, anchors, aliases, tags
and non-finite numbers are errors. PyYAML's C parser does the parsing; the construction is ours
because its own drops positions and lets the second of two equal keys win silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import InputError, Problem
from harness.scenario.grammar import yaml_problem
from harness.scenario.text import text_of, text_problems

Key = tuple[str | int, ...]
Place = tuple[int, int]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?\Z")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_MAX_DEPTH = 40
_SHOWN_DEPTH = 3  # a key of forty parts is too long to read


class _Loader(yaml.CSafeLoader):
    """The C parser with no implicit types: every plain scalar arrives as text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own protocol


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, and the place of each key.

    Attributes:
        path: the file.
        value: the top-level mapping.
        places: key path in the file -> (line, column), 1-based, of the key or list item.
        values: key path in the file -> (line, column) of the value.
        numbers: key path in the file -> the text of a number that is not a whole one.
        origins: key path in `value` -> the key path in the file that it comes from, where `value`
            is not laid out as the file is. It holds for every key below as well.
    """

    path: Path
    value: dict[str, Any]
    places: dict[Key, Place] = field(repr=False)
    values: dict[Key, Place] = field(repr=False)
    numbers: dict[Key, str] = field(repr=False)
    origins: dict[Key, Key] = field(repr=False, default_factory=dict)

    def in_file(self, key: Key) -> Key:
        """Return the key path in the file of a key path in `value`."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]] + key[length:]
        return key

    def place(self, key: Key) -> Place | None:
        """Return line and column of a key path in `value`; None where the file lacks it."""
        return self.places.get(self.in_file(key))

    def problem(self, key: Key, message: str, **facts: str) -> Problem:
        """Return a problem at `key`, or at its nearest parent in the file."""
        at = key = self.in_file(key)
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
        InputError: the file cannot be read, is not UTF-8 or YAML, or uses a refused feature.
    """
    return parse(text_of(path), path)


def read_as_far(path: Path) -> tuple[Document, list[Problem]]:
    """Read a YAML file; also return problems that leave the rest readable.

    Raises:
        InputError: the rest cannot be read either.
    """
    return examine(text_of(path), path)


def parse(text: str, path: Path) -> Document:
    """Parse YAML `text`; `path` is for messages.

    Raises:
        InputError: as `read`.
    """
    document, problems = examine(text, path)
    if problems:
        raise InputError(problems)
    return document


def examine(text: str, path: Path) -> tuple[Document, list[Problem]]:
    """Parse YAML `text`; see `read_as_far`. Refused values become null in the document."""
    if problems := [*text_problems(text, path)]:
        raise InputError(problems)
    builder = _Builder(path, yaml.parse(text, Loader=_Loader))
    try:
        value = builder.document()
    except yaml.MarkedYAMLError as error:
        raise InputError([*builder.problems, yaml_problem(error, text, path)]) from None
    if not isinstance(value, dict):
        problem = Problem(
            message="the file must hold a mapping",
            path=path,
            line=1,
            column=1,
            allowed="key: value",
        )
        raise InputError(builder.problems or [problem])
    return Document(path, value, builder.places, builder.values, builder.numbers), builder.problems


class _Builder:
    """Turns parser events into plain values, noting places and collecting problems."""

    def __init__(self, path: Path, events: Iterator[yaml.Event]) -> None:
        self.path = path
        self.places: dict[Key, Place] = {}
        self.values: dict[Key, Place] = {}
        self.numbers: dict[Key, str] = {}
        self.problems: list[Problem] = []
        self._events = events

    def document(self) -> Any:
        """Return the value of the one document of the file; an empty file holds no keys."""
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return {}
        value = self._build(next(self._events), (), 0)
        next(self._events)  # the document's end
        following = next(self._events)
        if isinstance(following, yaml.DocumentStartEvent):
            self._refuse(following, "YAML: a second document begins here; a file holds one", ())
        return value

    def _refuse(self, event: yaml.Event, message: str, key: Key, value: str = "") -> None:
        line, column = _place(event)
        problem = Problem(
            message=message, path=self.path, line=line, column=column, key=dotted(key), value=value
        )
        self.problems.append(problem)

    def _build(self, event: yaml.Event, key: Key, depth: int) -> Any:
        place = self.values[key] = _place(event)
        self.places.setdefault(key, place)
        if isinstance(event, yaml.AliasEvent):
            return self._refuse(event, "anchors and aliases are not used here", key)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.tag is not None:
            self._refuse(event, "tags are not used here", key, event.tag)
            return self._skip(event)
        if depth > _MAX_DEPTH:
            self._refuse(event, f"nested deeper than {_MAX_DEPTH} levels", key[:_SHOWN_DEPTH])
            raise InputError(self.problems)  # what follows may nest without end
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(key, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(key, depth)
        assert isinstance(event, yaml.ScalarEvent)
        return self._scalar(event, key)

    def _mapping(self, key: Key, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        while not isinstance(name_event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(name_event, yaml.ScalarEvent):
                self._refuse(name_event, "a key must be text", key)
                self._skip(name_event)
                self._skip(next(self._events))
                continue
            at = (*key, name_event.value)
            if name_event.value in built:
                line, _ = self.places[at]
                self._refuse(name_event, f"duplicate key, first on line {line}", at)
                self._skip(next(self._events))
                continue
            self.places[at] = _place(name_event)
            built[name_event.value] = self._build(next(self._events), at, depth + 1)
        return built

    def _list(self, key: Key, depth: int) -> list[Any]:
        built: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            built.append(self._build(event, (*key, len(built)), depth + 1))
        return built

    def _skip(self, event: yaml.Event) -> None:
        """Leave out what begins with `event`, all that it holds included."""
        level = _opens(event)
        while level:
            level += _opens(next(self._events))

    def _scalar(self, event: yaml.ScalarEvent, key: Key) -> Any:
        text = event.value
        if event.style:  # quoted or block: text as written
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.match(text):
            return int(text) if len(text) < 300 else self._refuse(event, "number is too long", key)  # noqa: PLR2004
        if _FLOAT.match(text):
            number = float(text)
            if not math.isfinite(number):
                return self._refuse(event, "number is not finite", key, text)
            self.numbers[key] = text
            return number
        return text


def _opens(event: yaml.Event) -> int:
    """Return by how much `event` changes how deep what follows it is nested."""
    return isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)


def _place(event: yaml.Event) -> Place:
    assert event.start_mark is not None
    return event.start_mark.line + 1, event.start_mark.column + 1
