"""``harness pin``: record what runs came to on this class of machine, to the last bit."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from harness.check.pins import (
    Change,
    PlatformPins,
    check_pins,
    platform_of,
    read_pins,
    recorded,
    values_of,
    write_pins,
)
from harness.errors import ExitCode, HostError, InputError, Problem
from harness.measure import metrics_by_name
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import FinishedRun, Scalar, record
from harness.results.store import RunStore
from harness.scenario.folders import find_all
from harness.scenario.load import Loaded, load
from harness.session.options import PinOptions
from harness.session.project import open_project
from harness.session.selection import stored_profile
from harness.session.several import Answer, answer_each
from harness.units import counted
from harness.workloads.api.emit import EVENTS_FILE, read_events

FIRST = "first recorded"


@record
class PinAnswer:
    """The answer of ``harness pin --json``: what was recorded, in words."""

    done: str


def main(options: PinOptions) -> ExitCode:
    """Record the pins of each scenario from its stored runs."""
    project = open_project(options)
    store = RunStore(project.store)

    def pin(folder: Path) -> Answer:
        loaded = load(folder)
        runs = _runs(loaded, store, options.profile)
        again = RunStore(options.again) if options.again else None
        text = _pin(loaded, runs, store, again, options.why)
        return Answer(text=f"{text}\n", document=PinAnswer(done=text))

    return answer_each(find_all(project.scenarios, options.scenarios), pin, options)


def _runs(loaded: Loaded, store: RunStore, word: str) -> list[FinishedRun]:
    """Return every run of a profile, finished, from one clean commit and by the code as it is.

    Raises:
        HostError: one is not.
    """
    profile = stored_profile(word, loaded.scenario, store)
    plan = expand(loaded, profile, Overrides())
    run_it = f"harness run {loaded.scenario.scenario} --profile {profile} --store {store.root}"
    absent = [spec for spec in plan.runs if not store.has(spec)]
    if absent:
        message = f"{len(absent)} of {len(plan.runs)} runs are not finished by the code as it is"
        raise HostError(message, run_it)
    runs = [store.load(spec) for spec in plan.runs]
    states = [run.environment.get("code", {}) for run in runs]
    if any(state.get("dirty") is not False for state in states):
        message = "pins are recorded from a clean commit, and a run was made by uncommitted code"
        raise HostError(message, f"commit, remove {store.root}, and {run_it}")
    if any(not platform_of(run) for run in runs):
        message = "a run's record does not say which processor it ran on"
        raise HostError(message, f"remove {store.root}, and {run_it}")
    return runs


def _pin(
    loaded: Loaded, runs: list[FinishedRun], store: RunStore, again: RunStore | None, why: str
) -> str:
    """Write the pins of the platforms of `runs`, and return what was done.

    Raises:
        InputError: what is pinned would change, and no reason is given.
    """
    metrics = metrics_by_name(loaded.scenario)
    pins = {each.platform: each for each in read_pins(loaded.folder)}
    report = check_pins([*pins.values()], runs, store, metrics)
    if report.runs == len(runs) and not report.differences and again is None:
        return str(report)
    if report.differences and not why:
        message = f"{report}; --why TEXT says why they change"
        raise InputError([Problem(message=message, path=loaded.folder, allowed="--why TEXT")])
    by_platform: dict[str, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_platform[platform_of(run)].append(run)

    def values(of: RunStore, run: FinishedRun) -> dict[str, tuple[Scalar, ...]]:
        events = read_events(of.folder(run.spec) / EVENTS_FILE)
        return values_of(of.load(run.spec), events, metrics)

    lines = []
    for platform, some in by_platform.items():
        change = Change(commit=some[0].environment["code"]["commit"][:10], why=why or FIRST)
        new: PlatformPins = recorded(
            pins.get(platform),
            some,
            [values(store, run) for run in some],
            [values(again, run) for run in some] if again is not None else None,
            change,
        )
        pins[platform] = new
        count = sum(len(each) for run in new.runs for each in run.values.values())
        left = f"; not pinned: {', '.join(new.unpinned)}" if new.unpinned else ""
        lines.append(
            f"pinned {counted(count, 'value')} of {counted(len(some), 'run')}, {platform}{left}"
        )
    path = write_pins(loaded.folder, [*pins.values()])
    return "\n".join([*lines, f"written: {path}"])
