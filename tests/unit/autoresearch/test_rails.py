"""The rails: the truth table under both rules, and what the published agent proposed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from harness.workloads.autoresearch.guardrail_cases import Case, cases, expected, wrong
from harness.workloads.autoresearch.guardrails import (
    Gate,
    Guardrail,
    Guardrails,
    Passed,
    Refused,
    is_finite,
)
from harness.workloads.autoresearch.search_space import ARTICLE, SMALL, SPACES, Space, translated
from harness.workloads.autoresearch.trajectory import read_trajectory

TABLE = [(space, case) for space in SPACES.values() for case in cases(space)]


@pytest.mark.parametrize("rules", Guardrails)
@pytest.mark.parametrize(
    ("space", "case"), TABLE, ids=[f"{space.name}: {case.name}" for space, case in TABLE]
)
def test_every_case_fails_the_rail_it_must_and_says_why(
    space: Space, case: Case, rules: Guardrails
) -> None:
    verdict = Gate(space=space, guardrails=rules).judge(case.answer, space.baseline)
    if isinstance(verdict, Passed):
        assert expected(case, rules) is None
        assert verdict.candidate.seed == space.baseline.seed
    else:
        assert verdict.guardrail is expected(case, rules)
        assert verdict.reason
        assert verdict.reason.isascii()
        assert verdict.reason.isprintable()


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
def test_the_table_holds_for_both_rules(space: Space) -> None:
    assert [wrong(space, rules) for rules in Guardrails] == [[], []]


def test_closed_rules_refuse_all_that_the_published_ones_refuse_but_the_stale_warmup() -> None:
    opened = [case.name for case in cases(ARTICLE) if case.published and not case.closed]
    assert opened == ["hole: warm-up of 26"]
    closed = [case.name for case in cases(ARTICLE) if case.closed and not case.published]
    assert len(closed) > 20


def test_every_rail_but_the_last_published_one_is_reached() -> None:
    reached = Counter(case.closed for case in cases(ARTICLE)) + Counter(
        case.published for case in cases(ARTICLE)
    )
    # nothing that passes R1 to R4 can be two lines or code: the article's bench counts 0 for R5 too
    assert set(Guardrail) - set(reached) == {Guardrail.DIFF}


def test_the_published_proposals_pass_and_have_the_published_patches(evidence_dir: Path) -> None:
    refused: list[tuple[str, int, Guardrails, Guardrail]] = []
    for name in ("trajectory", "smoke_trajectory"):
        for each in read_trajectory(evidence_dir / f"a22/{name}.jsonl").evaluated:
            given = {key: getattr(each.proposal, key) for key in ("knob", "new_value", "reason")}
            for rules in Guardrails:
                gate = Gate(space=ARTICLE, guardrails=rules)
                verdict = gate.judge(json.dumps(given), ARTICLE.baseline)
                if isinstance(verdict, Refused):
                    refused.append((name, each.iteration, rules, verdict.guardrail))
                else:
                    assert verdict.candidate == each.candidate_cfg
                    assert verdict.diff == each.diff
    # "returning" to 4096, which it never left: 0.2 % better by new initial weights alone
    assert refused == [("trajectory", 48, Guardrails.CLOSED, Guardrail.NO_OP)]


def test_the_article_starts_where_its_file_says(evidence_dir: Path) -> None:
    header = read_trajectory(evidence_dir / "a22/trajectory.jsonl").header
    assert header.baseline_cfg == ARTICLE.baseline


def test_a_hole_lets_a_candidate_through_that_is_no_configuration() -> None:
    answer = json.dumps({"knob": "lr", "new_value": float("nan"), "reason": "x"})
    verdict = Gate(space=ARTICLE, guardrails=Guardrails.PUBLISHED).judge(answer, ARTICLE.baseline)
    assert isinstance(verdict, Passed)
    assert not is_finite(verdict.candidate)
    assert is_finite(ARTICLE.baseline)


def test_the_two_spaces_have_the_same_knobs_and_lists_of_one_length() -> None:
    assert list(ARTICLE.knobs) == list(SMALL.knobs)
    for name, knob in ARTICLE.knobs.items():
        assert len(knob.choices) == len(SMALL.knobs[name].choices)
        assert knob.kind is SMALL.knobs[name].kind


@pytest.mark.parametrize(
    ("knob", "value", "wanted"),
    [
        ("d_model", 768, 48),
        ("d_model", 1024, 64),
        ("n_head", 32, 8),
        ("d_ff", 8192, 512),
        ("lr", 2e-4, 2e-3),
        ("beta2", 0.96, 0.96),
        ("n_layer", 48, 4),
        ("n_layer", 4, 1),
        ("weight_decay", 0.1, 0.1),
    ],
)
def test_a_value_means_the_same_in_the_small_space(knob: str, value: float, wanted: float) -> None:
    assert translated(knob, value, ARTICLE, SMALL) == wanted


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
def test_each_baseline_means_the_baseline_of_the_other(space: Space) -> None:
    for other in SPACES.values():
        for name in space.knobs:
            value = getattr(space.baseline, name)
            assert translated(name, value, space, other) == getattr(other.baseline, name)


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
def test_the_levels_of_a_knob_are_in_its_domain_and_reach_its_ends(space: Space) -> None:
    for knob in space.knobs.values():
        levels = knob.levels()
        assert len(set(levels)) == len(levels) > 1
        if not knob.choices:
            assert (levels[0], levels[-1]) == (knob.low, knob.high)
