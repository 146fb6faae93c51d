"""``harness doctor``: what this machine can run, and the next command to type."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.commands.project import open_project
from harness.errors import ExitCode, HostError
from harness.plan.presets import holdings
from harness.records import Limits, to_json
from harness.runtime.daemon import EngineState
from harness.runtime.doctor import Demand, ImageFact, diagnose, probe_tools, render
from harness.runtime.host import Host, probe_host
from harness.runtime.images import built
from harness.scenario.folders import folders
from harness.scenario.images import read_lock, this_platform
from harness.scenario.load import load
from harness.workloads.registry import workload


def main(options: argparse.Namespace) -> ExitCode:
    """Print how the machine stands; a part that is missing is a finding, not a failure."""
    project, host = open_project(options), probe_host()
    findings = diagnose(
        host,
        probe_tools(project.root),
        images=tuple(_images(project.containers, host)),
        demands=tuple(_demands(project.scenarios)),
        models_that_fit=_models_that_fit,
    )
    print(json.dumps(to_json(findings), indent=1) if options.json else render(findings))
    return ExitCode.OK


def _images(containers: Path, host: Host) -> Iterator[ImageFact]:
    for name, image in read_lock(containers).items():
        locked = this_platform() in image.built
        present = None
        if locked and host.docker.state is EngineState.REACHABLE:
            present = _is_present(containers, name)
        yield ImageFact(name=name, locked=locked, present=present)


def _is_present(containers: Path, name: str) -> bool:
    try:
        built(containers, name)
    except HostError:
        return False
    return True


def _demands(scenarios: Path) -> Iterator[Demand]:
    for folder in folders(scenarios):
        scenario = load(folder).scenario
        for profile, model in scenario.profiles.items():
            yield Demand(
                scenario=scenario.scenario,
                profile=profile,
                packages=workload(scenario.workload_of(profile)).requires,
                image=model.image,
                limits=Limits(**model.limits.model_dump()),
            )


def _models_that_fit(available_gib: float) -> Sequence[str]:
    fitting = [each for each in holdings(available_gib) if each.fit.fits]
    return [f"{each.model} ({each.use})" for each in fitting]
