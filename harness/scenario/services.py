"""Model servers that runs ask and do not start: which a profile needs, and whether it says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from harness.errors import Problem, nearest
from harness.records import Profile, record
from harness.scenario.cells import MAX_RUNS, cells_of, num_cells
from harness.scenario.positions import Document, Key
from harness.scenario.schema import ProfileModel, Scenario
from harness.workloads.api.declare import Workload, build, defaults_of, problems_of


@record
class NeededService:
    """A model server that a run asks.

    Attributes:
        role: what the run wants of it, e.g. ``proposer``.
        model: its name there.
        address: up to and with ``/v1``.
        address_param: the param that says so.
        model_param: the param that names the model.
        memory_gib: what it takes of its machine; None where the scenario does not declare it.
        start: the command that starts it; empty where the scenario does not declare it.
    """

    role: str
    model: str
    address: str
    address_param: str
    model_param: str
    memory_gib: float | None = None
    start: str = ""


def needed_services(
    model: ProfileModel, declared: Workload, params: Mapping[str, Any]
) -> Iterator[NeededService]:
    """Yield the servers that a run with these params asks.

    Args:
        model: the profile; a server at another address than it declares has no start command.
        declared: the workload of the run.
        params: all of them, without problems.
    """
    for asked in declared.services:
        if not asked.is_asked(build(declared.params, params)):
            continue
        needed = NeededService(
            role=asked.role,
            model=str(params[asked.model]),
            address=str(params[asked.address]),
            address_param=asked.address,
            model_param=asked.model,
        )
        known = model.services.get(asked.role)
        if known is not None and (known.address, known.model) == (needed.address, needed.model):
            needed = replace(needed, memory_gib=known.memory_gib, start=known.start)
        yield needed


def service_problems(
    scenario: Scenario, document: Document, profile: Profile, declared: Workload
) -> Iterator[Problem]:
    """Yield what is wrong with the services of a profile whose shape is right."""
    model, key = scenario.profiles[profile], ("profiles", profile.value)
    may_ask = {asked.role: asked for asked in declared.services}
    asked_roles = {*_asked(scenario, profile, declared)}
    for role, service in model.services.items():
        at: Key = (*key, "services", role)
        if role not in may_ask:
            yield document.problem(
                at,
                f"{declared.name} asks no such service",
                value=repr(role),
                allowed=", ".join(may_ask) or "none",
                nearest=nearest(role, may_ask),
            )
            continue
        if role not in asked_roles:
            yield document.problem(at, "no run of this profile asks it", value=repr(service.model))
        layers: list[tuple[Key, Mapping[str, Any]]] = [((*key, "params"), model.params)]
        if model.workload is None:
            layers.append((("params",), scenario.params))
        for where, given in layers:
            for name in (may_ask[role].address, may_ask[role].model):
                if name in given:
                    message = f"is said twice: profiles.{profile}.services.{role} gives it"
                    yield document.problem((*where, name), message, value=repr(given[name]))
    for role in sorted(asked_roles - {*model.services}):
        yield document.problem(
            key,
            f"its runs ask a service that it does not declare: {role}",
            allowed=f"services.{role} with model, address, memory_gib, start and source",
        )
    if model.services and model.image is not None and not model.limits.network:
        yield document.problem(
            (*key, "limits"),
            "a container without a network reaches no service",
            allowed="limits.network: true",
        )


def _asked(scenario: Scenario, profile: Profile, declared: Workload) -> Iterator[str]:
    """Yield the roles that the cells of a profile ask; none where its params are wrong."""
    model, sweep = scenario.profiles[profile], scenario.sweep_of(profile)
    is_uneven = len({len(values) for values in sweep.zip.values()}) > 1
    if not declared.services or is_uneven or num_cells(sweep) > MAX_RUNS:
        return
    params = {
        **defaults_of(declared.params),
        **(scenario.params if model.workload is None else {}),
        **model.params,
    }
    for asked in declared.services:
        if service := model.services.get(asked.role):
            params |= {asked.address: service.address, asked.model: service.model}
    for cell in cells_of(sweep):
        if any(problems_of(declared.params, {**params, **cell})):
            continue
        built = build(declared.params, {**params, **cell})
        yield from (asked.role for asked in declared.services if asked.is_asked(built))
