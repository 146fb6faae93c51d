"""From a ledger as written to complete entries, each value with its place in the file.

An entry may leave out keys that are given elsewhere:

- what the `defaults` of its section say;
- `unit`, which is its metric's, or x for a ratio;
- `kind`, where the form of `expect` shows it;
- the value that a tolerance is around, or `expect` as a whole. Then a run should measure the figure
  that is derived, else the one that is recorded: within half of its last digit as written, or
  exactly where it is a whole number, a text or a flag;
- what is derived, where a `formula` gives it. Then nothing is expected of a run.

This module checks nothing: it passes mistakes on, and `harness.scenario.shape` reports them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from math import isfinite
from typing import Any

from pydantic import ValidationError

from harness.scenario.expectations import EXPECT_KEYS, Defaults, EvidenceClass, Printed
from harness.scenario.formula import evaluate
from harness.scenario.positions import Document, Key

_SHARED = [field.alias or name for name, field in Defaults.model_fields.items()]
_KIND_OF = {  # a key of `expect` that one kind alone has -> the kind
    "to": "ratio",
    "than": "ordering",
    "successes": "proportion",
    "trials": "proportion",
    "constant": "proportion",
    "points": "trajectory",
    "law": "law",
}
_WITHOUT_TOLERANCE = ("exact", "ordering", "proportion")


def resolve(document: Document, units: Mapping[str, str]) -> Document:
    """Return the ledger with its complete entries, in one list under `expectations`.

    Args:
        document: the file, in sections.
        units: metric -> unit.
    """
    entries: list[dict[str, Any]] = []
    origins: dict[Key, Key] = {("expectations",): ("sections",)}
    for section_key, section in _mappings(document.value, "sections", ()):
        defaults = section.get("defaults")
        shared = defaults if isinstance(defaults, dict) else {}
        for entry_key, written in _mappings(section, "entries", section_key):
            here: Key = ("expectations", len(entries))
            entry, inherited = _with_defaults(written, shared)
            origins[here] = entry_key
            origins |= {(*here, *key): (*section_key, "defaults", *key) for key in inherited}
            for name in ("claimed", "recorded", "derived"):
                _keep_last_digit(entry, name, document.numbers, (*entry_key, name))
            unit = units.get(str(entry.get("metric")))
            if "formula" in entry:
                _add_derived(entry, document.value.get("given"))
            else:
                _add_expected(entry)
                unit = "x" if entry.get("kind") == "ratio" else unit or "1"  # of an unknown metric
            if unit:
                entry.setdefault("unit", unit)
            entries.append(entry)
    value = {"expectations": entries}
    value |= {
        name: document.value[name] for name in ("scenario", "given") if name in document.value
    }
    return replace(document, value=value, origins=origins)


def _mappings(
    parent: Mapping[str, Any], name: str, key: Key
) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Yield the mappings of the list `parent[name]`, each with its key path in the file."""
    listed = parent.get(name)
    for index, item in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(item, dict):
            yield (*key, name, index), item


def _with_defaults(
    written: Mapping[str, Any], shared: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Key]]:
    """Return an entry with its section's defaults, and the keys that come from them.

    A reason is one for a tolerance: an entry that writes none does not take the default.
    """
    entry = {**{name: shared[name] for name in _SHARED if name in shared}, **written}
    inherited: list[Key] = [(name,) for name in entry if name not in written]
    if "reason" not in written and ("expect" not in entry or _kind(entry) in _WITHOUT_TOLERANCE):
        entry.pop("reason", None)
    both = shared.get("where"), written.get("where")
    if isinstance(both[0], dict) and isinstance(both[1], dict):
        entry["where"] = {**both[0], **both[1]}
        inherited += [("where", key) for key in both[0] if key not in both[1]]
    return entry, inherited


def _keep_last_digit(
    entry: dict[str, Any], name: str, numbers: Mapping[Key, str], key: Key
) -> None:
    """Add the quantum to a figure whose text shows another last digit than its value: 75.00."""
    figure = entry.get(name)
    figure = dict(figure) if isinstance(figure, dict) else {"value": figure}
    text = numbers.get(key) or numbers.get((*key, "value"))
    if text is None or "quantum" in figure:
        return
    exponent = Decimal(text).as_tuple().exponent
    quantum = float(f"1e{exponent}")
    if exponent != Decimal(repr(figure["value"])).as_tuple().exponent and isfinite(quantum):
        entry[name] = {**figure, "quantum": quantum}


def _kind(entry: Mapping[str, Any]) -> Any:
    """Return the kind that an entry states, or that its `expect` shows; None where it is open."""
    if "kind" in entry:
        return entry["kind"]
    expect = entry["expect"]
    if not isinstance(expect, dict):
        return "bound"
    of_means = "margin" in expect and not {"than", "constant"} & expect.keys()
    if of_means or expect.keys() - EXPECT_KEYS:
        return None  # equivalence or noninferiority; or a key is misspelt, which may show the kind
    marks = (kind for key, kind in _KIND_OF.items() if key in expect)
    return next(marks, "exact" if [*expect] == ["value"] else "bound")


def _add_expected(entry: dict[str, Any]) -> None:
    """Complete `expect` and `kind` by the figure that is derived, else recorded."""
    truth = next((name for name in ("derived", "recorded") if entry.get(name) is not None), None)
    if "expect" in entry:
        kind, expect = _kind(entry), entry["expect"]
        if kind is not None:
            entry["kind"] = kind
        if truth and kind in ("bound", "ratio") and _is_tolerance_alone(expect):
            entry["expect"] = {"value": _figure(entry[truth]).value, **expect}
    elif entry.get("class") == EvidenceClass.REPORTED:
        entry.setdefault("kind", "reported")
    elif truth and entry.get("kind") in (None, "exact", "bound"):
        figure = _figure(entry[truth])
        kind = entry.setdefault("kind", "bound" if isinstance(figure.value, float) else "exact")
        entry["expect"] = {"value": figure.value}
        if kind == "bound" and type(figure.value) in (int, float):
            entry["expect"]["abs"] = figure.step / 2
            entry.setdefault("reason", f"half of the last digit {truth}")


def _add_derived(entry: dict[str, Any], given: Any) -> None:
    """Add the value of an entry's formula to it; a mistaken formula is left as it is."""
    entry.setdefault("kind", "arithmetic")
    for name in ("binds", "reason"):  # of its section; it holds anywhere, exactly
        entry.pop(name, None)
    try:
        value = evaluate(str(entry["formula"]), values_of(given))
    except ValueError:
        return
    entry["derived"] = {"value": float(f"{value:.6g}")}


def values_of(given: Any) -> dict[str, float]:
    """Return name -> value of a ledger's `given` table, as far as it is one."""
    table = given if isinstance(given, dict) else {}
    rows = ((name, row.get("value")) for name, row in table.items() if isinstance(row, dict))
    return {name: float(value) for name, value in rows if isinstance(value, int | float)}


def _is_tolerance_alone(expect: Any) -> bool:
    if not isinstance(expect, dict):
        return False
    return bool({"abs", "rel"} & expect.keys()) and not {"value", "low", "high"} & expect.keys()


def _figure(given: Any) -> Printed:
    """Return a figure, or one without a value where it is mistaken and reported for itself."""
    try:
        return Printed.model_validate(given if isinstance(given, dict) else {"value": given})
    except ValidationError:
        return Printed(value=None)
