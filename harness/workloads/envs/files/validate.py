"""All that is wrong with a task's JSON form.

Stricter than article 32's validator, which let through regexes that do not compile, skills that do
not exist, unknown keys and paths that leave the workspace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.errors import Problem, nearest, unknown
from harness.sandbox.limits import MAX_WORKSPACE_BYTES
from harness.sandbox.workspace import path_problem
from harness.workloads.envs.files.task import SKILLS, AssertionKind, Difficulty, compiled

MAX_ASSERTIONS = 8  # what article 32's validator lets through; its prompt asks for 2 to 6

Fields = Mapping[str, type]

_TASK_ID = re.compile(r"synth-(?P<role>[a-z][a-z0-9-]*)-\d{2}")
_TASK: Fields = {
    "task_id": str,
    "persona": dict,
    "intent": str,
    "workspace_seed": dict,
    "skills_required": list,
    "verifiable_assertions": list,
    "difficulty": str,
    "estimated_steps": int,
}
_PERSONA: Fields = {"role": str, "context": str}
_FILES: Mapping[str, Fields] = {
    "text": {"path": str, "kind": str, "content": str},
    "binary-stub": {"path": str, "kind": str, "size_bytes": int},
}
_ASSERTIONS: Mapping[str, Fields] = {
    **{kind.value: {"kind": str, "path": str} for kind in AssertionKind},
    AssertionKind.CONTAIN.value: {"kind": str, "path": str, "must_contain": list},
    AssertionKind.MATCH.value: {"kind": str, "path": str, "regex": str},
}
_WORDS: Mapping[type, str] = {
    str: "text",
    dict: "an object",
    list: "a list",
    int: "a whole number",
}


def task_problems(document: object) -> tuple[Problem, ...]:
    """Return every mistake in the JSON form of a task, each with its key."""
    found = _Found()
    sound = found.fields(document, _TASK, "", optional={"oracle": list})
    if "persona" in sound:
        sound["persona"] = found.fields(sound["persona"], _PERSONA, "persona")
    _check_facts(sound, found)
    seeded: set[str] = set()
    if "workspace_seed" in sound:
        seed = found.fields(sound["workspace_seed"], {"files": list}, "workspace_seed")
        seeded = _check_files(seed.get("files", []), found)
    if "verifiable_assertions" in sound:
        _check_assertions(sound["verifiable_assertions"], seeded, found)
    for skill in found.texts(sound, "skills_required"):
        if skill not in SKILLS:
            found.append(unknown("skill", skill, SKILLS, key="skills_required"))
    found.texts(sound, "oracle")
    return tuple(found)


class _Found(list[Problem]):
    """The problems found so far."""

    def add(self, key: str, message: str, value: object = None, allowed: str = "") -> None:
        shown = "" if value is None else repr(value)[:80]
        self.append(Problem(message=message, key=key, value=shown, allowed=allowed))

    def fields(
        self, given: object, wanted: Fields, key: str, optional: Fields | None = None
    ) -> dict[str, Any]:
        """Return what is present and of the right type; the rest is added."""
        if not isinstance(given, dict):
            self.add(key or "task", "wrong type", given, "an object")
            return {}
        known = {**wanted, **(optional or {})}
        dot = f"{key}." if key else ""
        for name in wanted:
            if name not in given:
                self.add(dot + name, "is missing")
        for name in given:
            if name not in known:
                self.append(unknown("key", name, known, key=dot + str(name)))
        present = [name for name in known if name in given]
        return {
            name: given[name]
            for name in present
            if self.holds(given[name], known[name], dot + name)
        }

    def variant(self, given: object, variants: Mapping[str, Fields], key: str) -> dict[str, Any]:
        """Return the sound fields of an object whose ``kind`` decides what they are."""
        kind = given.get("kind") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind in variants:
            return self.fields(given, variants[kind], key)
        self.append(unknown("kind", kind, variants, key=f"{key}.kind"))
        return {}

    def texts(self, sound: Mapping[str, Any], name: str, at: str = "") -> list[str]:
        """Return the texts of a list; whatever else it holds is added."""
        items = enumerate(sound.get(name, []))
        return [item for index, item in items if self.holds(item, str, f"{at}{name}[{index}]")]

    def holds(self, value: object, kind: type, key: str) -> bool:
        """Whether `value` is of `kind`; adds it where not."""
        sound = type(value) is kind
        if (
            isinstance(value, str) and sound
        ):  # JSON can spell half of a pair, which no file can hold
            sound = not any("\ud800" <= letter <= "\udfff" for letter in value)
        if not sound:
            self.add(key, "wrong type", value, _WORDS[kind])
        return sound

    def path_of(self, sound: Mapping[str, Any], key: str) -> str:
        """Return the path of a file or assertion, checked; empty where it has none."""
        path: str = sound.get("path", "")
        if "path" in sound and (message := path_problem(path)):
            self.add(f"{key}.path", message, path)
        return path


def _check_facts(sound: Mapping[str, Any], found: _Found) -> None:
    """Check what a task says of itself."""
    if "task_id" in sound:
        name = _TASK_ID.fullmatch(sound["task_id"])
        role = sound.get("persona", {}).get("role")
        if name is None or role not in {None, name["role"]}:
            wanted = f"synth-{role or '<role>'}-<two digits>"
            found.add("task_id", "wrong id", sound["task_id"], wanted)
    if "intent" in sound and not sound["intent"].strip():
        found.add("intent", "is empty")
    bands = [band.value for band in Difficulty]
    if "difficulty" in sound and sound["difficulty"] not in bands:
        found.append(unknown("difficulty", sound["difficulty"], bands, key="difficulty"))
    if sound.get("estimated_steps", 1) < 1:
        found.add("estimated_steps", "out of range", sound["estimated_steps"], ">= 1")


def _check_files(files: list[Any], found: _Found) -> set[str]:
    """Check the files of a seed; return their paths."""
    seeded: set[str] = set()
    size = 0
    for index, given in enumerate(files):
        key = f"workspace_seed.files[{index}]"
        file = found.variant(given, _FILES, key)
        path = found.path_of(file, key)
        if path.endswith("/"):
            found.add(f"{key}.path", "is a directory's path", path)
        if path in seeded:
            found.add(f"{key}.path", "stands twice", path)
        if file.get("size_bytes", 0) < 0:
            found.add(f"{key}.size_bytes", "out of range", file["size_bytes"], ">= 0")
        size += file.get("size_bytes", 0)
        seeded |= {path} - {""}
    for path in sorted(seeded):
        if any(other.startswith(f"{path}/") for other in seeded):
            found.add("workspace_seed.files", "is both a file and a directory", path)
    if size > MAX_WORKSPACE_BYTES:
        found.add("workspace_seed.files", "too large", size, f"{MAX_WORKSPACE_BYTES} bytes")
    return seeded


def _check_assertions(given: list[Any], seeded: set[str], found: _Found) -> None:
    at = "verifiable_assertions"
    if not 1 <= len(given) <= MAX_ASSERTIONS:
        found.add(at, "wrong number of assertions", len(given), f"1 to {MAX_ASSERTIONS}")
    for index, item in enumerate(given):
        key = f"{at}[{index}]"
        sound = found.variant(item, _ASSERTIONS, key)
        path = found.path_of(sound, key)
        if sound.get("kind") == AssertionKind.UNCHANGED and path and path not in seeded:
            message, close = "is not in the seed", nearest(path, seeded)
            found.append(Problem(message=message, key=f"{key}.path", value=path, nearest=close))
        if compiled(sound.get("regex", "")) is None:
            found.add(f"{key}.regex", "is no regular expression", sound["regex"])
        texts = found.texts(sound, "must_contain", f"{key}.")
        if "must_contain" in sound and ("" in texts or not sound["must_contain"]):
            found.add(f"{key}.must_contain", "asks for no text")
