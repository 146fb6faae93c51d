"""What a report is made from, and where its figures come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.check.frozen import check_as_fixed
from harness.check.verdicts import exit_code
from harness.errors import ExitCode, worst
from harness.measure import metrics_by_name
from harness.plan.expand import Plan
from harness.records import FinishedRun, Profile, Status, Verdict, VerdictKind, record
from harness.report import facts
from harness.results.selection import select
from harness.results.store import RunStore
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded
from harness.scenario.schema import Scenario
from harness.workloads.api.declare import Metric, Workload, fields_of
from harness.workloads.api.registry import workload


@record
class ScenarioReport:
    """One scenario at one profile, with all that is known about it.

    Attributes:
        workload: the declaration of the workload that the profile runs.
        metrics: every metric its runs can hold, by name.
        runs: one execution of each spec: the finished one, else the last that failed.
        ledger: the claims, as they stood when the runs were made.
        verdicts: one for each entry of the ledger.
        plan: what the runs should be, so that a cell without a run is shown as such.
    """

    scenario: Scenario
    profile: Profile
    workload: Workload
    metrics: Mapping[str, Metric]
    runs: tuple[FinishedRun, ...]
    ledger: Expectations
    verdicts: tuple[Verdict, ...]
    plan: Plan | None = None

    @property
    def caption(self) -> tuple[str, ...]:
        """Where the figures come from; shown under every table and plot of this dossier."""
        asked = f"Profile {self.profile}: {self.scenario.profiles[self.profile].summary}."
        return (asked, *provenance(self.runs), *_left_out(self.plan))

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that figures come from, in order of name."""
        finished = [run for run in self.runs if run.outcome.status is Status.FINISHED]
        return tuple(sorted({origin(run).device for run in finished}))

    @property
    def counts(self) -> str:
        """How many runs are planned and how they ended, in words; the numbers add up."""
        assert self.plan is not None
        ended = [run.outcome.status for run in self.runs]
        finished = sum(status is Status.FINISHED for status in ended)
        parts = {
            "finished": finished,
            "failed": len(ended) - finished,
            "not run": len(self.plan.runs) - len(ended),
            "skipped": len(self.plan.skipped),
        }
        shown = [
            f"{number} {word}" for word, number in parts.items() if number or word == "finished"
        ]
        return f"{self.plan.num_declared} declared = {' + '.join(shown)}"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the verdicts and runs."""
        failed = any(run.outcome.status is not Status.FINISHED for run in self.runs)
        runs = ExitCode.INFRASTRUCTURE if failed else ExitCode.OK
        return worst([runs, exit_code(self.verdicts)])

    def param_unit(self, name: str) -> str:
        """Return the unit of a parameter; empty where it has none or the name is a row key."""
        declared = fields_of(self.workload.params).get(name)
        return str(declared[1].metadata["unit"]) if declared else ""


def assemble(loaded: Loaded, ledger: Expectations, plan: Plan, store: RunStore) -> ScenarioReport:
    """Return the dossier of a plan: its stored runs, checked against the ledger."""
    scenario, profile = loaded.scenario, plan.profile
    metrics, runs = metrics_by_name(scenario), select(store, plan.runs)
    checked = check_as_fixed(ledger, runs, profile, metrics, store.ledger)
    verdicts = checked.verdicts
    if plan.changed:  # an expectation applies only to the declared experiment
        detail = "the command line changed the experiment"
        verdicts = tuple(
            verdict
            if verdict.kind is VerdictKind.REPORTED
            else replace(verdict, kind=VerdictKind.OTHER_PROFILE, detail=detail)
            for verdict in verdicts
        )
    return ScenarioReport(
        scenario=scenario,
        profile=profile,
        workload=workload(scenario.workload_of(profile)),
        metrics=metrics,
        runs=runs,
        plan=plan,
        ledger=checked.ledger,
        verdicts=verdicts,
    )


@record
class Origin:
    """What must be equal for figures to be replicates of each other."""

    profile: str
    device: str
    runtime: str
    image: str
    source: str


def origin(run: FinishedRun) -> Origin:
    """Return where a run's figures come from."""
    image = run.spec.image
    return Origin(
        profile=run.spec.profile,
        device=run.outcome.device or "unknown device",
        runtime=run.outcome.runtime,
        image=f"{image.name}@{image.digest.removeprefix('sha256:')[:12]}" if image else "",
        source=run.spec.source[:8],
    )


def provenance(runs: Sequence[FinishedRun]) -> tuple[str, ...]:
    """Return the caption lines of `runs`: device, runtime, image, commit, dates, how they ended.

    Runs that differ are all named: a line for each device, runtime and image.
    """
    if not runs:
        return ("No runs.",)
    finished = [run for run in runs if run.outcome.status is Status.FINISHED]
    places = sorted({_place(origin(run)) for run in finished or runs})
    days = sorted({run.outcome.started_at[:10] for run in runs if run.outcome.started_at})
    commits = sorted({facts.commit(run.environment) for run in runs} - {""})
    history = [f"Commit {', '.join(commits)}."] if commits else ["Commit not recorded."]
    if days:
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        history.append(f"Run on {span}.")
    counts = Counter(run.outcome.status for run in runs)
    shown = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return (
        *places,
        " ".join([*history, f"{len(runs)} run{'s' if len(runs) != 1 else ''}: {shown}."]),
    )


def _left_out(plan: Plan | None) -> Iterator[str]:
    reasons = Counter(each.reason for each in plan.skipped) if plan else {}
    for reason, count in sorted(reasons.items()):
        yield f"{count} declared run{'s' if count != 1 else ''} left out: {reason}."
    if plan and plan.changed:
        yield "Not the declared experiment: the command line changed it."


def _place(one: Origin) -> str:
    image = f", image {one.image}" if one.image else ""
    source = f"; workload source {one.source}" if one.source else ""
    device = ": none needed" if one.device.startswith("no device") else f" {one.device}"
    return f"Device{device}; runtime {one.runtime}{image}{source}."
