"""What the command line changes: `--set`, `--params` and `--only`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from harness.errors import InputError, Problem
from harness.records import record
from harness.scenario.positions import Document, parse, read


@record
class Overrides:
    """What a user asked to be otherwise than declared.

    Attributes:
        params: name -> value, from a params file and `--set`, the latter winning.
        origins: name -> where the value came from, for messages and `show`.
        only: axis -> values to keep.
        seed: replaces the declared seed.
        replicates: replaces the declared number of replicates.
        file: the params file, so that mistakes in it name their line.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seed: int | None = None
    replicates: int | None = None
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
    if problems:
        raise InputError(problems)
    return Overrides(
        params=params, origins=origins, only=kept, seed=seed, replicates=replicates, file=file
    )


def _pairs(flag: str, given: Iterable[str], problems: list[Problem]) -> list[tuple[str, Any]]:
    pairs = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or not text.isprintable():
            problems.append(Problem(message=f"{flag} takes key=value", value=ascii(text)))
            continue
        try:
            pairs.append((name, parse(f"value: {value}", Path(flag)).value["value"]))
        except InputError:
            problems.append(
                Problem(message=f"{flag} {name}: is not a YAML value", value=repr(value))
            )
    return pairs
