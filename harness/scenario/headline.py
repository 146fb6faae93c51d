"""What the shape of a `headline` does not show: names that are declared elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from harness.errors import Problem, nearest
from harness.records import Profile
from harness.scenario.positions import Document, Key
from harness.scenario.schema import Headline, HeadlineTable, IntervalKind, Scenario
from harness.units import UNITS


def headline_problems(
    scenario: Scenario, document: Document, units: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield every mistake of a scenario's headline but those that only its ledger shows.

    Args:
        scenario: whose headline it is.
        document: its file.
        units: metric -> unit, of every workload of the scenario.
    """
    headline = scenario.headline
    if headline is None:
        return
    profiles = [each.value for each in scenario.profiles]
    for name in ("limits", "by_profile"):
        for profile in getattr(headline, name):
            if profile not in scenario.profiles:
                yield document.problem(
                    ("headline", name, profile.value),
                    "the scenario has no such profile",
                    value=repr(profile.value),
                    allowed=", ".join(profiles),
                    nearest=nearest(profile.value, profiles),
                )
    yield from _table_problems(document, ("headline", "table"), headline.table, units)
    for profile, table in headline.by_profile.items():
        key = ("headline", "by_profile", profile.value)
        yield from _table_problems(document, key, table, units)
    for profile in scenario.profiles:
        yield from _sweep_problems(scenario, headline, profile, document)


def claim_problems(
    headline: Headline | None, document: Document, ids: Collection[str]
) -> Iterator[Problem]:
    """Yield the claims of a headline that its ledger, with entries of these ids, does not have."""
    for index, part in enumerate(headline.answer if headline else ()):
        if part.claim not in ids:
            yield document.problem(
                ("headline", "answer", index, "claim"),
                "the ledger has no such entry",
                value=repr(part.claim),
                allowed=f"{len(ids)} entries of expectations.yaml",
                nearest=nearest(part.claim, ids),
            )


def _table_problems(
    document: Document, key: Key, table: HeadlineTable, units: Mapping[str, str]
) -> Iterator[Problem]:
    for name in table.only:
        if name not in table.rows:
            yield document.problem(
                (*key, "only", name),
                "names no row of the table",
                value=repr(name),
                allowed=", ".join(table.rows) or "none",
                nearest=nearest(name, table.rows),
            )
    for index, column in enumerate(table.columns):
        at: Key = (*key, "columns", index)
        ends = [] if isinstance(column.interval, IntervalKind) else [*column.interval]
        named: list[tuple[Key, str]] = [((*at, "metric"), column.metric)]
        named += [((*at, "interval", number), name) for number, name in enumerate(ends)]
        for place, name in named:
            if units and name not in units:
                yield document.problem(
                    place,
                    "unknown metric",
                    value=repr(name),
                    allowed=f"{len(units)} metrics: harness show",
                    nearest=nearest(name, units),
                )
        unit = units.get(column.metric, "1")
        of_share = column.interval in (IntervalKind.WILSON, IntervalKind.SHARE)
        if of_share and UNITS[unit].dimension != "number":
            yield document.problem(
                (*at, "interval"),
                "is the interval of a share",
                value=str(column.interval),
                allowed="runs",
            )


def _sweep_problems(
    scenario: Scenario, headline: Headline, profile: Profile, document: Document
) -> Iterator[Problem]:
    """Yield the axes of a profile that its headline table would average over."""
    own = profile in headline.by_profile
    table, sweep = headline.table_of(profile), scenario.sweep_of(profile)
    for axis, values in {**sweep.zip, **sweep.product}.items():
        chosen = all(axis in column.where for column in table.columns)
        if len(values) > 1 and axis not in table.rows and not chosen:
            yield document.problem(
                ("headline", "by_profile", profile.value) if own else ("headline", "table"),
                f"profile {profile} varies {axis}, and the table does not name it",
                allowed=f"{axis} in rows, or in where of each column",
            )
