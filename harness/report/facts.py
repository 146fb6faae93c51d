"""A run's environment as flat facts, for captions and the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.records import FinishedRun
from harness.report.figures import setting

_REASONS = "absent"  # the key under which records of `harness.results` keep why a field is None
_COMMIT_DIGITS = 10


def commit(environment: Mapping[str, Any]) -> str:
    """Return the short commit, marked where the tree differed from it; empty where unknown."""
    code = environment.get("code")
    if not code or not code["commit"]:
        return ""
    short = str(code["commit"])[:_COMMIT_DIGITS]
    return f"{short} with local changes" if code["dirty"] else short


def why_no_commit(environment: Mapping[str, Any]) -> str:
    """Return why the commit is not known; empty where it is, or where nothing says why."""
    code = environment.get("code")
    reasons = code.get(_REASONS) if isinstance(code, Mapping) else None
    return str(reasons.get("commit", "")) if isinstance(reasons, Mapping) else ""


def warnings(environment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a run's environment warns of; older ones warn of nothing."""
    given = environment.get("warnings")
    return tuple(map(str, given)) if isinstance(given, list) else ()


def flatten(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return dotted key -> text, in the environment's order; an absent fact gives its reason."""
    return dict(_leaves(environment, ""))


def merged(runs: Sequence[FinishedRun]) -> dict[str, tuple[str, ...]]:
    """Return every fact of several runs with the different values it took, in order of runs."""
    values: dict[str, dict[str, None]] = {}
    for run in runs:
        for key, text in flatten(run.environment).items():
            values.setdefault(key, {})[text] = None
    return {key: tuple(texts) for key, texts in values.items()}


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    reasons = node.get(_REASONS, {})
    for key, value in node.items():
        if key == _REASONS:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for number, item in enumerate(value):
                yield from _leaves(item, f"{prefix}{key}[{number}].")
        else:
            yield f"{prefix}{key}", f"absent: {reasons[key]}" if key in reasons else setting(value)
