"""The options of each command, as the record that it is called with.

`harness.session.parser` declares the same names for the command line, with their help.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, dataclass_transform

from harness.errors import InputError, Problem
from harness.session.console import Console, Verbosity
from harness.units import seconds_of

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only, slotted dataclass; lighter to load than `record`."""
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


def budget_s(text: str) -> float:
    """Return the seconds of a ``--budget``.

    Raises:
        InputError: it is no time.
    """
    try:
        return seconds_of(text)
    except ValueError:
        allowed = "a time, e.g. 90s, 30m, 2h"
        problem = Problem(message="no time", key="--budget", value=text, allowed=allowed)
        raise InputError([problem]) from None


@options
class Options:
    """What every command takes.

    Attributes:
        json: print one JSON document instead of text.
        quiet: print only results and errors.
        verbose: also say the reasons, paths and times behind a result.
        project: the project's folder; None to look for it (`harness.session.project`).
        store: the folder of results; None for the project's ``results/local``.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    project: Path | None = None
    store: Path | None = None

    @property
    def console(self) -> Console:
        """The console of the command."""
        if self.quiet:
            return Console(Verbosity.QUIET)
        return Console(Verbosity.VERBOSE if self.verbose else Verbosity.NORMAL)


@options
class ScenarioOptions(Options):
    """Several scenarios, each by its id or a unique beginning of it."""

    scenarios: tuple[str, ...] = ()


@options
class ProfileOptions(ScenarioOptions):
    """Scenarios at one profile.

    Attributes:
        profile: a profile's name, or ``auto``.
    """

    profile: str = "auto"


@options
class ExperimentOptions(ProfileOptions):
    """Scenarios at one profile, and changes of the declared experiment.

    Attributes:
        set: ``KEY=VALUE`` each.
        params: a YAML file of the same.
        only: ``AXIS=VALUE`` each: the cells to keep.
        seed: instead of the declared one.
        replicates: instead of the declared number.
    """

    set: tuple[str, ...] = ()
    params: Path | None = None
    only: tuple[str, ...] = ()
    seed: int | None = None
    replicates: int | None = None


def as_typed(options: PlanOptions) -> dict[str, list[str]]:
    """Return the options that were given as they would be typed again.

    ``experiment`` changes what is run, ``place`` says where things are, ``runtime`` how it is run.
    """
    place = [f"--store={options.store}"] if options.store else []
    place += [f"--project={options.project}"] if options.project else []
    runtime = [f"--runtime={options.runtime}"] if options.runtime != "auto" else []
    runtime += [f"--address={options.address}"] if options.address != "auto" else []
    return {"experiment": experiment_as_typed(options), "place": place, "runtime": runtime}


def experiment_as_typed(options: ExperimentOptions) -> list[str]:
    """Return the options that change what is run, as they would be typed again."""
    typed = [f"--set={each}" for each in options.set]
    typed += [f"--params={options.params}"] if options.params else []
    typed += [f"--only={each}" for each in options.only]
    typed += [f"--seed={options.seed}"] if options.seed is not None else []
    typed += [f"--replicates={options.replicates}"] if options.replicates is not None else []
    return typed


@options
class ListOptions(Options):
    """``harness list``."""


@options
class ShowOptions(ExperimentOptions):
    """``harness show``."""


@options
class ValidateOptions(ScenarioOptions):
    """``harness validate``.

    Attributes:
        schema: print this JSON Schema and check nothing.
    """

    schema: str | None = None


@options
class PlanOptions(ExperimentOptions):
    """``harness plan``.

    Attributes:
        runtime: ``auto``, ``local``, ``docker`` or ``ray``.
        address: of the Ray cluster, ``HOST:PORT`` or ``auto``.
        timeout: how long a run may take in place of its ``limits.timeout_s``; None for that.
    """

    runtime: str = "auto"
    address: str = "auto"
    timeout: str | None = None


@options
class RunOptions(PlanOptions):
    """``harness run``.

    Attributes:
        junit: a file to write JUnit XML into.
        summary: a file to append a Markdown summary to.
        with_evidence: also recompute the published raw data, if it can be fetched.
        jobs: how many runs may be under way at once, or ``auto``.
        continue_across_changes: let a run that was ended half-way go on with steps of other code.
        restart: let it begin anew.
        all: also print every table, before the last screen.
        notify: an address that is told when the runs end, or one stalls or fails.
    """

    junit: Path | None = None
    summary: Path | None = None
    with_evidence: bool = False
    jobs: str = "auto"
    continue_across_changes: bool = False
    restart: bool = False
    all: bool = False
    notify: str | None = None

    @property
    def most_jobs(self) -> int | None:
        """The number that `jobs` is; None for ``auto``.

        Raises:
            InputError: it is neither.
        """
        if self.jobs == "auto":
            return None
        if not self.jobs.isdecimal() or int(self.jobs) == 0:
            message, allowed = "not a number of runs", "a number from 1, or auto"
            raise InputError(
                [Problem(message=message, key="--jobs", value=self.jobs, allowed=allowed)]
            )
        return int(self.jobs)


@options
class RehearseOptions(PlanOptions):
    """``harness rehearse``.

    Attributes:
        budget: no further cell is rehearsed after so long.
    """

    budget: str = "5m"


@options
class WatchOptions(Options):
    """``harness watch``.

    Attributes:
        scenario: whose run; None for whichever is at work.
        web: serve a page instead of printing.
        port: of the page; None for any that is free.
        once: print what is known now, and end.
        notify: an address that is told when a run ends, stalls or fails.
        tensorboard: a folder for event files.
        trackio: write curves there.
    """

    scenario: str | None = None
    web: bool = False
    port: int | None = None
    once: bool = False
    notify: str | None = None
    tensorboard: Path | None = None
    trackio: bool = False


@options
class CheckOptions(ExperimentOptions):
    """``harness check``.

    Attributes:
        junit: a file to write JUnit XML into.
        summary: a file to append a Markdown summary to.
    """

    junit: Path | None = None
    summary: Path | None = None


@options
class AuditOptions(ProfileOptions):
    """``harness audit``.

    Attributes:
        published: look at the published results, not at those of the store.
    """

    published: bool = False


@options
class PinOptions(ProfileOptions):
    """``harness pin``.

    Attributes:
        why: the reason for a change of what is pinned.
        again: a store with a second execution of each run; what differs there is not pinned.
    """

    why: str = ""
    again: Path | None = None


@options
class ReportOptions(ExperimentOptions):
    """``harness report``.

    Attributes:
        format: a `harness.report.render.TableFormat`.
        table: only these tables: ``cells``, ``rows`` or ``ledger``; None for what is usual.
        out: a folder to write page, tables and plots into.
        splice: an article whose markers are filled.
        stale: change nothing, and fail if the article is out of date.
    """

    format: str = "text"
    table: str | None = None
    out: Path | None = None
    splice: Path | None = None
    stale: bool = False


@options
class OpenOptions(ExperimentOptions):
    """``harness open``, of one scenario; its profile is the one that answers first.

    Attributes:
        no_browser: only write the pages.
    """

    no_browser: bool = False


@options
class SiteOptions(Options):
    """``harness site``.

    Attributes:
        out: the folder of the site; None for the project's ``build/site``.
    """

    out: Path | None = None


@options
class CompareOptions(PlanOptions):
    """``harness compare``, of one scenario.

    Attributes:
        other: the other store; None to compare two variants within one.
        other_profile: the profile to look at there; None for the same.
        fail_over: ``METRIC=SHARE%`` each: by how much it may be worse in B.
    """

    other: Path | None = None
    other_profile: str | None = None
    fail_over: tuple[str, ...] = ()


@options
class HistoryOptions(Options):
    """``harness history``.

    Attributes:
        scenario: one scenario; or the word ``import`` or ``rename``.
        names: of ``import``: stores, folders of stores, zip files; of ``rename``: the scenario, the
            old name and the new one.
        profile: a profile's name, or ``auto``.
        metric: only these metrics.
        plot: draw each series.
        format: ``text``, ``csv`` or ``html``.
        out: a file to write instead of printing.
        why: of ``rename``: the reason.
        history: the folder of histories; None for the usual one.
    """

    scenario: str
    names: tuple[str, ...] = ()
    profile: str = "auto"
    metric: tuple[str, ...] = ()
    plot: bool = False
    format: str = "text"
    out: Path | None = None
    why: str = ""
    history: Path | None = None


@options
class RegressOptions(Options):
    """``harness regress``.

    Attributes:
        scenario: one scenario.
        profile: a profile's name, or ``auto``.
        metric: only these metrics.
        only: ``AXIS=VALUE`` each: the cells to look at.
        history: the folder of histories; None for the usual one.
        no_confirm: run no pairs.
        pairs: the most pairs of runs that confirm one cell.
        budget: no pair is begun after so long.
        first_bad: look for the first bad commit of a confirmed regression.
        bisect: a good and a bad commit to look between.
        accept: id of a finding whose level is the new baseline.
        why: the reason for that.
        junit: a file to write JUnit XML into.
        summary: a file to append a Markdown summary to.
        notify: an address that is told of a new alarm.
    """

    scenario: str
    profile: str = "auto"
    metric: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    history: Path | None = None
    no_confirm: bool = False
    pairs: int = 30
    budget: str = "2h"
    first_bad: bool = False
    bisect: tuple[str, ...] = ()
    accept: str | None = None
    why: str = ""
    junit: Path | None = None
    summary: Path | None = None
    notify: str | None = None


@options
class ExportOptions(Options):
    """``harness export``.

    Attributes:
        scenario: one scenario.
        profile: a profile's name, or ``auto``.
        to: the form: one of `EXPORTS`.
        path: a new folder.
    """

    scenario: str
    profile: str = "auto"
    to: str
    path: Path


@options
class PublishOptions(ProfileOptions):
    """``harness publish``.

    Attributes:
        all: render every published table again, and copy nothing.
        stale: change nothing, and fail if a table is out of date.
        sign: the file of an SSH key to sign with.
    """

    all: bool = False
    stale: bool = False
    sign: Path | None = None


@options
class VerifyOptions(Options):
    """``harness verify``.

    Attributes:
        results: the folder of published results; None for the project's.
        key: a file of allowed signers; every bundle must then be signed by one of them.
    """

    results: Path | None = None
    key: Path | None = None


@options
class FetchOptions(ScenarioOptions):
    """``harness fetch``."""


@options
class BuildOptions(Options):
    """``harness build``.

    Attributes:
        images: their names in the lock.
        all: every image of the lock.
        resolve: only look base digests up.
        accept: record a digest that differs from the lock.
    """

    images: tuple[str, ...] = ()
    all: bool = False
    resolve: bool = False
    accept: bool = False


@options
class ArtefactsOptions(Options):
    """``harness artefacts``.

    Attributes:
        action: ``list``, ``show``, ``prune``, ``export`` or ``import``.
        names: keys of steps, or beginnings of keys; names of steps; of ``import`` files.
        out: of ``export``: the file to write.
        all: of ``prune``: also what stored runs have used.
        dry_run: of ``prune``: only say what would be deleted.
    """

    action: str
    names: tuple[str, ...] = ()
    out: Path | None = None
    all: bool = False
    dry_run: bool = False


@options
class DoctorOptions(Options):
    """``harness doctor``.

    Attributes:
        address: of a Ray cluster whose nodes are looked at instead, ``HOST:PORT`` or ``auto``.
        probe: measure what the machine can do now, and say whether it is itself.
    """

    address: str | None = None
    probe: bool = False


@options
class CompletionOptions(Options):
    """``harness completion``.

    Attributes:
        shell: ``bash``, ``zsh`` or ``fish``.
    """

    shell: str


OF_COMMAND: dict[str, type[Options]] = {
    "list": ListOptions,
    "show": ShowOptions,
    "validate": ValidateOptions,
    "plan": PlanOptions,
    "run": RunOptions,
    "rehearse": RehearseOptions,
    "watch": WatchOptions,
    "check": CheckOptions,
    "audit": AuditOptions,
    "pin": PinOptions,
    "report": ReportOptions,
    "open": OpenOptions,
    "site": SiteOptions,
    "compare": CompareOptions,
    "export": ExportOptions,
    "history": HistoryOptions,
    "regress": RegressOptions,
    "publish": PublishOptions,
    "verify": VerifyOptions,
    "fetch": FetchOptions,
    "build": BuildOptions,
    "artefacts": ArtefactsOptions,
    "doctor": DoctorOptions,
    "completion": CompletionOptions,
}
