"""What the command line changes: `--set`, `--params` and `--only`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from harness.errors import InputError, Problem
from harness.records import record
from harness.scenario.positions import Document, parse, read
from harness.units import seconds_of


@record
class Overrides:
    """What a user asked to be otherwise than declared.

    Attributes:
        params: name -> value, from a params file and `--set`, the latter winning.
        origins: name -> where the value came from, for messages and `show`.
        only: axis -> values to keep.
        seed: replaces the declared seed.
        replicates: replaces the declared number of replicates.
        timeout_s: replaces the runs' limit; the experiment is the declared one all the same.
        file: the params file, so that mistakes in it name their line.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seed: int | None = None
    replicates: int | None = None
    timeout_s: float | None = None
    file: Document | None = None

    @property
    def partial(self) -> bool:
        """Whether the plan is other than the declared experiment."""
        return bool(self.params or self.only or self.seed is not None)


def read_overrides(
    settings: Iterable[str] = (),
    params_file: Path | None = None,
    only: Iterable[str] = (),
    *,
    seed: int | None = None,
    replicates: int | None = None,
    timeout: str | None = None,
) -> Overrides:
    """Read the command line's changes.

    Raises:
        InputError: every argument that is not ``key=value``, and every mistake in the file.
    """
    problems: list[Problem] = []
    file = read(params_file) if params_file is not None else None
    params = dict(file.value) if file is not None else {}
    origins = {name: f"{params_file}:{file.places[(name,)][0]}" for name in params} if file else {}
    for name, value in _pairs("--set", settings, problems):
        params[name], origins[name] = value, "--set"
    kept: dict[str, tuple[Any, ...]] = {}
    for name, value in _pairs("--only", only, problems):
        kept[name] = (*kept.get(name, ()), value)
    for flag, given, least in (("--seed", seed, 0), ("--replicates", replicates, 1)):
        if given is not None and given < least:
            allowed = f"{least} and above"
            message = f"{flag} is out of range"
            problems.append(Problem(message=message, value=str(given), allowed=allowed))
    timeout_s = None
    if timeout is not None:
        try:
            timeout_s = seconds_of(timeout)
        except ValueError:
            allowed = "a time above 0 such as 90s, 30m, 20h, 3d"
            problems.append(
                Problem(message="--timeout takes a time", value=ascii(timeout), allowed=allowed)
            )
    if problems:
        raise InputError(problems)
    return Overrides(
        params=params,
        origins=origins,
        only=kept,
        seed=seed,
        replicates=replicates,
        timeout_s=timeout_s,
        file=file,
    )


def _pairs(flag: str, given: Iterable[str], problems: list[Problem]) -> list[tuple[str, Any]]:
    pairs = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or not text.isprintable():
            problems.append(Problem(message=f"{flag} takes key=value", value=ascii(text)))
            continue
        try:
            parsed = parse(f"value: {value}", Path(flag)).value["value"]
        except InputError:
            problems.append(
                Problem(message=f"{flag} {name}: is not a YAML value", value=repr(value))
            )
            continue
        if "#" in value and _ends_in_comment(value, parsed):
            message = f"{flag} {name}: what follows # would be lost; quote the value"
            problems.append(Problem(message=message, value=repr(value)))
        else:
            pairs.append((name, parsed))
    return pairs


def _ends_in_comment(value: str, parsed: Any) -> bool:
    """Say whether YAML ignores the end of a value: then a letter more changes nothing."""
    try:
        return bool(parse(f"value: {value}x", Path()).value["value"] == parsed)
    except InputError:
        return False
