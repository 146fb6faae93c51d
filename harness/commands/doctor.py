"""``harness doctor``: what this machine can run, and the next command to type."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from harness.cluster.connection import RayCluster
from harness.cluster.survey import NodeRow, node_rows
from harness.errors import ExitCode, HostError, InputError, Problem
from harness.execution.services import ServiceAnswer, ask_services
from harness.plan.expand import params_of, sandbox_of
from harness.plan.overrides import Overrides
from harness.probes.machine_state import REMEDIES, MachineState, state_of
from harness.records import (
    PROBE_UNITS,
    HostProbe,
    Limits,
    ProbeMoment,
    Profile,
    RunSpec,
    record,
)
from harness.results.store import RunStore
from harness.runtime.base import Launch
from harness.runtime.daemon import EngineState
from harness.runtime.doctor import (
    Demand,
    HostFinding,
    ImageFact,
    State,
    diagnose,
    probe_tools,
)
from harness.runtime.evidence import EvidenceState, evidence_folder, statuses
from harness.runtime.host import Host, default_profile, probe_host, profile_problem
from harness.runtime.host_probe import probe, seconds_for
from harness.runtime.images import built
from harness.runtime.local import LocalRuntime
from harness.scenario.folders import survey
from harness.scenario.images import SANDBOX_IMAGE, locked_image, read_lock, this_platform
from harness.scenario.load import Loaded, load
from harness.scenario.services import NeededService
from harness.session.console import Colour, paint
from harness.session.options import DoctorOptions
from harness.session.output import print_answer
from harness.session.project import Project, cache_folder, compiled_folder, open_project
from harness.workloads.api.registry import workload
from harness.workloads.models.presets import Use, holdings

_COLOURS = {State.OK: Colour.GREEN, State.LIMITED: Colour.YELLOW, State.MISSING: Colour.RED}


@record
class Probed:
    """What ``harness doctor --probe`` found.

    Attributes:
        next: the remedy, where the machine is not itself.
    """

    probe: HostProbe
    state: MachineState
    next: str


@record
class DoctorAnswer:
    """The answer of ``harness doctor --json``.

    Attributes:
        nodes: with ``--address``, instead of findings.
        probed: with ``--probe``, likewise.
    """

    findings: tuple[HostFinding, ...] = ()
    nodes: tuple[NodeRow, ...] = ()
    probed: Probed | None = None


def main(options: DoctorOptions) -> ExitCode:
    """Print the state of the machine; a missing part is a finding, not a failure.

    Probed, a machine that is not itself is one: whoever times something on it asks before.
    """
    if options.address is not None:
        return _of_cluster(options)
    project, host = open_project(options), probe_host()
    if options.probe:
        return _probed(options, project, host)
    # the scenarios that can be read, and what is wrong with others
    folders, problems = survey(project.scenarios)
    faults = [_fault("scenarios", [problem]) for problem in problems]
    scenarios = []
    for folder in folders:
        try:
            scenarios.append(load(folder))
        except InputError as error:
            faults.append(_fault(f"scenario {folder.name.partition('-')[0]}", error.problems))
    answers = {
        (loaded.scenario.scenario, profile): ask_services(loaded, profile)
        for loaded in scenarios
        for profile in loaded.scenario.profiles
        if profile_problem(profile, host) is None
    }
    findings = diagnose(
        host,
        probe_tools(
            project.root,
            compiled_folder(),
            locked_image(project.containers, SANDBOX_IMAGE),
        ),
        images=tuple(_images(project.containers, host)),
        demands=tuple(each for loaded in scenarios for each in _demands(loaded, answers)),
        models_that_fit=_models_that_fit,
    )
    findings += (*_services(answers), *faults)
    if options.json:
        print_answer(options, DoctorAnswer(findings=tuple(findings)))
    else:
        print(render(findings))
    for fact, why in host.absent.items():
        options.console.explain(f"unknown about this machine: {fact}: {why}")
    return ExitCode.OK


def _probed(options: DoctorOptions, project: Project, host: Host) -> ExitCode:
    """Print what the machine can do now, and whether it is itself."""
    spec = RunSpec(
        scenario="doctor",
        profile=default_profile(host),
        workload="noop",
        params={},
        limits=Limits(gpus=min(1, len(host.gpus))),
    )
    options.console.say(f"probing for {seconds_for(spec):g} s; let nothing else be at work")
    with tempfile.TemporaryDirectory() as folder, LocalRuntime() as runtime:
        found = probe(runtime, Launch(spec=spec, run_dir=Path(folder)), ProbeMoment.ALONE)
    state = state_of(found, RunStore(project.store).host_probes())
    remedy = REMEDIES[state.signature] if state.signature is not None else ""
    code = ExitCode.INFRASTRUCTURE if state.is_degraded else ExitCode.OK
    if options.json:
        probed = Probed(probe=found, state=state, next=remedy)
        print_answer(options, DoctorAnswer(probed=probed), code)
    else:
        print(state.sentence + (f"\n  next: {remedy}" if remedy else ""))
    for name in PROBE_UNITS:
        value = getattr(found, name)
        if value is not None:
            options.console.explain(f"{name}: {value:.4g}")
    for name, why in found.absent.items():
        options.console.explain(f"{name}: {why}")
    return code


def _of_cluster(options: DoctorOptions) -> ExitCode:
    """Print the nodes of a cluster as a table, and what keeps each from runs."""
    assert options.address is not None
    rows = node_rows(RayCluster(options.address))
    if options.json:
        print_answer(options, DoctorAnswer(nodes=tuple(rows)))
        return ExitCode.OK
    headers = ("node", "address", "CPU", "GPU", "memory", "device", "driver", "disk", "link here")
    print(tabulate([_cells(row) for row in rows], headers=headers, tablefmt="simple"))
    for row in rows:
        if row.problem:
            print(f"{row.name}: {row.problem}\n  next: {row.remedy}")
    return ExitCode.OK


def _cells(row: NodeRow) -> tuple[str, ...]:
    return (
        *(row.name, row.address, f"{row.cpus:g}", f"{row.gpus:g}"),
        f"{row.memory_gib:.4g} GiB",
        *(row.gpu or "-", row.driver or "-"),
        "-" if row.disk_free_gib is None else f"{row.disk_free_gib:.0f} GiB free",
        "-" if row.link_gbit_s is None else f"{row.link_gbit_s:.3g} Gb/s",
    )


def render(findings: Sequence[HostFinding]) -> str:
    """Return findings as lines for a terminal, each remedy on a line of its own."""
    width = max((len(each.what) for each in findings), default=0)
    lines = []
    for each in findings:
        state = paint(f"{each.state:7}", _COLOURS[each.state], sys.stdout)
        lines.append(f"{state}  {each.what:{width}}  {each.detail}".rstrip())
        if each.remedy:
            lines.append(f"{'':7}  {'':{width}}  next: {each.remedy}")
    return "\n".join(lines)


def _images(containers: Path, host: Host) -> Iterator[ImageFact]:
    for name, image in read_lock(containers).items():
        locked = this_platform() in image.built
        present = None
        if locked and host.docker.state is EngineState.REACHABLE:
            try:
                built(containers, name)
                present = True
            except HostError:
                present = False
        resolved = image.base is None or image.base_digest is not None
        yield ImageFact(name=name, locked=locked, resolved=resolved, present=present)


def _fault(what: str, problems: Sequence[Problem]) -> HostFinding:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return HostFinding(
        what=what, state=State.MISSING, detail=f"{problems[0]}{more}", remedy="harness validate"
    )


_Answers = Mapping[tuple[str, Profile], tuple[ServiceAnswer, ...]]


def _services(answers: _Answers) -> Iterator[HostFinding]:
    """Yield each model server that a profile of this machine asks, and what it says."""
    users: dict[NeededService, list[str]] = {}
    said: dict[NeededService, ServiceAnswer] = {}
    for (scenario, profile), each in answers.items():
        for answer in each:
            said[answer.service] = answer
            users.setdefault(answer.service, []).append(f"{scenario.partition('-')[0]} {profile}")
    for service, answer in said.items():
        asked = f"{service.model} at {service.address}, for {', '.join(users[service])}"
        yield HostFinding(
            what=f"service {service.role}",
            state=State.LIMITED if answer.problem else State.OK,
            detail=f"{asked}: {answer.problem or f'answers in {answer.took_s:.1f} s'}",
            remedy=answer.remedy,
        )


def _demands(loaded: Loaded, answers: _Answers) -> Iterator[Demand]:
    scenario = loaded.scenario
    for profile, model in scenario.profiles.items():
        declared = workload(scenario.workload_of(profile))
        params = {
            name: each.value for name, each in params_of(loaded, profile, Overrides()).items()
        }
        read = [each for each in scenario.evidence if each.file in model.uses]
        try:
            found = statuses(read, evidence_folder(cache_folder(), read))
            lacks_files = any(each.state is not EvidenceState.HERE for each in found)
        except HostError:  # no folder of that name: `fetch` and `run` say so
            lacks_files = True
        yield Demand(
            scenario=scenario.scenario,
            profile=profile,
            packages=declared.requires,
            image=model.image,
            lacks_files=lacks_files,
            limits=Limits(**model.limits.model_dump()),
            sandbox=sandbox_of(declared, params, None),
            unserved=tuple(
                each.service.role
                for each in answers.get((scenario.scenario, profile), ())
                if each.problem
            ),
        )


def _models_that_fit(available_gib: float) -> Mapping[str, Sequence[str]]:
    fitting: dict[str, list[str]] = {use.value: [] for use in Use}
    for each in holdings(available_gib):
        if each.fit.fits:
            fitting[each.use.value].append(each.model)
    return fitting
