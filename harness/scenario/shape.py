"""Mistakes of shape: from pydantic's errors to problems with a place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import Problem, nearest
from harness.records import record
from harness.scenario.expectations import EXPECT_KEYS, KINDS, Expectation, Expectations
from harness.scenario.positions import Document, Key
from harness.scenario.schema import WRITTEN_AS, Strict, Sweep

Model = TypeVar("Model", bound=Strict)

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
_SCALARS = ("str", "int", "float", "bool")  # what pydantic calls the members of our `Scalar`
_AS_IN_YAML_1_1 = {
    **dict.fromkeys(("yes", "on", "y", "true"), "true"),
    **dict.fromkeys(("no", "off", "n", "false"), "false"),
}


@record
class Shape(Generic[Model]):
    """The result of reading a document.

    Attributes:
        model: None if the document is invalid even without the mistaken keys.
        problems: the mistakes of shape.
        mended: the document's value without the keys that are mistaken, so that what the shape
            does not show is reported in the same go.
    """

    model: Model | None
    problems: list[Problem]
    mended: Mapping[str, Any]


def validate(model: type[Model], document: Document) -> Shape[Model]:
    """Read a document as a `model`, with every mistake of shape."""
    try:
        return Shape(model=model.model_validate(document.value), problems=[], mended=document.value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    found = [problem for each in errors for problem in _problems(model, document, each)]
    mended = _without(document.value, {_key_in_file(document, each) for each in errors}, ())
    return Shape(
        model=_closest(model, document, mended),
        problems=list(dict.fromkeys(found)),  # each member of a union complains
        mended=mended,
    )


def _closest(model: type[Model], document: Document, value: Any) -> Model | None:
    """Return the model of `value` without the optional keys whose value is invalid."""
    while True:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            owners = {_owner_key(_key_in_file(document, each)) for each in error.errors()}
        if () in owners:
            return None
        value = _without(value, owners, ())


def _owner_key(key: Key) -> Key:
    """Return the key that holds the mistake; never a list's item, as others would move up."""
    key = key[:-1]
    while key and isinstance(key[-1], int):
        key = key[:-1]
    return key


def readable_entries(shape: Shape[Expectations]) -> Iterator[tuple[int, Expectation]]:
    """Yield the entries of a ledger whose shape is right, where others are not."""
    if shape.model is not None:
        yield from enumerate(shape.model.expectations)
        return
    listed, adapter = shape.mended.get("expectations"), TypeAdapter(Expectation)
    for index, raw in enumerate(listed if isinstance(listed, list) else []):
        try:
            yield index, adapter.validate_python(raw)
        except ValidationError:
            continue


def _without(value: Any, mistaken: set[Key], at: Key) -> Any:
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if (*at, name) not in mistaken}
        return {name: _without(item, mistaken, (*at, name)) for name, item in kept.items()}
    if isinstance(value, list):
        return [_without(item, mistaken, (*at, i)) for i, item in enumerate(value)]
    return value


# --- one mistake ----------------------------------------------------------------------------------


def _problems(model: type[Strict], document: Document, error: ErrorDetails) -> Iterator[Problem]:
    key, kind = _key_in_file(document, error), error["type"]
    if kind == "extra_forbidden":
        owner = _owner(model, error["loc"])
        higher = _one_level_down(str(key[-1]), owner) if owner else ""
        yield _unknown_key(document, key, _names(owner) if owner else set(), higher)
    elif kind == "missing":
        yield document.problem(key, "key is required")
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        yield from _kind_problems(document, key, error)
    else:
        within = _owner(model, (*error["loc"], ""))
        yield document.problem(key, **_wrong_value(document, error, within))


