"""``harness plan``: what a run would do, cost and reuse. Nothing runs and no result is written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from tabulate import tabulate

from harness.commands.preparation import Preparation, prepare
from harness.errors import ExitCode, HostError
from harness.records import to_json
from harness.results.selection import Owed, Reuse, owed
from harness.runtime.evidence import statuses


def main(options: argparse.Namespace) -> ExitCode:
    """Print the plan; the exit code says whether this machine can execute it."""
    ready = prepare(options)
    states = list(owed(ready.store, ready.plan.runs))
    obstacles = [str(problem) for problem in _obstacles(ready)]
    if options.json:
        print(json.dumps(_document(ready, states, obstacles), indent=1))
    else:
        _print(ready, states, obstacles)
    return ExitCode.INFRASTRUCTURE if obstacles else ExitCode.OK


def _print(ready: Preparation, states: list[Owed], obstacles: list[str]) -> None:
    plan = ready.plan
    print(f"plan: {plan.scenario}, profile {plan.profile}, {ready.where}")
    rows = [(each.spec.label, each.spec.run_id, each.reuse.value, each.reason) for each in states]
    print(tabulate(rows, headers=("cell", "run", "state", "why not reused"), tablefmt="simple"))
    for skipped in plan.skipped:
        cell = " ".join(f"{axis}={value}" for axis, value in skipped.cell.items())
        print(f"skipped  {cell}: {skipped.reason}")
    for line in (*_counts(ready, states), *_costs(ready)):
        print(line)
    for obstacle in obstacles:
        print(f"this machine cannot run it: {obstacle}")


def _obstacles(ready: Preparation) -> Iterator[HostError]:
    yield from ready.profile_problems()
    yield from ready.choice.runtime.problems(ready.plan.runs[0])
    yield from ready.evidence_problems()
    yield from ready.model_problems()


def _counts(ready: Preparation, states: list[Owed]) -> Iterator[str]:
    plan = ready.plan
    finished, to_run = (_num(states, reuse) for reuse in (Reuse.FINISHED, Reuse.OWED))
    yield (
        f"{plan.num_declared} declared = {len(plan.runs)} planned + {len(plan.skipped)} skipped; "
        f"{len(plan.runs)} planned = {finished} finished + {to_run} to run"
    )


def _costs(ready: Preparation) -> Iterator[str]:
    plan = ready.plan
    if plan.estimate is None:
        yield "cost: no estimate in the scenario"
    else:
        known = plan.estimate.model_dump(exclude={"source"}, exclude_none=True)
        figures = ", ".join(f"{name} {value:g}" for name, value in known.items())
        yield f"cost of the whole profile: {figures} (source: {plan.estimate.source})"
    for each in statuses(ready.evidence_files, ready.evidence_dir):
        yield f"evidence {each.file}: {each.state.value}"


def _num(states: list[Owed], reuse: Reuse) -> int:
    return sum(each.reuse is reuse for each in states)


def _document(ready: Preparation, states: list[Owed], obstacles: list[str]) -> dict[str, object]:
    plan = ready.plan
    return {
        "scenario": plan.scenario,
        "profile": plan.profile.value,
        "where": ready.where,
        "runs": [
            {
                "run_id": each.spec.run_id,
                "point_id": each.spec.point_id,
                "cell": each.spec.cell,
                "params": to_json(each.spec.params),
                "seed": each.spec.seed,
                "replicate": each.spec.replicate,
                "state": each.reuse.value,
                "reason": each.reason,
            }
            for each in states
        ],
        "skipped": [to_json(each) for each in plan.skipped],
        "estimate": plan.estimate.model_dump() if plan.estimate else None,
        "obstacles": obstacles,
    }
