"""What `harness regress` found, where people look: terminal, job summary, JUnit, a message."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from harness.errors import ExitCode, worst
from harness.history.pairs import Outcome
from harness.history.rows import Finding
from harness.history.series import NightState, Tonight
from harness.records import record
from harness.report import clean
from harness.report.history import percent
from harness.report.junit import xml_text
from harness.report.outcome import JunitOutcome
from harness.report.render import render_markdown, render_text
from harness.report.tables import Align, Column, RowGroup, Table, words

_COLUMNS = (
    Column(key="metric", header="figure", names_row=True),
    Column(key="result", header="result", whole=True),
    Column(key="old", header="old", align=Align.RIGHT),
    Column(key="new", header="new", align=Align.RIGHT),
    Column(key="effect", header="effect", align=Align.RIGHT),
    Column(key="interval", header="95 % interval"),
    Column(key="sees", header="would have seen", align=Align.RIGHT),
    Column(key="first_bad", header="first bad commit"),
    Column(key="why", header="why"),
)
SUSPECTED = "SUSPECTED"
CLEARED = {Outcome.NOT_REGRESSED, Outcome.NOT_SEEN}


@record
class FigureJudgement:
    """One figure of tonight.

    Attributes:
        seen: what the nights before say.
        finding: what came of a suspicion tonight; the open alarm where that goes on; None: neither.
        is_new: whether nobody has been told of it yet.
    """

    seen: Tonight
    finding: Finding | None = None
    is_new: bool = False

    @property
    def result(self) -> str:
        """In a word or two."""
        if self.finding is None:
            return self.seen.state
        if not self.is_new and self.seen.state is NightState.KNOWN:
            return f"{self.finding.outcome}, known"
        return self.finding.outcome or SUSPECTED

    @property
    def exit_code(self) -> ExitCode:
        """1 for a confirmed regression, 4 for a suspicion that is neither shown nor cleared."""
        if self.finding is None or self.finding.outcome in CLEARED:
            return ExitCode.OK
        if self.finding.outcome is Outcome.REGRESSED:
            return ExitCode.OUTSIDE
        return ExitCode.INCONCLUSIVE


@record
class RegressionReport:
    """Everything of one night.

    Attributes:
        name: scenario and profile.
        notes: what else people should know, a line each.
    """

    name: str
    judgements: tuple[FigureJudgement, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The worst of the figures."""
        return worst(each.exit_code for each in self.judgements)

    @property
    def table(self) -> Table:
        """The figures of which there is something to say; all of them where there are few."""
        quiet = {NightState.NOTHING, NightState.TOO_FEW, NightState.UNTESTABLE, NightState.DOUBTED}
        told = [each for each in self.judgements if each.finding or each.seen.state not in quiet]
        rest = len(self.judgements) - len(told)
        few = [each for each in self.judgements if each.seen.state is NightState.TOO_FEW]
        caption = [f"{len(self.judgements)} figures tested; of {rest} there is nothing to say."]
        if few:
            caption.append(f"{len(few)} have too few nights yet: {few[0].seen.why}.")
        blind = [each.seen.sees for each in self.judgements if each.seen.sees is not None]
        if blind:
            caption.append(
                f"A change of {percent(-max(blind))} would be seen in every one of them."
            )
        return Table(
            title=f"Regression: {self.name}",
            caption=(*caption, *self.notes),
            columns=_COLUMNS,
            groups=(RowGroup(rows=tuple(map(_row, told))),) if told else (),
        )

    @property
    def headline(self) -> str:
        """In one line."""
        counts: dict[str, int] = {}
        for each in self.judgements:
            if each.finding is not None:
                counts[each.result] = counts.get(each.result, 0) + 1
        told = ", ".join(f"{count} {result}" for result, count in counts.items())
        return f"{self.name}: {told or 'no regression suspected'}"


