"""``harness compare``: two stores, or two variants of a scenario, figure by figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from harness.errors import ExitCode, HostError, InputError, Problem, unknown, worst
from harness.execution.owed import run_owed
from harness.execution.prepare import prepare
from harness.plan.expand import Plan, expand
from harness.plan.order import blocks
from harness.plan.overrides import Overrides
from harness.records import record
from harness.report.cells import report_metrics
from harness.report.compare import (
    Allowance,
    FigureDifference,
    compare_table,
    differences,
    judge_allowance,
)
from harness.report.dossier import ScenarioReport, assemble
from harness.report.render import TableDocument, json_document, render_text
from harness.results.store import RunStore
from harness.scenario.expectations import Expectations
from harness.scenario.folders import find
from harness.scenario.load import Loaded, load
from harness.session.console import terminal_width
from harness.session.options import CompareOptions, PlanOptions, RunOptions
from harness.session.output import print_answer
from harness.session.project import Project, open_project
from harness.session.selection import open_ledger, overrides_of, stored_profile

_PERCENT = 100.0


@record
class LimitAnswer:
    """What became of one ``--fail-over``."""

    says: str
    exit_code: int


@record
class CompareAnswer:
    """The answer of ``harness compare --json``."""

    table: TableDocument
    limits: tuple[LimitAnswer, ...]


@record
class _Compared:
    """Two sets of runs, and what tells them apart.

    Attributes:
        names: what A and B are; empty where their captions say it.
    """

    one: ScenarioReport
    other: ScenarioReport
    found: tuple[FigureDifference, ...]
    names: tuple[str, str] = ("", "")


def main(options: CompareOptions) -> ExitCode:
    """Print every figure of either set, and whether replicates can tell the two apart."""
    project = open_project(options)
    (name,) = options.scenarios
    folder = find(project.scenarios, name)
    limits = _limits(options.fail_over)  # refused before anything is done
    variants = _variants(options.set)
    if (options.other is None) == (len(variants) == 1):
        raise InputError([_ambiguous(name, variants)])
    if options.other is not None:
        compared = _stores(load(folder), project, options, options.other)
    else:
        compared = _two_variants(folder, project, options, variants)
    _refuse_unknown(limits, compared.one)
    verdicts = [judge_allowance(limit, compared.found) for limit in limits]
    table = compare_table(compared.one, compared.other, compared.found, compared.names)
    code = worst(each.code for each in verdicts)
    if options.json:
        limits_said = tuple(LimitAnswer(says=v.sentence, exit_code=v.code) for v in verdicts)
        print_answer(options, CompareAnswer(table=json_document(table), limits=limits_said), code)
    else:
        lines = [render_text(table, terminal_width()).rstrip("\n"), *(v.sentence for v in verdicts)]
        print("\n".join(lines))
    return code


def _stores(loaded: Loaded, project: Project, options: CompareOptions, other: Path) -> _Compared:
    ledger, overrides = open_ledger(loaded), overrides_of(options)
    ours = _stored(loaded, ledger, overrides, options.profile, RunStore(project.store))
    word = options.other_profile or options.profile
    theirs = _stored(loaded, ledger, overrides, word, RunStore(other))
    return _Compared(one=ours, other=theirs, found=differences(ours, theirs))


def _stored(
    loaded: Loaded, ledger: Expectations, overrides: Overrides, word: str, store: RunStore
) -> ScenarioReport:
    profile = stored_profile(word, loaded.scenario, store)
    plan = expand(loaded, profile, overrides)
    dossier = assemble(loaded, ledger, plan, store, judged=False)
    if not dossier.runs:
        message = f"no results of {loaded.scenario.scenario} {profile} in {store.root}"
        raise HostError(message, f"harness run {loaded.scenario.scenario} --profile {profile}")
    return dossier


def _two_variants(
    folder: Path, project: Project, options: CompareOptions, variants: Sequence[tuple[str, ...]]
) -> _Compared:
    """Run what the store does not have of two variants, in common blocks, and compare them."""
    common = {each.name: getattr(options, each.name) for each in fields(PlanOptions)}
    asked = [RunOptions(**{**common, "set": variant}) for variant in variants]
    one, other = (prepare(folder, project, each, builds=True) for each in asked)

    def both() -> Plan:
        return _in_blocks(one.plan, other.plan)

    run_owed(one, asked[0], planned=both)
    given, others = one.overrides.params, other.overrides.params
    varied = sorted(name for name in given if name in others and given[name] != others[name])
    reports = [
        assemble(each.loaded, each.ledger, each.plan, one.store, judged=False)
        for each in (one, other)
    ]
    names = [
        " ".join(f"{name}={each.overrides.params[name]}" for name in varied)
        for each in (one, other)
    ]
    return _Compared(
        one=reports[0],
        other=reports[1],
        found=differences(*reports, in_blocks=True, varied=varied),
        names=(names[0], names[1]),
    )


def _in_blocks(one: Plan, other: Plan) -> Plan:
    """Return the plan of both: each block holds one replicate of each cell of each variant."""
    cells: dict[tuple[int, str], list[int]] = {}
    runs = (*one.runs, *other.runs)
    for number, spec in enumerate(runs):
        cells.setdefault((int(number >= len(one.runs)), spec.point_id), []).append(number)
    replicates = max(map(len, cells.values()))
    order = blocks([*cells], replicates, min(spec.seed for spec in runs))
    turns: dict[int, int] = {}
    for block, keys in enumerate(order):
        for key in keys:
            turns[cells[key][block]] = len(turns) + 1
    placed = tuple(replace(spec, position=turns[number]) for number, spec in enumerate(runs))
    return replace(one, runs=placed, skipped=(*one.skipped, *other.skipped), changed=True)


def _variants(given: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the words of ``--set`` of each variant: a key given twice makes two.

    Raises:
        InputError: a key is given three times or more.
    """
    by_key: dict[str, list[str]] = {}
    for each in given:
        by_key.setdefault(each.partition("=")[0], []).append(each)
    if many := [key for key, words in by_key.items() if len(words) > 2]:  # noqa: PLR2004 - A and B
        message, allowed = "--set gives more than two values", "two, for variants A and B"
        raise InputError([Problem(message=message, key=key, allowed=allowed) for key in many])
    if all(len(words) == 1 for words in by_key.values()):
        return [tuple(words[0] for words in by_key.values())]
    return [tuple(words[min(i, len(words) - 1)] for words in by_key.values()) for i in range(2)]


