"""The outcomes of both catalogues, as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.mutants.catalogue import Mutant

Outcomes = Mapping[str, Mapping[str, Mapping[str, Any]]]

_HEAD = """# Planted faults, and who notices them

Small faults of the science, each as an edit of one file: Adam's betas ignored, a loader that
repeats its first batch, a policy that is judged without its adapter. `nox -s mutants` plants each
in a copy of the project and asks three witnesses, each by itself:

- **tests**: those of the file's own subject;
- **pins**: whether a run of the fault's scenario is as pinned on this machine, to the last bit;
- **claims**: whether an entry of that scenario's ledger that is reproduced without the fault is
  not reproduced with it.

There are two catalogues. Tests, pins and claims were mended by what the first one
(`tests/mutants/catalogue.yaml`) found. The second (`tests/mutants/second.yaml`, asked by `nox -s
mutants -- --catalogue tests/mutants/second.yaml`) was written afterwards, from the code alone, and
has no fault of the first: it says whether the mending was for those faults only.

Pins and claims are asked of the profile cpu, or of a part of it where the whole takes minutes
(`CUT` in `tests/mutants/__main__.py`). Percentages are of the faults that a witness was asked
about; "not asked" is no result. This page is written by that session; what has not changed since it
was asked is not asked again.
"""
_ASKS = ("tests", "pins", "claims")


def render(
    first: Sequence[Mutant],
    of_first: Outcomes,
    second: Sequence[Mutant],
    of_second: Outcomes,
) -> str:
    """Return the page: of each catalogue a row for each area, every survivor, every fault."""
    lines = [
        _HEAD,
        *_part("first", first, of_first),
        "",
        *_part("second", second, of_second),
    ]
    return "\n".join([*lines, ""])


def _part(name: str, mutants: Sequence[Mutant], outcomes: Outcomes) -> Iterator[str]:
    yield from (f"## The {name} catalogue: {len(mutants)} faults", "")
    yield "| area | faults | tests | pins | claims | tests or pins |"
    yield "|---|--:|--:|--:|--:|--:|"
    for area in dict.fromkeys(each.area for each in mutants):
        yield _score(area, [each for each in mutants if each.area == area], outcomes)
    yield _score("**all**", mutants, outcomes)
    yield from ("", f"### Of the {name}, not noticed by tests and pins", "")
    survivors = [
        f"- `{each.id}` ({each.says}): {each.explained or 'not explained yet'}"
        for each in mutants
        if _came(each, outcomes, ("tests", "pins")) & {"caught", "survived"} == {"survived"}
    ]
    yield from survivors or ["None of those that were asked."]
    yield from ("", f"### Every fault of the {name}", "")
    yield "| fault | what it is | scenario | tests | pins | claims |"
    yield "|---|---|---|---|---|---|"
    for each in mutants:
        came = " | ".join(_shown(outcomes.get(each.id, {}).get(ask, {})) for ask in _ASKS)
        yield f"| `{each.id}` | {each.says} | {each.scenario} | {came} |"


def _score(area: str, mutants: Sequence[Mutant], outcomes: Outcomes) -> str:
    cells = [area, str(len(mutants))]
    for asks in (("tests",), ("pins",), ("claims",), ("tests", "pins")):
        came = [_came(each, outcomes, asks) for each in mutants]
        asked = sum(bool({"caught", "survived"} & each) for each in came)
        caught = sum("caught" in each for each in came)
        cells.append(
            f"{caught} of {asked} ({100 * caught / asked:.0f} %)" if asked else "not asked"
        )
    return f"| {' | '.join(cells)} |"


def _came(mutant: Mutant, outcomes: Outcomes, asks: Iterable[str]) -> set[str]:
    found = outcomes.get(mutant.id, {})
    return {str(found[ask]["came"]) for ask in asks if ask in found}


def _shown(outcome: Mapping[str, Any]) -> str:
    match outcome.get("came", "not asked"):
        case "caught":
            by = str(outcome.get("by", "")).rsplit("::", 1)[-1]
            return f"caught: {by[:60]}" if by else "caught"
        case came:
            return str(came)
