"""Execute the runs of a plan that are not finished: lock, ledger, probes, progress, trials."""

from __future__ import annotations

import os
from collections.abc import Callable

from harness.execution.environment import EnvironmentRecorder
from harness.execution.jobs import crew_for, room
from harness.execution.prepare import Preparation
from harness.execution.progress import Narrator, described
from harness.execution.run import Surroundings, refuse, run_plan
from harness.follow.notify import Notifier
from harness.plan.expand import Plan
from harness.records import Profile
from harness.results.selection import pending
from harness.results.trials import write_trials
from harness.runtime.host_probe import WORTH, HostProber, seconds_for
from harness.session.options import RunOptions
from harness.units import counted
from harness.variables import PROBE_VARIABLE
from harness.workloads.api.registry import workload

_S_PER_HOUR = 3600.0


def run_owed(
    ready: Preparation,
    options: RunOptions,
    told: Notifier | None = None,
    planned: Callable[[], Plan] | None = None,
) -> None:
    """Execute the runs of a plan that are not finished.

    Args:
        ready: the scenario, its plan, the store and the runtime.
        options: how many runs go side by side, and what happens to runs that were interrupted.
        told: gets a notice of each run that fails or stalls.
        planned: called under the store's lock for a plan to execute in place of that of `ready`.

    Raises:
        HostError: this machine cannot execute it.
    """
    refuse(ready.problems())
    console, store = ready.options.console, ready.store
    # locked before an image is built, so that a second harness stops before it changes anything
    with store.locked(ready.loaded.scenario.scenario, ready.profile):
        plan = ready.plan if planned is None else planned()
        owed = [spec for spec in plan.runs if not store.has(spec)]
        nodes = None
        if ready.cluster is not None and owed:  # a node that cannot is named before anything starts
            refuse(ready.cluster.problems(owed[0]))
            nodes = len(ready.cluster.fitting(owed[0]))
        side_by_side = room(options.most_jobs, owed, ready.machine)
        if owed and (side_by_side.jobs > 1 or (options.most_jobs or 1) > 1):
            where = "" if nodes is None else " on each node"
            at_once = f"{counted(side_by_side.jobs, 'run')} at a time{where}"
            console.say(f"{at_once}: {side_by_side.reason}")
        why = skipped(plan, len(owed), side_by_side.jobs)
        if ready.cluster is not None:
            ready.cluster.per_node = side_by_side.jobs
            ready.cluster.probes = not why
        if owed:
            console.explain(f"the machine is {f'not probed: {why}' if why else 'probed'}")
        around = Surroundings(
            runtime=ready.choice.runtime,
            store=store,
            evidence_dir=ready.evidence_dir if ready.evidence_files else None,
            models_dir=ready.models_dir if ready.models else None,
            environment=EnvironmentRecorder(ready),
            crew=crew_for(side_by_side, nodes, plan.runs),
            across_changes=options.continue_across_changes,
            restart=options.restart,
            prober=HostProber(why, console.say),
        )
        for each in pending(store, plan.runs):
            if each.reason:
                console.explain(f"{described(each.spec)} runs again: {each.reason}")
        store.keep_ledger(ready.ledger)
        what = f"{plan.scenario} {ready.profile}, {ready.where}"
        with Narrator(what, len(plan.runs), console, store, told) as narrator:
            run_plan(plan, around, narrator)
        # add the runs to the scenario's record of trials, where it has one for this profile
        scenario = ready.loaded.scenario
        score, program = scenario.report.lineage, workload(scenario.workload_of(ready.profile))
        is_scored = any(metric.name == score for metric in program.metrics)
        if score is not None and is_scored and not plan.changed:
            write_trials(plan, ready.store, score)


def skipped(plan: Plan, owed: int, jobs: int) -> str:
    """Return why the machine is not probed around the runs of a plan; empty where it is.

    Args:
        plan: the plan.
        owed: how many of its runs are not finished.
        jobs: how many go side by side.
    """
    if os.environ.get(PROBE_VARIABLE) == "off":
        return f"{PROBE_VARIABLE} is off"
    if plan.profile is Profile.EVIDENCE:
        return "published data is recomputed: nothing is timed"
    if jobs > 1:
        return "several runs go side by side"
    if plan.estimate is None:
        return "the profile declares no estimate of its time"
    expected_s = plan.estimate.hours * _S_PER_HOUR * owed / max(1, plan.num_declared)
    least_s = WORTH * max((seconds_for(spec) for spec in plan.runs), default=0.0)
    if expected_s < least_s:
        return f"the runs are expected to take {expected_s:.0f} s, and {least_s:.0f} s are needed"
    return ""
