"""Mistakes of shape: from pydantic's errors to problems with a place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import Problem, nearest
from harness.scenario.expectations import KINDS, Expectation, Expectations
from harness.scenario.positions import Document, Key
from harness.scenario.schema import Scenario, Strict

Model = TypeVar("Model", bound=Strict)


def validate(model: type[Model], document: Document) -> tuple[Model | None, list[Problem]]:
    """Return the model and the mistakes of shape.

    Where leaving the mistaken keys out gives a valid model, that model is returned beside the
    mistakes, so that what the shape does not show is reported in the same go.
    """
    try:
        return model.model_validate(document.value), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    problems = list(dict.fromkeys(_problem(document, each) for each in errors))  # unions repeat
    mistaken = {_key_in_file(document, each["loc"]) for each in errors}
    try:
        return model.model_validate(_without(document.value, mistaken, ())), problems
    except ValidationError:
        return None, problems


def _without(value: Any, mistaken: set[Key], at: Key) -> Any:
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if (*at, name) not in mistaken}
        return {name: _without(item, mistaken, (*at, name)) for name, item in kept.items()}
    if isinstance(value, list):
        return [_without(item, mistaken, (*at, i)) for i, item in enumerate(value)]
    return value


def _problem(document: Document, error: ErrorDetails) -> Problem:
    key = _key_in_file(document, error["loc"])
    context = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        siblings = _allowed_keys(error["loc"])
        return document.problem(
            key,
            "unknown key",
            value=repr(key[-1]),
            allowed=", ".join(siblings),
            nearest=nearest(key[-1], siblings),
        )
    if error["type"] == "missing":
        return document.problem(key, "key is required")
    allowed = str(context.get("expected", context.get("expected_tags", "")))
    options = re.findall(r"'([^']*)'", allowed)
    given = error["input"]
    return document.problem(
        key,
        "not an allowed value" if allowed else _plain(error["msg"]),
        value=_shown(given),
        allowed=allowed,
        nearest=nearest(given, options) if isinstance(given, str) else "",
    )


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should", "should")


def _key_in_file(document: Document, location: tuple[int | str, ...]) -> Key:
    """Drop what pydantic adds to a location (union tags, ``[key]``), keep what is in the file."""
    key: Key = ()
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if (*key, part) in document.places or (last and part != "[key]" and not _is_tag(part)):
            key = (*key, part)
    return key


def _is_tag(part: int | str) -> bool:
    return isinstance(part, str) and (part in _UNION_TAGS or "[" in part)


def _kinds(model: Any) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return getattr(field.annotation, "__args__", ()) if field else ()


_UNION_TAGS = {kind for each in KINDS for kind in _kinds(each)}


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed where an unknown one stood, by walking the models."""
    model: Any = Scenario if "expectations" not in location else Expectations
    for part in location[:-1]:
        model = _step_into(model, part)
    owner = next(_models_in(model), None)
    fields = owner.model_fields if owner is not None else {}
    return sorted(field.alias or name for name, field in fields.items())


def _step_into(model: Any, part: int | str) -> Any:
    for candidate in _models_in(model):
        if part in _kinds(candidate):
            return candidate
        fields = getattr(candidate, "model_fields", {})
        if part in fields:
            return fields[part].annotation
    return model


def _models_in(annotation: Any) -> Iterator[Any]:
    if hasattr(annotation, "model_fields"):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - one line of a terminal


def readable_entries(document: Document) -> Iterator[tuple[int, Expectation]]:
    """Yield the entries of a ledger whose shape is right, where others are not."""
    listed = document.value.get("expectations")
    for index, raw in enumerate(listed if isinstance(listed, list) else []):
        try:
            yield index, TypeAdapter(Expectation).validate_python(raw)
        except ValidationError:
            continue
