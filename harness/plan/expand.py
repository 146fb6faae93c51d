"""From a scenario and a profile to a plan: every cell decided, none lost.

Conservation: declared cells = planned + skipped, each skipped one with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from harness.errors import InputError, Problem, nearest, unknown
from harness.plan.order import blocks
from harness.plan.overrides import Overrides
from harness.plan.source import source_digest
from harness.records import (
    ImageRef,
    Limits,
    Profile,
    RunSpec,
    SandboxKind,
    SandboxSpec,
    record,
)
from harness.scenario.cells import MAX_RUNS, cells_of, matches
from harness.scenario.checks import placed
from harness.scenario.load import Loaded
from harness.scenario.positions import Key
from harness.scenario.schema import Estimate, ProfileModel, Sweep
from harness.workloads.api.declare import Workload, build, defaults_of, problems_of
from harness.workloads.api.registry import workload

_ROOM = 10  # times its estimate: what a machine may be slower before a run is given up
_S_PER_HOUR = 3600.0
_EXCLUDED = "excluded by the scenario"


@record
class Sourced:
    """A parameter's value, and where it came from."""

    value: Any
    origin: str


@record
class Skipped:
    """A declared run that is not planned.

    Attributes:
        owed: whether only the command line leaves it out, so that the declared experiment is
            incomplete without it.
    """

    cell: Mapping[str, Any]
    reason: str
    owed: bool = False


@record
class Plan:
    """What will be done, decided completely.

    Attributes:
        runs: cell by cell as the sweep declares them, each with its replicates; `in_order` is the
            order in which they will be executed.
        skipped: declared runs left out.
        estimate: what the scenario says the whole profile costs; None where it does not say.
        changed: whether the command line changed the declared experiment.
    """

    scenario: str
    profile: Profile
    runs: tuple[RunSpec, ...]
    skipped: tuple[Skipped, ...]
    estimate: Estimate | None
    changed: bool

    @property
    def in_order(self) -> list[RunSpec]:
        """The runs in the order of their positions."""
        return sorted(self.runs, key=lambda spec: spec.position or 0)

    @property
    def num_declared(self) -> int:
        """How many runs the scenario declares for this profile."""
        return len(self.runs) + len(self.skipped)

    @property
    def num_required(self) -> int:
        """How many of them the declared experiment consists of: all but those it excludes."""
        return len(self.runs) + sum(each.owed for each in self.skipped)


def params_of(loaded: Loaded, profile: Profile, overrides: Overrides) -> dict[str, Sourced]:
    """Return every parameter outside the sweep with its origin, the later source winning.

    Workload default, service, scenario, profile, params file, `--set`; a scenario that says a
    service's address or model twice is refused when it is loaded.
    """
    scenario, places = loaded.scenario, loaded.document.places
    name = scenario.workload_of(profile)
    sourced = {
        key: Sourced(value=value, origin=f"default of {name}")
        for key, value in defaults_of(workload(name).params).items()
    }
    own: Key = ("profiles", profile.value, "params")
    layers = [(own, scenario.profiles[profile].params)]
    if name == scenario.workload:
        layers.insert(0, (("params",), scenario.params))
    for asked in workload(name).services:
        if service := scenario.profiles[profile].services.get(asked.role):
            place = places["profiles", profile.value, "services", asked.role]
            for key, value in ((asked.address, service.address), (asked.model, service.model)):
                origin = f"{loaded.document.path}:{place[0]}"
                sourced[key] = Sourced(value=value, origin=origin)
    for at, params in layers:
        for key, value in params.items():
            origin = f"{loaded.document.path}:{places[(*at, key)][0]}"
            sourced[key] = Sourced(value=value, origin=origin)
    for key, value in overrides.params.items():
        sourced[key] = Sourced(value=value, origin=overrides.origins[key])
    return sourced


def expand(
    loaded: Loaded,
    profile: Profile,
    overrides: Overrides,
    image: ImageRef | None = None,
    sandbox_image: ImageRef | None = None,
) -> Plan:
    """Return the plan of one profile.

    Args:
        loaded: the scenario and its file.
        profile: one the scenario has.
        overrides: what the command line changes.
        image: the container image the runs will use; None where they run on the host.
        sandbox_image: the image of sandboxes that are containers; None where none is locked.

    Raises:
        InputError: no such profile, unknown or impossible params, a filter that names no axis or
            value, or nothing left to run.
    """
    require_profile(loaded, profile)
    scenario, model = loaded.scenario, loaded.scenario.profiles[profile]
    declared = workload(scenario.workload_of(profile))
    sweep = free_axes(scenario.sweep_of(profile), overrides)
    if problems := [*_override_problems(declared, sweep, overrides)]:
        raise InputError(problems)
    params = {name: each.value for name, each in params_of(loaded, profile, overrides).items()}
    cells, skipped = [], []
    for cell in cells_of(sweep):
        reason = _reason_to_skip(cell, sweep, overrides)
        if reason:
            skipped.append(Skipped(cell=cell, reason=reason, owed=reason != _EXCLUDED))
        else:
            cells.append(cell)
    if not cells:
        raise InputError([Problem(message="the selection leaves no cell to run")])
    seed = _first(overrides.seed, model.seed, scenario.seed)
    declared_replicates = _first(model.replicates, scenario.replicates)
    replicates = _first(overrides.replicates, declared_replicates)
    if len(cells) * replicates > MAX_RUNS:
        facts = {"value": f"{len(cells)} cells x {replicates}", "allowed": str(MAX_RUNS)}
        key = ("profiles", profile.value)
        raise InputError([loaded.document.problem(key, "too many runs", **facts)])
    known = {each.file: each.sha256 for each in scenario.evidence}
    limits = _limits(model, overrides)
    runs = tuple(
        RunSpec(
            scenario=scenario.scenario,
            profile=profile,
            workload=declared.name,
            params={**params, **cell},
            axes=tuple(cell),
            seed=seed + replicate,
            replicate=replicate,
            image=image,
            source=source_digest(declared),
            evidence={name: known[name] for name in model.uses},
            limits=limits,
        )
        for cell in cells
        for replicate in range(replicates)
    )
    if problems := [*_cell_problems(loaded, declared, runs)]:
        raise InputError(problems)
    turns = _turns(len(cells), replicates, seed, profile)
    runs = tuple(
        replace(
            spec, sandbox=sandbox_of(declared, spec.params, sandbox_image), position=turns[number]
        )
        for number, spec in enumerate(runs)
    )
    return Plan(
        scenario=scenario.scenario,
        profile=profile,
        runs=runs,
        skipped=(
            *(each for each in skipped for _ in range(max(replicates, declared_replicates))),
            *(
                Skipped(cell=cell, reason=f"beyond --replicates {replicates}", owed=True)
                for cell in cells
                for _ in range(replicates, declared_replicates)
            ),
        ),
        estimate=model.estimate,
        changed=overrides.partial,
    )


