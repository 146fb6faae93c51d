"""``harness show``: one scenario, and where each value comes from."""

from __future__ import annotations

import argparse
import json

from tabulate import tabulate

from harness.commands.project import open_project
from harness.commands.selection import open_scenario, overrides_of, profile_named
from harness.errors import ExitCode
from harness.plan.expand import Sourced, expand, free_axes, params_of
from harness.records import Profile
from harness.runtime.host import probe_host
from harness.scenario.load import Loaded
from harness.scenario.schema import Sweep
from harness.workloads.declare import fields_of
from harness.workloads.registry import workload


def main(options: argparse.Namespace) -> ExitCode:
    """Print the question, the profile's params with their origins, the sweep and the metrics."""
    loaded = open_scenario(open_project(options), options)
    profile = profile_named(options.profile, loaded.scenario, probe_host())
    overrides = overrides_of(options)
    expand(loaded, profile, overrides)  # refuses what cannot be planned
    params = params_of(loaded, profile, overrides)
    if options.json:
        print(json.dumps(_document(loaded, profile, params), indent=1))
    else:
        sweep = free_axes(loaded.scenario.sweep_of(profile), overrides)
        _print(loaded, profile, params, sweep)
    return ExitCode.OK


def _print(loaded: Loaded, profile: Profile, params: dict[str, Sourced], sweep: Sweep) -> None:
    scenario, model = loaded.scenario, loaded.scenario.profiles[profile]
    declared = workload(scenario.workload_of(profile))
    print(f"{scenario.scenario}: {scenario.title}")
    print(f"article {scenario.article.number}, {scenario.article.title}")
    print(f"question: {scenario.question}")
    print(f"\nprofile {profile}: {model.summary}")
    print(f"workload {declared.name}: {declared.doc}\n")
    axes = {**sweep.zip, **sweep.product}
    rows = [
        (name, each.value, facts["unit"], facts["doc"], each.origin)
        for name, each in params.items()
        if name not in axes
        for facts in [fields_of(declared.params)[name][1].metadata]
    ]
    print(tabulate(rows, headers=("param", "value", "unit", "meaning", "from"), tablefmt="simple"))
    for axis, values in axes.items():
        print(f"sweep {axis}: {', '.join(str(value) for value in values)}")
    print()
    metrics = [(each.name, each.unit, each.doc) for each in declared.metrics]
    print(tabulate(metrics, headers=("metric", "unit", "meaning"), tablefmt="simple"))
    others = [each.value for each in scenario.profiles if each is not profile]
    print(f"\nother profiles: {', '.join(others) or 'none'}")


def _document(loaded: Loaded, profile: Profile, params: dict[str, Sourced]) -> dict[str, object]:
    return {
        "scenario": loaded.scenario.model_dump(mode="json"),
        "profile": profile.value,
        "params": {
            name: {"value": each.value, "from": each.origin} for name, each in params.items()
        },
    }
