"""What a report is made from, and where its figures come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.check.audit import cannot_fail
from harness.check.frozen import Checked, check_as_fixed
from harness.check.variation import unvarying
from harness.check.verdicts import exit_code
from harness.errors import ExitCode, InputError, Problem, worst
from harness.measure import metrics_by_name
from harness.plan.expand import Plan
from harness.probes.machine_state import degraded
from harness.records import FinishedRun, Profile, RunSpec, Status, Verdict, VerdictKind, record
from harness.report import facts
from harness.results.selection import is_of_this_code, select
from harness.results.store import MEASUREMENTS_FILE, RunStore
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded
from harness.scenario.schema import Scenario
from harness.units import UNITS, counted
from harness.workloads.api.declare import Metric, Workload, fields_of
from harness.workloads.api.registry import workload

_ENGINES = ("serve.engine", "clone.engine", "chat.engine")
_NAMED = 6  # steps, or runs, that a line of a caption names


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
        num_compared: how many entries are compared here and counted.
        blind: the ids of those that no dead experiment turns (`harness.check.audit`).
        unvarying: what does not vary where it should, a sentence each (`harness.check.variation`).
        is_published: whether its tables stand beside published runs; they say which code made them,
            and must not change with every commit after it.
    """

    scenario: Scenario
    profile: Profile
    workload: Workload
    metrics: Mapping[str, Metric]
    runs: tuple[FinishedRun, ...]
    ledger: Expectations
    verdicts: tuple[Verdict, ...]
    plan: Plan
    num_compared: int = 0
    blind: tuple[str, ...] = ()
    unvarying: tuple[str, ...] = ()
    is_published: bool = False

    @property
    def caption(self) -> tuple[str, ...]:
        """Where the figures come from; shown under every table and plot of this dossier."""
        asked = f"Profile {self.profile}: {self.scenario.profiles[self.profile].summary}."
        outdated = [f"{self.outdated}."] if self.outdated else []
        made = (*_segments(self.runs), *_steps(self.runs), *_hosts(self.runs), *outdated)
        still = (f"Does not vary: {sentence}." for sentence in self.unvarying)
        return (asked, *provenance(self.runs), *made, *_left_out(self.plan), *still)

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that figures come from, in order of name."""
        finished = [run for run in self.runs if run.outcome.status is Status.FINISHED]
        return tuple(sorted({origin(run).device for run in finished}))

    @property
    def counts(self) -> str:
        """How many runs are planned and how they ended, in words; the numbers add up."""
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
    def missing(self) -> str:
        """Say how many declared runs have no finished result; empty where all have one.

        A run that failed is missing, and so is one that only the command line left out: the figures
        of the others are judged, but they are not the declared experiment's.
        """
        finished = sum(run.outcome.status is Status.FINISHED for run in self.runs)
        required = self.plan.num_required
        if finished >= required:
            return ""
        return f"{required - finished} of {counted(required, 'declared run')} missing"

    @property
    def outdated(self) -> str:
        """Say how many figures are not of this checkout's code; empty where all are."""
        if self.is_published:
            return ""
        specs = {(spec.point_id, spec.seed): spec for spec in self.plan.runs}
        asked = [(run, specs.get((run.spec.point_id, run.spec.seed))) for run in self.runs]
        number = sum(spec is not None and not is_of_this_code(run, spec) for run, spec in asked)
        if not number:
            return ""
        return (
            f"{number} of {counted(len(asked), 'run')} of other code or data than this checkout's"
        )

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the verdicts and runs; never 0 while a declared run is missing."""
        failed = any(run.outcome.status is not Status.FINISHED for run in self.runs)
        runs = ExitCode.INFRASTRUCTURE if failed else ExitCode.OK
        missing = ExitCode.INCONCLUSIVE if self.missing else ExitCode.OK
        return worst([runs, missing, exit_code(self.verdicts)])

    def param_unit(self, name: str) -> str:
        """Return the unit of a parameter; empty where it has none or the name is a row key."""
        declared = fields_of(self.workload.params).get(name)
        return str(declared[1].metadata["unit"]) if declared else ""


def assemble(
    loaded: Loaded, ledger: Expectations, plan: Plan, store: RunStore, *, judged: bool = True
) -> ScenarioReport:
    """Return the dossier of a plan: its stored runs, checked against the ledger where asked."""
    scenario, profile = loaded.scenario, plan.profile
    metrics, runs = metrics_by_name(scenario), select(store, plan.runs)
    if problems := [*_in_other_units(runs, metrics, store)]:
        raise InputError(problems)
    checked = Checked(ledger=ledger, verdicts=())
    blind: tuple[str, ...] = ()
    num_compared = 0
    if judged:
        checked = check_as_fixed(ledger, runs, profile, metrics, store.ledger)
        blind, num_compared = cannot_fail(checked.ledger, runs, profile, metrics)
    verdicts = checked.verdicts
    why = ""
    if plan.changed:
        why = "the command line changed the experiment"
    elif _across_changes(runs):
        why = "a run goes on with steps that other code made"
    if why:  # an expectation applies only to the declared experiment, done by one code
        verdicts = tuple(
            verdict
            if verdict.kind is VerdictKind.REPORTED
            else replace(verdict, kind=VerdictKind.OTHER_PROFILE, detail=why)
            for verdict in verdicts
        )
        blind, num_compared = (), 0
    return ScenarioReport(
        scenario=scenario,
        profile=profile,
        workload=workload(scenario.workload_of(profile)),
        metrics=metrics,
        runs=runs,
        plan=plan,
        ledger=checked.ledger,
        verdicts=verdicts,
        num_compared=num_compared,
        blind=blind,
        unvarying=unvarying(runs, metrics) if judged else (),
    )


def _across_changes(runs: Iterable[FinishedRun]) -> list[str]:
    """Return the names of steps that other code made than that of their run."""
    taken = {step.name for run in runs for step in run.outcome.steps if step.across_changes}
    return sorted(taken)


def _in_other_units(
    runs: Iterable[FinishedRun], metrics: Mapping[str, Metric], store: RunStore
) -> Iterator[Problem]:
    """Yield the figures whose unit measures something else than their metric does."""
    for run in runs:
        for index, each in enumerate(run.measurements):
            declared = metrics.get(each.metric)
            if declared and UNITS[declared.unit].dimension != UNITS[each.unit].dimension:
                yield Problem(
                    message=f"is damaged: {each.metric} is measured in {declared.unit}",
                    path=store.folder(run.spec) / MEASUREMENTS_FILE,
                    key=f"[{index}].unit",
                    value=each.unit,
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
    unknown = {facts.why_no_commit(run.environment) for run in runs} - {""}
    missing = f"Commit not recorded{': ' if unknown else ''}{'; '.join(sorted(unknown))}."
    history = [f"Commit {', '.join(commits)}."] if commits else [missing]
    if days:
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        history.append(f"Run on {span}.")
    warnings = {f"Warning: {each}." for run in runs for each in facts.warnings(run.environment)}
    counts = Counter(run.outcome.status for run in runs)
    shown = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return (
        *places,
        *_engines(runs),
        " ".join([*history, f"{counted(len(runs), 'run')}: {shown}."]),
        f"Run ids: {_ids(runs)}.",
        *sorted(warnings),
    )


def _engines(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Yield what served the models of these runs, with its version: images hold another vLLM."""
    found = {
        str(each.value)
        for run in runs
        for each in run.measurements
        if each.metric in _ENGINES and each.value is not None
    }
    if found:
        yield f"Models served by {', '.join(sorted(found))}."