def _turns(num_cells: int, replicates: int, seed: int, profile: Profile) -> list[int]:
    """Return the position, from 1, of each replicate of each cell; published data has no drift."""
    if profile is Profile.EVIDENCE:
        return [*range(1, num_cells * replicates + 1)]
    turns = [0] * (num_cells * replicates)
    in_blocks = enumerate(blocks(range(num_cells), replicates, seed))
    numbers = (cell * replicates + block for block, cells in in_blocks for cell in cells)
    for position, number in enumerate(numbers, 1):
        turns[number] = position
    return turns


def _limits(model: ProfileModel, overrides: Overrides) -> Limits:
    """Return the limits of a profile's runs; where it sets no time-out, a long one has room."""
    limits = Limits(**model.limits.model_dump())
    if overrides.timeout_s is not None:
        return replace(limits, timeout_s=overrides.timeout_s)
    if model.estimate is None or "timeout_s" in model.limits.model_fields_set:
        return limits
    room_s = _ROOM * model.estimate.hours * _S_PER_HOUR
    return replace(limits, timeout_s=max(limits.timeout_s, room_s))


def sandbox_of(
    declared: Workload, params: Mapping[str, Any], image: ImageRef | None
) -> SandboxSpec | None:
    """Return where a workload with these params executes commands of a model; None if nowhere.

    Args:
        declared: the workload.
        params: all of them, without problems.
        image: the one that is locked for sandboxes.
    """
    if declared.sandbox is None:
        return None
    spec = declared.sandbox(build(declared.params, params))
    uses_image = spec.kind in {SandboxKind.AUTO, SandboxKind.CONTAINERS}
    return replace(spec, image=image if uses_image else None)


def require_profile(loaded: Loaded, profile: Profile) -> None:
    """Refuse a profile the scenario does not have.

    Raises:
        InputError: names the profiles it has.
    """
    if profile not in loaded.scenario.profiles:
        known = [each.value for each in loaded.scenario.profiles]
        raise InputError([unknown("profile", profile.value, known, path=loaded.document.path)])


def _reason_to_skip(cell: Mapping[str, Any], sweep: Sweep, overrides: Overrides) -> str:
    if any(matches(cell, rule) for rule in sweep.exclude):
        return _EXCLUDED
    for axis, kept in overrides.only.items():
        if cell[axis] not in kept:
            return f"not selected by --only {axis}"
    return ""


def free_axes(sweep: Sweep, overrides: Overrides) -> Sweep:
    """Return the sweep without the axes whose value the command line fixes."""
    fixed = set(overrides.params)

    def free(axes: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        return {axis: values for axis, values in axes.items() if axis not in fixed}

    exclude = [rule for rule in sweep.exclude if not set(rule) & fixed]
    return Sweep(product=free(sweep.product), zip=free(sweep.zip), exclude=exclude)


def _override_problems(declared: Workload, sweep: Sweep, overrides: Overrides) -> Iterator[Problem]:
    for problem in problems_of(declared.params, overrides.params):
        if problem.message == "parameter is required":
            continue
        if overrides.file is not None and overrides.origins.get(problem.key) != "--set":
            yield placed(overrides.file, (problem.key,), problem)
        else:
            yield problem
    axes = {**sweep.zip, **sweep.product}
    for axis, values in overrides.only.items():
        if axis not in axes:
            yield unknown("axis in --only", axis, axes)
            continue
        for value in values:
            if value not in axes[axis]:
                # a number is misspelt like no other
                texts = [each for each in axes[axis] if isinstance(each, str)]
                yield Problem(
                    message="--only names a value the axis does not take; repeat it for several",
                    key=axis,
                    value=repr(value),
                    allowed=", ".join(str(each) for each in axes[axis]),
                    nearest=nearest(value, texts) if isinstance(value, str) else "",
                )


def _cell_problems(
    loaded: Loaded, declared: Workload, runs: tuple[RunSpec, ...]
) -> Iterator[Problem]:
    seen: set[str] = set()
    for spec in runs:
        for problem in problems_of(declared.params, spec.params):
            line = str(problem)
            if line not in seen:  # every cell has the same mistake
                seen.add(line)
                key = ("profiles", spec.profile.value, "params", problem.key)
                yield placed(loaded.document, key, problem)


def _first(*candidates: int | None) -> int:
    return next(each for each in candidates if each is not None)
