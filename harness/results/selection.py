"""Which stored run answers for which planned one, and why a planned one must run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from harness.records import FinishedRun, Profile, RunSpec, record
from harness.results.store import RunStore, said_of


class Reuse(StrEnum):
    """What the store holds for a planned run."""

    FINISHED = "finished"
    PENDING = "to run"


@record
class Pending:
    """One planned run, and what the store says of it.

    Attributes:
        reason: for a run to execute although its point, or its profile, was measured before: what
            differs; or that it goes on.
    """

    spec: RunSpec
    reuse: Reuse
    reason: str = ""


def pending(store: RunStore, specs: Iterable[RunSpec]) -> Iterator[Pending]:
    """Yield, for each planned run, whether it is finished, and if not why it is not reused."""
    planned = tuple(specs)
    failures = store.failures_of([spec for spec in planned if not store.has(spec)])
    earlier: dict[tuple[str, int], FinishedRun] | None = None
    for spec in planned:
        if store.has(spec):
            yield Pending(spec=spec, reuse=Reuse.FINISHED)
            continue
        if earlier is None:
            earlier = _by_point(store, spec.scenario, spec.profile)
        like = earlier.get((spec.point_id, spec.seed))
        failed = failures.get(spec.run_id)
        reason = _difference(like.spec, spec) if like else ""
        if store.is_staged(spec):
            reason = "was ended half-way: goes on behind its last step"
        elif failed:
            reason = f"failed before: {failed[-1].outcome.cause}"
        elif not like and (schemas := store.other_schemas(spec.scenario, spec.profile)):
            reason = f"what is stored is of {said_of(schemas)}"
        yield Pending(spec=spec, reuse=Reuse.PENDING, reason=reason)


def select(store: RunStore, specs: Iterable[RunSpec]) -> tuple[FinishedRun, ...]:
    """Return the stored run for each planned one; none for a point never measured.

    The very run where it is there; else the newest of the same point and seed, which other code,
    image or evidence gave (a report says which); else the last failed attempt.
    """
    planned = tuple(specs)
    finished = store.load_each(planned)
    earlier: dict[tuple[str, int], FinishedRun] = {}
    if len(finished) < len(planned):
        earlier = _by_point(store, planned[0].scenario, planned[0].profile)
    found = {
        spec.run_id: finished.get(spec.run_id) or earlier.get((spec.point_id, spec.seed))
        for spec in planned
    }
    failures = store.failures_of([spec for spec in planned if found[spec.run_id] is None])

    def answer(spec: RunSpec) -> FinishedRun | None:
        return found[spec.run_id] or next(iter(failures.get(spec.run_id, [])[::-1]), None)

    return tuple(run for spec in planned if (run := answer(spec)) is not None)


def _by_point(
    store: RunStore, scenario: str, profile: Profile
) -> dict[tuple[str, int], FinishedRun]:
    """Return the newest run of each point: the one stored last; of copied ones, by their clock."""
    order = store.order(scenario, profile)
    ordered = sorted(
        store.runs(scenario, profile),
        key=lambda run: (order.get(run.spec.run_id, -1), run.outcome.started_at),
    )
    return {(run.spec.point_id, run.spec.seed): run for run in ordered}


def is_of_this_code(run: FinishedRun, spec: RunSpec) -> bool:
    """Say whether a run was made by the code, and from the published files, of a planned one."""
    return run.spec.source == spec.source and run.spec.evidence == spec.evidence


def _difference(one: RunSpec, other: RunSpec) -> str:
    """Return why `one` cannot be reused for `other`, although both have the same point."""
    if one.image != other.image:
        return "the image is different" if one.image else "it ran without a container"
    if one.evidence != other.evidence:
        return "the published files are different"
    return "the workload's code has changed"