def _ambiguous(name: str, variants: Sequence[tuple[str, ...]]) -> Problem:
    allowed = (
        f"harness compare {name} STORE, or harness compare {name} --set KEY=ONE --set KEY=OTHER"
    )
    what = "two variants and another store" if len(variants) > 1 else "nothing to compare with"
    return Problem(message=f"{what}; give one or the other", allowed=allowed)


def _limits(given: Iterable[str]) -> list[Allowance]:
    """Read ``--fail-over``.

    Raises:
        InputError: every one that is no metric with a share.
    """
    limits, problems = [], []
    for text in given:
        name, equals, share = text.partition("=")
        try:
            value = float(share.removesuffix("%")) / _PERCENT
        except ValueError:
            value = 0.0
        if not (name and equals and share.endswith("%") and 0 < value < 1):
            allowed = "METRIC=SHARE%, e.g. tokens_per_second=3%, above 0 and below 100"
            problems.append(
                Problem(message="--fail-over takes a share", value=ascii(text), allowed=allowed)
            )
        else:
            limits.append(Allowance(metric=name, share=value))
    if problems:
        raise InputError(problems)
    return limits


def _refuse_unknown(limits: Iterable[Allowance], report: ScenarioReport) -> None:
    known = [each.name for each in report_metrics(report)]
    wrong = [each.metric for each in limits if each.metric not in known]
    if wrong:
        raise InputError(unknown("metric in --fail-over", name, known) for name in wrong)
