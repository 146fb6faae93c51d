"""Common part of `plan` and `run`: decide and check everything, start nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.cluster.connection import RayCluster
from harness.cluster.runtime import ClusterRuntime
from harness.errors import HostError
from harness.execution.run import refuse
from harness.execution.services import ServiceAnswer, ask_services
from harness.plan.expand import Plan, expand
from harness.plan.overrides import Overrides
from harness.records import ImageRef, Limits, Profile
from harness.results.store import RunStore
from harness.runtime.choice import Choice, choose, made
from harness.runtime.environ import given_folder
from harness.runtime.evidence import (
    EvidenceState,
    EvidenceStatus,
    evidence_folder,
    statuses,
)
from harness.runtime.host import Host, probe_host, profile_problem
from harness.runtime.memory import steps_problem
from harness.runtime.models import model_problems, models_folder
from harness.runtime.watch import host_problems
from harness.scenario.expectations import Expectations, fingerprints
from harness.scenario.images import SANDBOX_IMAGE, locked_image
from harness.scenario.load import Loaded, load
from harness.scenario.schema import EvidenceFile
from harness.session.options import PlanOptions
from harness.session.project import Project, cache_folder
from harness.session.selection import open_ledger, overrides_of, profile_to_run
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.api.declare import StepMemory, build
from harness.workloads.api.registry import workload


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """One scenario at one profile on this machine, ready to be planned or run.

    Attributes:
        builds: whether an image that is needed and not there is built; else that is only said.
    """

    options: PlanOptions
    builds: bool
    project: Project
    loaded: Loaded
    ledger: Expectations
    profile: Profile
    overrides: Overrides
    host: Host

    @property
    def store(self) -> RunStore:
        """Where the results go."""
        return RunStore(self.project.store)

    @cached_property
    def choice(self) -> Choice:
        """The runtime chosen from the options and the machine."""
        image = self.loaded.scenario.profiles[self.profile].image
        if self.options.runtime == "ray":
            on_each = choose("auto", self.profile, image, self.project.containers)
            cluster = RayCluster(self.options.address)
            runtime = ClusterRuntime(on_each.runtime, cluster, models=self.models)
            return replace(on_each, runtime=runtime)
        obtain = self._obtain if self.builds else None
        return choose(self.options.runtime, self.profile, image, self.project.containers, obtain)

    def _obtain(self, image: str) -> ImageRef:
        """Build an image, unless the machine could not run in it anyway."""
        limits = Limits(**self.loaded.scenario.profiles[self.profile].limits.model_dump())
        refuse(host_problems(limits, self.host))
        return made(self.project.containers, image, self.options.console.say)

    @cached_property
    def plan(self) -> Plan:
        """The plan, with the image that the runtime will use, and the ledger as it stands."""
        plan = expand(
            self.loaded, self.profile, self.overrides, self.choice.image, self._sandbox_image()
        )
        stands = fingerprints(self.ledger)
        return replace(plan, runs=tuple(replace(spec, ledger=stands) for spec in plan.runs))

    def _sandbox_image(self) -> ImageRef | None:
        """Return the image that is locked for sandboxes, where the profile can use one."""
        if workload(self.loaded.scenario.workload_of(self.profile)).sandbox is None:
            return None
        return locked_image(self.project.containers, SANDBOX_IMAGE)

    @property
    def where(self) -> str:
        """The runtime, its image where there is one, and why, in words."""
        image = self.choice.image
        name = f"{self.choice.runtime.name} {image.name}@{image.digest}" if image else "local"
        if self.cluster is not None:
            nodes = self.cluster.fitting(self.plan.runs[0])
            name += f" on {', '.join(each.node.name for each in nodes) or 'no node'}"
        return f"{name} ({self.choice.reason})"

    @property
    def cluster(self) -> ClusterRuntime | None:
        """The cluster that the runs are done on; None for this machine."""
        if self.options.runtime != "ray":  # without a choice, which may build an image
            return None
        runtime = self.choice.runtime
        return runtime if isinstance(runtime, ClusterRuntime) else None

    @property
    def machine(self) -> Host:
        """The machine that runs are at work on: this one, or a node, which are all alike."""
        if self.cluster is None:
            return self.host
        return self.cluster.host(self.plan.runs[0]) or self.host

    @cached_property
    def evidence_dir(self) -> Path:
        """The folder that published files are read from."""
        return evidence_folder(cache_folder(), self.evidence_files)

    @property
    def evidence_files(self) -> list[EvidenceFile]:
        """The published files that the profile reads."""
        used = self.loaded.scenario.profiles[self.profile].uses
        return [each for each in self.loaded.scenario.evidence if each.file in used]

    @property
    def models(self) -> list[str]:
        """The published models that the profile needs."""
        return self.loaded.scenario.profiles[self.profile].models

    @property
    def models_dir(self) -> Path:
        """The folder that published models are read from."""
        return models_folder(cache_folder())

    @cached_property
    def services(self) -> tuple[ServiceAnswer, ...]:
        """What the model servers say that the runs ask; none is asked for nodes of a cluster."""
        if self.cluster is not None:
            return ()
        return ask_services(self.loaded, self.profile, self.overrides)

    @cached_property
    def steps_memory(self) -> tuple[StepMemory, ...]:
        """What each step of the largest run takes; none where the workload does not say."""
        declared = workload(self.loaded.scenario.workload_of(self.profile))
        if declared.memory is None:
            return ()
        runs = expand(self.loaded, self.profile, self.overrides).runs
        each = (declared.memory(build(declared.params, spec.params)) for spec in runs)
        return max(each, key=lambda steps: max((step.total_gib for step in steps), default=0.0))

    def problems(self) -> Iterator[HostError]:
        """Yield what keeps this machine from the profile, its files, models and services."""
        if problem := profile_problem(self.profile, self.machine):
            yield problem
        found = statuses(self.evidence_files, self.evidence_dir)
        wrong = [f"{each.file} ({each.state})" for each in found if not _is_here(each)]
        if wrong:
            message = f"published data is missing from {self.evidence_dir}: {', '.join(wrong)}"
            remedy = f"harness fetch {self.loaded.scenario.scenario}"
            others = [each.path for each in found if each.state is EvidenceState.OTHER]
            if others and self.evidence_dir == given_folder(EVIDENCE_VARIABLE):
                remedy = f"mv {others[0]} elsewhere, then {remedy}"  # nothing replaces the user's
            yield HostError(message, remedy)
        estimate = self.loaded.scenario.profiles[self.profile].estimate
        download_gib = estimate.download_gib if estimate else None
        yield from model_problems(self.models, self.models_dir, download_gib)
        yield from (each.error for each in self.services if each.error is not None)
        if problem := steps_problem(
            self.steps_memory,
            [each.service for each in self.services],
            self.machine,
            served=not any(each.problem for each in self.services),
        ):
            yield problem

    def of_evidence(self) -> Preparation | None:
        """Return the same for the profile that recomputes published data; None without one.

        What the command line changes is about the profile asked for, and left out here.
        """
        if Profile.EVIDENCE not in self.loaded.scenario.profiles:
            return None
        return replace(self, profile=Profile.EVIDENCE, overrides=Overrides())


def _is_here(status: EvidenceStatus) -> bool:
    return status.state is EvidenceState.HERE


def prepare(folder: Path, project: Project, options: PlanOptions, *, builds: bool) -> Preparation:
    """Decide what the options ask for of the scenario in `folder`, on this machine.

    Raises:
        InputError: every mistake in the scenario, or else in its ledger: a sweep is not begun
            whose figures could not be checked.
    """
    loaded = load(folder)
    ledger, host = open_ledger(loaded), probe_host()
    profile = profile_to_run(options.profile, loaded.scenario, host)
    overrides = overrides_of(options)
    expand(loaded, profile, overrides)  # so that a wrong argument changes nothing
    ready = Preparation(
        options=options,
        builds=builds,
        project=project,
        loaded=loaded,
        ledger=ledger,
        profile=profile,
        overrides=overrides,
        host=host,
    )
    _explain(ready)
    return ready


def _explain(ready: Preparation) -> None:
    console, asked = ready.options.console, ready.options.profile
    why = "the largest that this machine can run" if asked == "auto" else "asked for"
    console.explain(f"scenario: {ready.loaded.folder}")
    console.explain(f"profile: {ready.profile} ({why})")
    if ready.evidence_files:
        console.explain(f"published data: {ready.evidence_dir}")
    if ready.models:
        console.explain(f"models: {ready.models_dir}")