def _ids(runs: Sequence[FinishedRun]) -> str:
    """Return the ids of a few runs; of many the first, as the csv has all of them."""
    ids = [run.spec.run_id for run in runs]
    more = len(ids) - _NAMED
    return ", ".join(ids) if more <= 0 else f"{', '.join(ids[:_NAMED])} and {more} more"


def _segments(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Yield a line for each run that took several attempts: times and energy are of all of them."""
    for run in runs:
        earlier = run.outcome.segments[:-1]
        if earlier:
            ends = "; ".join(f"{each.ended}: {each.cause}" for each in earlier)
            yield (
                f"{_which(run.spec)} in {len(earlier) + 1} segments, whose times and energies are "
                f"added. Ended before: {ends}."
            )


def _hosts(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Yield what was wrong with the machine, and how many runs it cost their timings."""
    found = [state.sentence for run in runs if (state := degraded(run.outcome.host))]
    for sentence, count in Counter(found).items():
        runs_text = counted(count, "run")
        yield f"{VerdictKind.HOST_DEGRADED}, no timing of {runs_text} counts: {sentence}."


def _which(spec: RunSpec) -> str:
    cell = f"{spec.label}, " if spec.axes else ""
    return f"The run of {cell}seed {spec.seed}"


def _steps(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Yield which steps these runs made, and which they took from which other run."""
    steps = [step for run in runs for step in run.outcome.steps]
    made = {step.key for step in steps if not step.made_by}
    taken: dict[str, dict[str, None]] = {}
    for step in steps:
        if step.made_by and step.key not in made:
            taken.setdefault(step.made_by, {})[step.name] = None
    if not steps:
        return
    parts = [f"{_several([*names])} from {run}" for run, names in sorted(taken.items())]
    yield f"Steps: {len(made)} made in these runs; taken: {'; '.join(parts) or 'none'}."
    if across := _across_changes(runs):
        yield f"Not judged: {_several(across)} made by other code than the rest."


def _several(names: Sequence[str]) -> str:
    """Return names for a line: all of a few, else the first and the last."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])} to {names[-1]} ({len(names)} in all)"


def _left_out(plan: Plan) -> Iterator[str]:
    reasons = Counter(each.reason for each in plan.skipped)
    for reason, count in sorted(reasons.items()):
        yield f"{count} declared run{'s' if count != 1 else ''} left out: {reason}."
    if plan.changed:
        yield "Not the declared experiment: the command line changed it."


def _place(one: Origin) -> str:
    image = f", image {one.image}" if one.image else ""
    source = f"; workload source {one.source}" if one.source else ""
    device = ": none needed" if one.device.startswith("no device") else f" {one.device}"
    return f"Device{device}; runtime {one.runtime}{image}{source}."
