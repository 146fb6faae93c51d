from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.check.verdicts import exit_code
from harness.errors import ExitCode
from harness.records import VerdictKind
from harness.report.github import annotate
from harness.report.junit import render_junit
from harness.report.outcome import JunitOutcome, outcome, reason
from harness.scenario.positions import read

from .conftest import MakeDossier, MakeRun, entry, verdict

CHILD = {
    VerdictKind.REPRODUCED: None,
    VerdictKind.ARTICLE_DIFFERS: None,
    VerdictKind.OUTSIDE: "failure",
    VerdictKind.UNEXPECTED_MATCH: "failure",
    VerdictKind.RUN_FAILED: "error",
    VerdictKind.MISSING: "error",
    VerdictKind.HOST_DEGRADED: "error",
    VerdictKind.INCONCLUSIVE: "error",
    VerdictKind.OTHER_PROFILE: "skipped",
    VerdictKind.REPORTED: "skipped",
    VerdictKind.ARITHMETIC: None,
}


def test_one_case_for_each_entry(make_dossier: MakeDossier) -> None:
    verdicts = [verdict(kind.name.lower(), kind, detail="because") for kind in VerdictKind]
    entries = [entry(each.expectation) for each in verdicts]
    dossier = make_dossier([], entries=entries, verdicts=verdicts)
    root = ET.fromstring(render_junit([dossier, dossier]))  # noqa: S314 - our own text
    assert root.tag == "testsuites"
    assert root.attrib == {"tests": "22", "failures": "4", "errors": "8", "skipped": "4"}
    for suite in root:
        assert suite.tag == "testsuite"
        assert suite.attrib["name"] == "t1-small.cpu"
        cases = suite.findall("testcase")
        assert [case.get("name") for case in cases] == [each.expectation for each in verdicts]
        for kind, case in zip(VerdictKind, cases, strict=True):
            children = {child.tag for child in case} - {"system-out"}
            assert children == ({CHILD[kind]} if CHILD[kind] else set())
            for child in case:
                assert "because" in (child.get("message") or child.text or "")


def test_what_is_only_reported_cannot_fail() -> None:
    shown = verdict("a", VerdictKind.REPORTED, measured="3 s", claim=VerdictKind.OUTSIDE)
    assert outcome(shown) is JunitOutcome.SKIPPED
    assert reason(shown) == "REPORTED and OUTSIDE: shown, not counted; measured 3 s"


def test_a_ledger_that_hides_a_disagreement_fails() -> None:
    assert outcome(verdict("a", claim=VerdictKind.OUTSIDE)) is JunitOutcome.FAILED
    assert outcome(verdict("a", claim=VerdictKind.ARTICLE_DIFFERS)) is JunitOutcome.PASSED


@pytest.mark.parametrize("kind", VerdictKind)
@pytest.mark.parametrize("claim", [None, *VerdictKind])
def test_test_runners_and_the_exit_code_agree(kind: VerdictKind, claim: VerdictKind | None) -> None:
    one = verdict("a", kind, claim=claim)
    code = exit_code([verdict("fine"), one])
    assert (outcome(one) is JunitOutcome.FAILED) == (code is ExitCode.OUTSIDE)
    assert (outcome(one) in (JunitOutcome.PASSED, JunitOutcome.SKIPPED)) == (code is ExitCode.OK)


def test_annotations_stand_at_the_entry(tmp_path: Path) -> None:
    path = tmp_path / "scenarios" / "t,1" / "expectations.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "scenario: t1\nsections:\n- title: One\n  entries:\n  - id: a\n    metric: x\n  - id: b\n"
        "- title: Two\n  entries: [{id: c}]\n"
    )
    verdicts = [
        verdict("a", VerdictKind.OUTSIDE, detail="100% off\nhere"),
        verdict("b", VerdictKind.MISSING),
        verdict("c"),
    ]
    failed, missing = annotate(verdicts, read(path), tmp_path)
    place = "file=scenarios/t%2C1/expectations.yaml"
    assert failed == f"::error {place},line=5,title=a%3A OUTSIDE::OUTSIDE: 100%25 off here"
    assert missing == f"::warning {place},line=7,title=b%3A MISSING::MISSING"


@pytest.mark.parametrize("kind", VerdictKind)
def test_a_dossier_that_lacks_a_declared_run_never_passes(
    make_dossier: MakeDossier, make_run: MakeRun, kind: VerdictKind
) -> None:
    runs = [make_run(replicate=each) for each in range(2)]
    for stored, missing in (([], 2), (runs[:1], 1), (runs, 0)):
        dossier = make_dossier(
            stored, planned=[each.spec for each in runs], verdicts=[verdict("first", kind)]
        )
        assert dossier.missing == (f"{missing} of 2 declared runs missing" if missing else "")
        errors = ET.fromstring(render_junit([dossier])).get("errors")  # noqa: S314 - our own text
        assert int(errors or "") == bool(missing) + (CHILD[kind] == "error")
        assert (dossier.exit_code is ExitCode.OK) <= (not missing)
