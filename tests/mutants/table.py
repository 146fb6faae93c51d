"""The outcomes of a campaign, as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.mutants.catalogue import Mutant

Outcomes = Mapping[str, Mapping[str, Mapping[str, Any]]]

_HEAD = """# Planted faults, and who notices them

`tests/mutants/catalogue.yaml` holds {count} small faults of the science, each as an edit of one
file: Adam's betas ignored, a loader that repeats its first batch, a policy that is judged without
its adapter. `nox -s mutants` plants each in a copy of the project and asks three witnesses, each by
itself:

- **tests**: those of the file's own subject;
- **pins**: whether a run of the fault's scenario is as pinned on this machine, to the last bit;
- **claims**: whether an entry of that scenario's ledger that is reproduced without the fault is
  not reproduced with it.

Pins and claims are asked of the profile cpu, or of a part of it where the whole takes minutes
(`CUT` in `tests/mutants/__main__.py`). Percentages are of the faults that a witness was asked
about; "not asked" is no result. This page is written by that session; what has not changed since it
was asked is not asked again.
"""


def render(mutants: Sequence[Mutant], outcomes: Outcomes) -> str:
    """Return the page: a row for each area, then every survivor, then every fault."""
    lines = [_HEAD.format(count=len(mutants)), "## Score", ""]
    lines += [
        "| area | faults | tests | pins | claims | tests or pins |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    areas = list(dict.fromkeys(each.area for each in mutants))
    for area in areas:
        lines.append(_score(area, [each for each in mutants if each.area == area], outcomes))
    lines.append(_score("**all**", mutants, outcomes))
    survivors = [
        each
        for each in mutants
        if "survived" in _came(each, outcomes, ("tests", "pins"))
        and "caught" not in _came(each, outcomes, ("tests", "pins"))
    ]
    lines += ["", "## Not noticed by tests and pins", ""]
    lines += [
        f"- `{each.id}` ({each.says}): {each.explained or 'not explained yet'}"
        for each in survivors
    ] or ["None of those that were asked."]
    lines += ["", "## Every fault", "", "| fault | what it is | scenario | tests | pins | claims |"]
    lines.append("|---|---|---|---|---|---|")
    for each in mutants:
        came = (
            _shown(outcomes.get(each.id, {}).get(ask, {})) for ask in ("tests", "pins", "claims")
        )
        lines.append(f"| `{each.id}` | {each.says} | {each.scenario} | {' | '.join(came)} |")
    return "\n".join([*lines, ""])


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
