"""From a ledger to verdicts and to the exit code."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from typing import Any

import pytest

from harness.check.measured import Measured
from harness.check.rows import Rows
from harness.check.verdicts import exit_code, judge
from harness.errors import ExitCode
from harness.records import Verdict, VerdictKind, from_json, to_json
from harness.scenario.expectations import Expectations

from .builders import METRICS, entry, row, run, verdict, verdicts

K = VerdictKind


def test_one_verdict_an_entry_in_the_ledgers_order() -> None:
    asked = [
        entry("bound", "loss", {"low": 0.0}, id=name, where={"size": size})
        for name, size in (("c", 1), ("a", 9), ("b", 2))
    ]
    runs = [run(row("loss", 1.0), params={"size": size}) for size in (2, 1)]
    found = verdicts(asked, runs)
    assert [each.expectation for each in found] == ["c", "a", "b"]
    assert [each.kind for each in found] == [K.REPRODUCED, K.MISSING, K.REPRODUCED]


def test_a_verdict_is_whole_and_goes_through_json() -> None:
    asked = entry("bound", "loss", {"value": 4.61, "abs": 0.3}, where={"size": 8}, claimed=4.61)
    found = verdict({**asked, "derived": 4.60}, [run(row("loss", 4.5), params={"size": 8})])
    assert found == Verdict(
        expectation="loss.bound",
        kind=K.REPRODUCED,
        metric="loss",
        where={"size": 8},
        expected="4.61 ± 0.3 nat",
        measured="4.5 nat",
        sees="a change of 0.19 nat",
        claim=K.OUTSIDE,
        claim_detail="claimed 4.61, derived 4.6: the entry does not declare this (key `diverges`)",
    )
    assert from_json(Verdict, to_json(found)) == found


@pytest.mark.parametrize(
    ("columns", "claim"),
    [
        ({}, None),
        ({"claimed": 4.61}, None),
        ({"claimed": 4.6, "derived": 4.61}, K.REPRODUCED),
        ({"claimed": 4.61, "derived": 4.6}, K.OUTSIDE),
        ({"claimed": 4.61, "derived": 4.6, "diverges": "typo"}, K.ARTICLE_DIFFERS),
        ({"claimed": 4.61, "derived": 4.61, "diverges": "typo"}, K.UNEXPECTED_MATCH),
    ],
)
def test_the_claim_has_an_axis_of_its_own(
    columns: dict[str, Any], claim: VerdictKind | None
) -> None:
    for value in (1.0, 2.0):  # what was measured does not matter to it
        asked = entry("bound", "loss", {"high": 1.5}, **columns)
        found = verdict(asked, [run(row("loss", value))])
        assert (found.kind is K.REPRODUCED, found.claim) == (value < 1.5, claim)


EXPECTED_TEXTS = [
    ("exact", {"value": 16}, "16 nat"),
    ("bound", {"value": 100.0, "rel": 0.05}, "100 nat ± 5 %"),
    ("bound", {"low": 6.4, "high": 9.8}, "6.4 .. 9.8 nat"),
    ("bound", {"high": 0.2}, "<= 0.2 nat"),
    ("bound", {"low": 1.0}, ">= 1 nat"),
    (
        "ordering",
        {"than": {"metric": "loss", "where": {"arm": "b"}}, "margin": 0.5},
        "better than loss at arm=b by 0.5 nat",
    ),
    (
        "ratio",
        {"value": 1.042, "abs": 0.03, "to": {"metric": "loss"}},
        "1.042 ± 0.03 nat of loss",
    ),
    (
        "trajectory",
        {"points": [[0, 1.0]], "max_abs": 0.2, "mean_abs": 0.1},
        "1 points along step, each within 0.2, mean within 0.1 nat",
    ),
    ("law", {"law": "monotone", "params": {"along": "a"}, "rel": 0.02}, None),
    ("equivalence", {"value": 5.0, "margin": 0.3}, "5 ± 0.3 nat (TOST)"),
    ("noninferiority", {"value": 5.0, "margin": 0.3}, "not worse than 5 by 0.3 nat"),
]


@pytest.mark.parametrize(("kind", "expect", "text"), EXPECTED_TEXTS)
def test_every_kind_says_what_it_expects(
    kind: str, expect: dict[str, Any], text: str | None
) -> None:
    if text is not None:
        assert verdict(entry(kind, "loss", expect), []).expected == text
    else:
        asked = entry(kind, "loss", {"law": "parameter_count", "rel": 0.02})
        assert verdict(asked, []).expected == "the GPT formula within 2 %"


def test_one_entry_is_judged_by_itself_as_if_it_were_the_only_one() -> None:
    asked = [
        entry("noninferiority", "wall", {"value": 100.0, "margin": 5.0}, id=f"e{number}")
        for number in range(12)
    ]
    runs = [run(row("wall", value), seed=seed) for seed, value in enumerate((97.1, 101.2, 102.4))]
    ledger = Expectations.model_validate({"scenario": "a00-test", "expectations": asked})
    measured = Measured(rows=Rows(runs), metrics=METRICS)
    alone = {judge(each, measured).kind for each in ledger.expectations}
    together = {each.kind for each in verdicts(asked, runs)}
    assert (alone, together) == ({K.REPRODUCED}, {K.INCONCLUSIVE})


# --- exit code ------------------------------------------------------------------------------------


def of(kind: VerdictKind, claim: VerdictKind | None = None) -> Verdict:
    return Verdict(expectation="x", kind=kind, metric="m", claim=claim)


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ([], ExitCode.INCONCLUSIVE),
        ([K.OTHER_PROFILE], ExitCode.INCONCLUSIVE),
        ([K.REPRODUCED], ExitCode.OK),
        ([K.REPRODUCED, K.OTHER_PROFILE], ExitCode.OK),
        ([K.REPRODUCED, K.ARTICLE_DIFFERS], ExitCode.OK),
        ([K.REPRODUCED, K.MISSING], ExitCode.INCONCLUSIVE),
        ([K.REPRODUCED, K.INCONCLUSIVE], ExitCode.INCONCLUSIVE),
        ([K.MISSING, K.RUN_FAILED], ExitCode.INFRASTRUCTURE),
        ([K.OUTSIDE, K.RUN_FAILED, K.MISSING], ExitCode.OUTSIDE),
        ([K.REPRODUCED, K.UNEXPECTED_MATCH], ExitCode.OUTSIDE),
    ],
)
def test_exit_code_of_the_measured_axis(kinds: list[VerdictKind], code: ExitCode) -> None:
    for order in itertools.permutations(kinds):
        assert exit_code([of(kind) for kind in order]) is code


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (K.REPRODUCED, ExitCode.OK),
        (K.ARTICLE_DIFFERS, ExitCode.OK),
        (K.OUTSIDE, ExitCode.OUTSIDE),
        (K.UNEXPECTED_MATCH, ExitCode.OUTSIDE),
    ],
)
def test_exit_code_of_the_claim_axis(claim: VerdictKind, code: ExitCode) -> None:
    assert exit_code([of(K.REPRODUCED, claim), of(K.OTHER_PROFILE)]) is code


def test_a_wrong_ledger_counts_wherever_it_is_read() -> None:
    assert exit_code([of(K.OTHER_PROFILE, K.OUTSIDE)]) is ExitCode.OUTSIDE


def test_a_right_ledger_alone_reproduces_nothing() -> None:
    assert exit_code([of(K.OTHER_PROFILE, K.REPRODUCED)]) is ExitCode.INCONCLUSIVE


# --- cost -----------------------------------------------------------------------------------------


def test_a_thousand_entries_are_checked_quickly() -> None:
    rows = [row("loss", 1.0, where={"step": step, "arm": "a"}) for step in range(1000)]
    runs = [run(*rows, params={f"p{i}": i for i in range(20)})]
    asked = [
        entry("bound", "loss", {"value": 1.0, "abs": 0.1}, id=f"e{step}", where={"step": step})
        for step in range(1000)
    ]
    verdicts(asked[:1], runs)
    began = time.process_time()
    found = verdicts(asked, runs)
    spent_s = time.process_time() - began
    assert {each.kind for each in found} == {K.REPRODUCED}
    assert spent_s < 0.9  # a third of it on an idle machine


def test_checking_loads_nothing_heavy() -> None:
    heavy = "torch scipy numpy docker matplotlib"
    code = f"""
import sys
import harness.check.verdicts
print([name for name in {heavy.split()!r} if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