def _wrong_value(
    document: Document, error: ErrorDetails, owner: type[Strict] | None
) -> dict[str, str]:
    """Return message, value, allowed and nearest for a value that does not fit."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    facts = {"value": _shown(given)}
    if kind == "string_pattern_mismatch":
        return {**facts, "message": "is not written so", "allowed": WRITTEN_AS[context["pattern"]]}
    if kind == "enum":
        options = re.findall(r"'([^']*)'", context["expected"])
        close = nearest(given, options) if isinstance(given, str) else ""
        allowed = ", ".join(options)
        return {**facts, "message": "not an allowed value", "allowed": allowed, "nearest": close}
    if error["loc"][-1] in _SCALARS and document.place(error["loc"]) is None:
        return {**facts, "message": "must be text, a number, true, false or null"}
    if kind in _WANTED:
        close = _rewritten(given, kind)
        keys = _names(owner) if owner and kind == "model_type" else set()
        allowed = ", ".join(sorted(keys))
        message = f"must be {_WANTED[kind]}"
        return {**facts, "message": message, "allowed": allowed, "nearest": close}
    return {**facts, "message": _plain(error["msg"])}


def _rewritten(given: object, wanted: str) -> str:
    """Return `given` as it would have been right, where that is easy to say."""
    if wanted == "bool_type" and isinstance(given, str):
        return _AS_IN_YAML_1_1.get(given.lower(), "")
    if wanted == "string_type" and isinstance(given, int | float):
        return f'"{_shown(given)}"'
    if wanted == "list_type" and isinstance(given, str | int | float):
        return f"[{given}]"
    if wanted == "tuple_type" and isinstance(given, str):
        return f"[{given}]"
    return ""


def _unknown_key(document: Document, key: Key, known: set[str], else_near: str = "") -> Problem:
    word, allowed = str(key[-1]), sorted(known)
    return document.problem(
        key,
        "unknown key",
        value=repr(word),
        allowed=", ".join(allowed),
        nearest=nearest(word, allowed) or else_near,
    )


def _kind_problems(document: Document, key: Key, error: ErrorDetails) -> Iterator[Problem]:
    """Yield the problems of an entry whose kind is not known, so that it cannot be read."""
    entry = error["input"]
    kinds = [name for each in KINDS for name in _tags(each)]
    if "kind" in entry:
        facts = {"value": _shown(entry["kind"]), "nearest": nearest(entry["kind"], kinds)}
        allowed = ", ".join(kinds)
        yield document.problem((*key, "kind"), "not an allowed value", allowed=allowed, **facts)
    elif "expect" not in entry:
        allowed = "expect, or a figure that is derived or recorded"
        yield document.problem((*key, "expect"), "key is required", allowed=allowed)
    elif misspelt := entry["expect"].keys() - EXPECT_KEYS:
        for name in sorted(misspelt):
            yield _unknown_key(document, (*key, "expect", name), {*EXPECT_KEYS})
    else:
        allowed = "equivalence, noninferiority"  # `expect` is written alike for both
        yield document.problem((*key, "kind"), "key is required", allowed=allowed)
    known = set().union(*(_names(each) for each in KINDS))
    for name in sorted(entry.keys() - known):
        yield _unknown_key(document, (*key, name), known)
    for name in sorted(_names(KINDS[0], required=True) - entry.keys() - {"kind", "expect"}):
        yield document.problem((*key, name), "key is required")


def _plain(message: str) -> str:
    return (
        message.removeprefix("Value error, ")
        .replace("Input should", "must")
        .replace("String should", "must")
        .replace("List should", "must")
        .replace("Tuple should", "must")
        .replace("Dictionary should", "must")
        .replace(" after validation, not 0", "")
        .replace(" after validation,", ",")
    )


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - one line of a terminal


# --- where it is ----------------------------------------------------------------------------------


def _key_in_file(document: Document, error: ErrorDetails) -> Key:
    """Return the key an error is about, without what pydantic adds to its place."""
    location = error["loc"]
    if location[:1] == ("expectations",) and len(location) > 2:  # noqa: PLR2004 - list, index, kind
        location = (*location[:2], *location[3:])
    if error["type"] == "missing":
        return location
    key: Key = ()
    for part in location:
        if document.place((*key, part)) is None:
            break
        key = (*key, part)
    return key


def _owner(model: type[Strict], location: tuple[int | str, ...]) -> type[Strict] | None:
    """Return the model that has no field of the name at the end of `location`."""
    found: Any = model
    for part in location[:-1]:
        found = _step_into(found, part)
    return next(_models_in(found), None)


def _step_into(model: Any, part: int | str) -> Any:
    for candidate in _models_in(model):
        if part in _tags(candidate):
            return candidate
        for name, field in candidate.model_fields.items():
            if part == (field.alias or name):
                return field.annotation
    return model


def _models_in(annotation: Any) -> Iterator[type[Strict]]:
    if hasattr(annotation, "model_fields"):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _tags(model: type[Strict]) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return getattr(field.annotation, "__args__", ()) if field else ()


def _names(model: type[Strict], *, required: bool = False) -> set[str]:
    """Return the keys of a model as they are written; only the required ones where so asked."""
    fields = model.model_fields.items()
    return {f.alias or name for name, f in fields if f.is_required() or not required}


def _one_level_down(word: str, owner: type[Strict]) -> str:
    """Return ``limits.timeout_s`` for a key that is one level too high."""
    for name, field in owner.model_fields.items():
        for inner in _models_in(field.annotation):
            if word in _names(inner):
                return f"{field.alias or name}.{word}"
    return f"product.{word}" if owner is Sweep else ""