def _row(each: FigureJudgement) -> tuple:  # type: ignore[type-arg]
    finding, unit = each.finding, each.seen.series.unit
    if finding is None:
        new = each.seen.series.values[-1]
        return tuple(
            map(
                words,
                (
                    each.seen.series.label,
                    each.result,
                    f"{each.seen.old:.4g} {unit}" if each.seen.look else "",
                    f"{new:.4g} {unit}",
                    percent(each.seen.effect) if each.seen.look else "",
                    "",
                    "",
                    "",
                    "" if each.seen.state is NightState.BETTER else each.seen.why,
                ),
            )
        )
    low = "-inf" if finding.low is None else percent(finding.low)
    high = "inf" if finding.high is None else percent(finding.high)
    return tuple(
        map(
            words,
            (
                each.seen.series.label,
                each.result,
                f"{finding.old:.4g} {unit}",
                f"{finding.new:.4g} {unit}",
                percent(finding.effect),
                f"{low} to {high}" if finding.pairs else "",
                "" if finding.sees is None else percent(-finding.sees),
                finding.first_bad,
                finding.why,
            ),
        )
    )


def regression_text(report: RegressionReport, width: int) -> str:
    """Return it for a terminal."""
    lines = [render_text(report.table, width), report.headline]
    lines += [f"accept it with: {accept_command(report, each)}" for each in alarms(report)]
    return "\n".join([*lines, ""])


def told_text(judgements: Sequence[FigureJudgement]) -> str:
    """Return a message about some figures, a line each, for a chat."""
    lines = []
    for each in judgements:
        told = [box.text for box in _row(each)]
        parts = zip(_COLUMNS[1:], told[1:], strict=True)
        facts = ", ".join(f"{column.header} {text}" for column, text in parts if text)
        lines.append(clean.plain(f"{told[0]}: {facts}"))
    return "\n".join(lines)


def alarms(report: RegressionReport) -> list[Finding]:
    """Return the confirmed regressions."""
    return [
        each.finding
        for each in report.judgements
        if each.finding is not None and each.finding.outcome is Outcome.REGRESSED
    ]


def accept_command(report: RegressionReport, finding: Finding) -> str:
    """Return what to type to take a finding's level as the new baseline."""
    scenario, profile = report.name.split()[:2]
    return f"harness regress {scenario} --profile {profile} --accept {finding.id} --why TEXT"


def regression_summary(report: RegressionReport) -> str:
    """Return the Markdown of a job summary."""
    head = f"## {clean.markdown(report.headline)}\n"
    return f"{head}\n{render_markdown(report.table)}"


def regression_junit(report: RegressionReport) -> str:
    """Return a test case for each figure: a failure is confirmed, an error is neither."""
    codes = [each.exit_code for each in report.judgements]
    counts = {
        "tests": str(len(codes)),
        "failures": str(codes.count(ExitCode.OUTSIDE)),
        "errors": str(codes.count(ExitCode.INCONCLUSIVE)),
    }
    root = ET.Element("testsuites", counts)
    name = f"regression.{report.name.replace(' ', '.')}"
    suite = ET.SubElement(root, "testsuite", {"name": name, **counts})
    for each in report.judgements:
        case = ET.SubElement(
            suite, "testcase", classname=name, name=clean.plain(each.seen.series.label)
        )
        told = [box.text for box in _row(each)]
        pairs = zip(_COLUMNS[1:], told[1:], strict=True)
        why = clean.plain("; ".join(f"{column.header}: {text}" for column, text in pairs if text))
        if each.exit_code is ExitCode.OUTSIDE:
            ET.SubElement(case, JunitOutcome.FAILED, message=why, type=each.result).text = why
        elif each.exit_code is ExitCode.INCONCLUSIVE:
            ET.SubElement(case, JunitOutcome.ERROR, message=why, type=each.result).text = why
        ET.SubElement(case, "system-out").text = why
    return xml_text(root)


def told_of(report: RegressionReport) -> Sequence[FigureJudgement]:
    """Return what nobody has been told of yet."""
    return [each for each in report.judgements if each.is_new and each.exit_code]
