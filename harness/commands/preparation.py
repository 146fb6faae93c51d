"""What `plan` and `run` have in common: everything is decided and looked at, nothing is started."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from harness.commands.project import Project, cache_folder, open_project
from harness.commands.selection import open_scenario, overrides_of, profile_named
from harness.errors import HostError
from harness.plan.expand import Plan, expand
from harness.records import Profile
from harness.results.store import Store
from harness.runtime.base import Runtime
from harness.runtime.choice import choose
from harness.runtime.evidence import EvidenceState, evidence_folder, statuses
from harness.runtime.host import Host, probe_host
from harness.scenario.load import Loaded
from harness.scenario.schema import EvidenceFile


class Preparation:
    """One scenario at one profile on this machine, ready to be planned or run."""

    def __init__(
        self, options: argparse.Namespace, loaded: Loaded, profile: Profile, host: Host
    ) -> None:
        self.options = options
        self.loaded = loaded
        self.profile = profile
        self.host = host
        self.project: Project = open_project(options)
        self.store = Store(self.project.store)
        self.evidence_dir: Path = evidence_folder(cache_folder())

    @cached_property
    def runtime(self) -> Runtime:
        """The runtime that the options and the machine come to."""
        return choose(
            self.options.runtime,
            self.profile,
            self.loaded.scenario.profiles[self.profile].image,
            self.project.containers,
            accept=self.options.accept,
        )

    @cached_property
    def plan(self) -> Plan:
        """The plan, with the image that the runtime will use."""
        image = self.runtime.image
        return expand(self.loaded, self.profile, overrides_of(self.options), image)

    @property
    def where(self) -> str:
        """The runtime, and the image where there is one, in words."""
        image = self.plan.runs[0].image
        return f"{self.runtime.name} {image.name}@{image.digest}" if image else self.runtime.name

    @property
    def evidence_files(self) -> list[EvidenceFile]:
        """The published files that the profile reads."""
        used = self.loaded.scenario.profiles[self.profile].uses
        return [each for each in self.loaded.scenario.evidence if each.file in used]

    def problems(self) -> Iterator[HostError]:
        """Yield everything that keeps this machine from executing the plan."""
        yield from self.runtime.problems(self.plan.runs[0])
        for each in statuses(self.evidence_files, self.evidence_dir):
            if each.state is not EvidenceState.HERE:
                message = f"evidence {each.path}: {each.state.value}"
                yield HostError(message, f"harness fetch {self.loaded.scenario.scenario}")


def prepare(options: argparse.Namespace) -> Preparation:
    """Decide what the options ask for, on this machine."""
    host = probe_host()
    loaded = open_scenario(open_project(options), options)
    return Preparation(options, loaded, profile_named(options.profile, loaded.scenario, host), host)
