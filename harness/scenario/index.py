"""A summary of every scenario, remembered between calls so that `list` need not read them all.

The cache is keyed by each file's size and modification time; it holds only files that were found
valid, so a malformed scenario is reported every time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import __version__, atomic
from harness.errors import HostError, InputError, Problem
from harness.reading import read_json, read_regular_file
from harness.records import from_json, record, to_json
from harness.scenario.folders import SCENARIO_FILE, folders


@record
class ScenarioSummary:
    """What `list` shows of a scenario."""

    scenario: str
    title: str
    article: int
    status: str
    profiles: tuple[str, ...]


@record
class _Cache:
    """The summaries by scenario, each with the stamp of the file that it was made from."""

    version: str
    entries: Mapping[str, Mapping[str, Any]]


def summaries(root: Path, cache: Path) -> list[ScenarioSummary]:
    """Return a summary of every scenario under `root`, sorted by id.

    Args:
        root: the folder of scenarios.
        cache: a folder of ours; one file per root is kept there.

    Raises:
        InputError: every mistake in every file that is not valid.
    """
    cache_file = (
        cache / f"index-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.json"
    )
    known = _read_cache(cache_file)
    current: dict[str, Mapping[str, Any]] = {}
    problems: list[Problem] = []
    for folder in folders(root):
        stamp = _stamp(folder / SCENARIO_FILE)
        entry = known.get(folder.name)
        if entry is None or entry["stamp"] != stamp:
            try:
                entry = {"stamp": stamp, "summary": to_json(_summarise(folder))}
            except InputError as error:
                problems += error.problems
                continue
        current[folder.name] = entry
    if current != known:
        text = json.dumps({"version": __version__, "entries": current})
        with suppress(HostError):  # a read-only home: everything is read again next time
            atomic.write_text(cache_file, text)
    if problems:
        raise InputError(problems)
    return [from_json(ScenarioSummary, entry["summary"]) for entry in current.values()]


def _summarise(folder: Path) -> ScenarioSummary:
    from harness.scenario.load import load  # noqa: PLC0415 - pydantic only where a file changed

    scenario = load(folder).scenario
    return ScenarioSummary(
        scenario=scenario.scenario,
        title=scenario.title,
        article=scenario.article.number,
        status=scenario.status.value,
        profiles=tuple(profile.value for profile in scenario.profiles),
    )


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []  # loading says why
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _read_cache(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        document = from_json(_Cache, read_json(read_regular_file(path)))
        for entry in document.entries.values():
            from_json(ScenarioSummary, entry["summary"])
            from_json(tuple[int, ...], entry["stamp"])
    except (OSError, ValueError, KeyError):
        return {}  # a cache: absent, damaged or of another branch, it is made again
    return document.entries if document.version == __version__ else {}
