"""The closed table of units that figures are stated in, and times and counts in words.

A unit is a name, a dimension and a factor to that dimension's base. Two figures compare only when
their dimensions agree; a misspelt unit is an error, never a new unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: `value * factor` is the value in the base unit of `dimension`."""

    name: str
    dimension: str
    factor: float


def _table(*rows: tuple[str, str, float]) -> dict[str, Unit]:
    return {name: Unit(name, dimension, factor) for name, dimension, factor in rows}


_KIB = 1024.0
_HOUR = 3600.0

UNITS = _table(
    ("1", "number", 1.0),
    ("x", "number", 1.0),  # a ratio
    ("%", "number", 0.01),
    ("text", "text", 1.0),
    ("flag", "flag", 1.0),  # true or false
    # counts: each its own dimension, so that steps never compare with tokens
    ("count", "count", 1.0),
    ("token", "token", 1.0),
    ("Gtoken", "token", 1e9),
    ("document", "document", 1.0),
    ("character", "character", 1.0),
    ("step", "step", 1.0),
    ("turn", "turn", 1.0),
    ("parameter", "parameter", 1.0),
    ("Mparameter", "parameter", 1e6),
    # time
    ("us", "time", 1e-6),
    ("ms", "time", 1e-3),
    ("s", "time", 1.0),
    ("min", "time", 60.0),
    ("h", "time", _HOUR),
    ("d", "time", 24 * _HOUR),
    ("year", "time", 365.25 * 24 * _HOUR),
    # memory
    ("B", "memory", 1.0),
    ("KiB", "memory", _KIB),
    ("MiB", "memory", _KIB**2),
    ("GiB", "memory", _KIB**3),
    ("GB", "memory", 1e9),
    ("B/parameter", "memory/parameter", 1.0),
    ("B/token", "memory/token", 1.0),
    ("KiB/token", "memory/token", _KIB),
    ("MiB/token", "memory/token", _KIB**2),
    # energy, power, temperature
    ("J", "energy", 1.0),
    ("kJ", "energy", 1e3),
    ("Wh", "energy", _HOUR),
    ("kWh", "energy", 1e3 * _HOUR),
    ("W", "power", 1.0),
    ("kW", "power", 1e3),
    ("degC", "temperature", 1.0),
    ("MHz", "frequency", 1e6),
    # rates
    ("token/s", "token/time", 1.0),
    ("document/s", "document/time", 1.0),
    ("character/token", "character/token", 1.0),
    ("token/J", "token/energy", 1.0),
    ("FLOP", "work", 1.0),
    ("TFLOP/s", "work/time", 1e12),
    ("MB/s", "bandwidth", 1e6),
    ("GB/s", "bandwidth", 1e9),
    # money
    ("USD", "money", 1.0),
    ("USD/h", "money/time", 1.0),
    ("USD/kWh", "money/energy", 1.0),
    # information
    ("nat", "information", 1.0),
    ("bit", "information", math.log(2)),
    ("bit/token", "information/token", 1.0),
)


_TYPED_S = {"s": 1.0, "m": 60.0, "h": _HOUR, "d": 24 * _HOUR}


def same_dimension(one: str, other: str) -> bool:
    """Return whether figures in the two units may be compared.

    Raises:
        KeyError: a unit is not in the table.
    """
    return UNITS[one].dimension == UNITS[other].dimension


def convert(value: float, unit: str, to: str) -> float:
    """Return `value`, given in `unit`, in the unit `to`.

    Raises:
        KeyError: a unit is not in the table.
        ValueError: the units measure different things.
    """
    if not same_dimension(unit, to):
        message = f"cannot convert {unit} to {to}"
        raise ValueError(message)
    return value if unit == to else value * UNITS[unit].factor / UNITS[to].factor


def duration(seconds: float) -> str:
    """Return a time as people say it, to two units: ``0.4 s``, ``6 min 1 s``, ``18 h 5 min``."""
    if round(seconds, 1) < 60:  # noqa: PLR2004 - below a minute
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - below an hour
        return f"{minutes} min {rest_s} s" if rest_s else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def seconds_of(text: str) -> float:
    """Return the seconds of a time as people type it: ``90``, ``90s``, ``30m``, ``20h``, ``1.5d``.

    Raises:
        ValueError: it is none, or not above 0.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _TYPED_S else (text, "s")
    seconds = float(number) * _TYPED_S[unit]
    if not 0 < seconds < math.inf:
        message = f"{text} is no time to wait"
        raise ValueError(message)
    return seconds


def counted(number: int, noun: str) -> str:
    """Return ``1 run`` or ``2 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
