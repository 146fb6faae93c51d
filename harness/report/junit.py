"""Verdicts as JUnit XML: one test case for each entry of a ledger, and one for missing runs.

OUTSIDE and UNEXPECTED MATCH, also of the printed claim, are failures: the answer is not the
expected one. RUN FAILED, MISSING and INCONCLUSIVE are errors: there is no answer. OTHER PROFILE and
REPORTED are skipped, with the reason. Declared runs without a finished result are one more error.
The file holds no time and no host name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from harness.records import VerdictKind
from harness.report import clean
from harness.report.dossier import ScenarioReport
from harness.report.ledger import place_text
from harness.report.outcome import JunitOutcome, outcome, reason


def render_junit(dossiers: Sequence[ScenarioReport]) -> str:
    """Return one test suite for each dossier."""
    root = ET.Element("testsuites", _counts(dossiers))
    for dossier in dossiers:
        name = f"{dossier.scenario.scenario}.{dossier.profile}"
        suite = ET.SubElement(root, "testsuite", {"name": name, **_counts([dossier])})
        properties = ET.SubElement(suite, "properties")
        for key, value in (("profile", dossier.profile), ("device", ", ".join(dossier.devices))):
            ET.SubElement(properties, "property", name=key, value=clean.plain(value))
        for line in dossier.caption:
            ET.SubElement(properties, "property", name="origin", value=clean.plain(line))
        for verdict in dossier.verdicts:
            case = ET.SubElement(suite, "testcase", classname=name, name=verdict.expectation)
            ended, why = outcome(verdict), clean.plain(reason(verdict))
            if ended is JunitOutcome.SKIPPED:
                ET.SubElement(case, ended, message=why)
            elif ended is not JunitOutcome.PASSED:
                ET.SubElement(case, ended, message=why, type=verdict.kind).text = why
            place = clean.plain(place_text(verdict.metric, verdict.where))
            ET.SubElement(case, "system-out").text = f"{place}: {why}"
        if missing := dossier.missing:
            case = ET.SubElement(suite, "testcase", classname=name, name="declared runs")
            ET.SubElement(case, JunitOutcome.ERROR, message=missing, type=VerdictKind.MISSING)
    return xml_text(root)


def xml_text(root: ET.Element) -> str:
    """Return a document as the text of a file."""
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _counts(dossiers: Sequence[ScenarioReport]) -> dict[str, str]:
    counts = Counter(outcome(verdict) for dossier in dossiers for verdict in dossier.verdicts)
    counts[JunitOutcome.ERROR] += sum(bool(dossier.missing) for dossier in dossiers)
    return {
        "tests": str(counts.total()),
        "failures": str(counts[JunitOutcome.FAILED]),
        "errors": str(counts[JunitOutcome.ERROR]),
        "skipped": str(counts[JunitOutcome.SKIPPED]),
    }
