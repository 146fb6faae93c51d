"""The last screen: what it counts, says of failures, and how little it takes."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records import Measurement, Profile, Status, VerdictKind, to_json
from harness.report.answer import ClaimState, claim_summaries, counts_text
from harness.report.dossier import ScenarioReport
from harness.report.headline import headline_rows
from harness.report.last_screen import MAX_LINES, NextStep, answer_document, last_screen, next_steps
from harness.results.store import RunStore
from harness.scenario.schema import Headline
from tests.unit.report.conftest import MakeDossier, MakeRun, entry, verdict

NOWHERE = RunStore(Path("/nowhere"))
NOTHING_GIVEN: dict[str, list[str]] = {"experiment": [], "place": [], "runtime": []}


def with_headline(dossier: ScenarioReport, **table: Any) -> ScenarioReport:
    headline = Headline.model_validate(
        {
            "answer": [{"claim": "first", "says": "the loss falls"}],
            "limits": {"cpu": "anything of a large model"},
            "table": {
                "title": "Losses",
                "columns": [{"metric": "loss", "header": "last loss"}],
                **table,
            },
        }
    )
    return replace(dossier, scenario=dossier.scenario.model_copy(update={"headline": headline}))


def shown(
    *dossiers: ScenarioReport, width: int = 80, steps: tuple[NextStep, ...] = ()
) -> list[str]:
    return last_screen(dossiers, NOWHERE, steps, width=width).splitlines()


STATES = [
    (VerdictKind.REPRODUCED, {}, {}, ClaimState.HOLDS),
    (VerdictKind.OUTSIDE, {}, {}, ClaimState.FAILS),
    (VerdictKind.REPRODUCED, {}, {"claim": VerdictKind.OUTSIDE}, ClaimState.FAILS),
    (VerdictKind.REPRODUCED, {}, {"claim": VerdictKind.ARTICLE_DIFFERS}, ClaimState.HOLDS),
    (VerdictKind.INCONCLUSIVE, {}, {}, ClaimState.UNDECIDED),
    (VerdictKind.MISSING, {}, {}, ClaimState.UNMEASURED),
    (VerdictKind.RUN_FAILED, {}, {}, ClaimState.UNMEASURED),
    (VerdictKind.ARITHMETIC, {}, {}, ClaimState.ARITHMETIC),
    (VerdictKind.OTHER_PROFILE, {"binds": {"profile": ["spark"]}}, {}, ClaimState.SPARK),
    (VerdictKind.OTHER_PROFILE, {"binds": {"profile": ["cuda"]}}, {}, ClaimState.ELSEWHERE),
]


@pytest.mark.parametrize(("kind", "facts", "said", "state"), STATES)
def test_each_verdict_is_said_in_plain_words(
    make_dossier: MakeDossier,
    kind: VerdictKind,
    facts: dict[str, Any],
    said: dict[str, Any],
    state: ClaimState,
) -> None:
    dossier = make_dossier(
        [], entries=[entry("first", **facts)], verdicts=[verdict("first", kind, **said)]
    )
    assert [each.state for each in claim_summaries([dossier])] == [state]


def test_the_counts_add_up_to_all_claims(make_dossier: MakeDossier) -> None:
    entries = [entry(f"e{at}", **facts) for at, (_, facts, _, _) in enumerate(STATES)]
    verdicts = [verdict(f"e{at}", kind, **said) for at, (kind, _, said, _) in enumerate(STATES)]
    summaries = claim_summaries([make_dossier([], entries=entries, verdicts=verdicts)])
    text = counts_text(summaries)
    assert sum(int(part.partition(" ")[0]) for part in text) == len(STATES)
    assert text[0] == "2 hold here"
    assert "1 needs a Spark" in text
    assert "1 needs another profile (cuda)" in text


def test_a_claim_of_another_profile_is_judged_by_the_dossier_of_that_profile(
    make_dossier: MakeDossier,
) -> None:
    entries = [entry("first", binds={"profile": ["evidence"]}), entry("second")]
    elsewhere = verdict("first", VerdictKind.OTHER_PROFILE)
    of_cpu = make_dossier([], entries=entries, verdicts=[elsewhere, verdict("second")])
    of_evidence = make_dossier(
        [],
        entries=entries,
        verdicts=[verdict("first"), verdict("second", VerdictKind.OTHER_PROFILE)],
        profile=Profile.CUDA,
    )
    assert counts_text(claim_summaries([of_cpu])) == [
        "1 holds here",
        "0 fail",
        "1 needs another profile (evidence)",
    ]
    assert counts_text(claim_summaries([of_cpu, of_evidence])) == ["2 hold here", "0 fail"]


@pytest.mark.parametrize(
    ("kind", "introduced"),
    [
        (VerdictKind.REPRODUCED, "ANSWER  Shown: the loss falls."),
        (VerdictKind.OUTSIDE, "ANSWER  Not so: the loss falls."),
        (VerdictKind.INCONCLUSIVE, "ANSWER  Not decided, too few samples: the loss falls."),
        (VerdictKind.MISSING, "ANSWER  Not measured: the loss falls."),
    ],
)
def test_the_answer_follows_the_verdict(
    make_dossier: MakeDossier, kind: VerdictKind, introduced: str
) -> None:
    lines = shown(with_headline(make_dossier([], verdicts=[verdict("first", kind)])))
    assert introduced in lines
    assert "        Cannot be said here: anything of a large model." in lines


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        ([2.5], "2.5"),
        ([2.5, 3.5], "2.5 / 3.5"),
        ([2.0, 3.0, 4.0], "3.0 [0.5, 5.5]"),  # t of 2 degrees: 4.303 / sqrt(3)
    ],
)
def test_a_cell_shows_its_runs_or_their_mean_and_interval(
    make_run: MakeRun, make_dossier: MakeDossier, values: list[float], cell: str
) -> None:
    runs = [make_run(figures={"loss": value}, replicate=at) for at, value in enumerate(values)]
    table = headline_rows(with_headline(make_dossier(runs)))
    assert table is not None
    assert table.rows == (("last loss [nat]", cell),)


def test_figures_of_other_places_are_neither_shown_nor_averaged(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    figures = [
        Measurement(metric="loss", value=1.0, unit="nat", where={"split": "old"}),
        Measurement(metric="loss", value=2.0, unit="nat", where={"split": "new"}),
        Measurement(metric="loss", value=9.0, unit="nat", where={"split": "new", "step": 1}),
    ]
    dossier = make_dossier([make_run(figures=figures)])
    by_split = headline_rows(with_headline(dossier, rows=["split"]))
    assert by_split is not None
    assert by_split.rows == (("old", "1"), ("new", "2"))
    misspelt = headline_rows(with_headline(dossier, rows=["splt"]))
    assert misspelt is not None
    assert misspelt.notes == ("no last loss: loss has no key 'splt'; nearest: split",)


def test_runs_of_two_devices_are_two_rows(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    runs = [
        make_run(figures={"loss": 1.0}, device="one"),
        make_run(figures={"loss": 2.0}, device="other", replicate=1),
    ]
    table = headline_rows(with_headline(make_dossier(runs)))
    assert table is not None
    assert {row[0] for row in table.rows} == {"one", "other"}


def test_a_failed_run_is_named_with_its_cause_and_log(
    make_run: MakeRun, make_dossier: MakeDossier, tmp_path: Path
) -> None:
    run = make_run(status=Status.FAILED, cause="exit code 1")
    store = RunStore(tmp_path)
    folder = store.folder(run.spec)
    for number in (1, 2):
        failed = folder.with_name(f"{folder.name}.failed-{number}")
        failed.mkdir(parents=True)
        (failed / "stderr.log").write_text("Traceback", encoding="utf-8")
    text = last_screen([make_dossier([run])], store, (), width=200)
    assert "FAILED  seed 0: failed: exit code 1" in text
    assert f"log: {folder}.failed-2/stderr.log" in text
    assert "exit 3  FAILED" in text


def test_next_commands_repeat_the_options_and_quote_them(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    finished = make_run(figures={"loss": 1.0})
    owed = make_run(replicate=1).spec
    dossier = make_dossier([finished], planned=[finished.spec, owed])
    given = {
        "experiment": ["--set=name=two words"],
        "place": ["--store=/a b"],
        "runtime": ["--runtime=local"],
    }
    first, second, third = next_steps([dossier], given)
    assert first.command[:3] == ("harness", "run", "t1")
    assert first.gives == "1 run still to do"
    assert "--runtime=local" in first.command
    assert second.command[1] == "check"
    assert third.command[1] == "open"
    for step in (first, second, third):
        assert {"--set=name=two words", "--store=/a b"} <= set(step.command)
    lines = shown(dossier, width=60, steps=(first,))
    at = next(index for index, line in enumerate(lines) if "harness run t1" in line)
    until = next(index for index in range(at, len(lines)) if not lines[index].endswith("\\"))
    typed = " ".join(line.removesuffix("\\").strip() for line in lines[at : until + 1])
    assert tuple(shlex.split(typed)) == first.command


def test_a_true_figure_is_told_from_the_printed_one(make_dossier: MakeDossier) -> None:
    pairs = [
        ("kwh", 47.7, 49.8718, "47.7 -> 49.9"),
        ("ratio", {"value": 1.0, "quantum": 0.1}, 1.125, "1.0 -> 1.12"),
        ("close", {"value": 0.5, "quantum": 0.1}, 0.5512, "0.5 -> 0.55"),
        ("word", "yes", "no", "yes -> no"),
    ]
    entries = [
        entry(name, claimed=claimed, derived=true, diverges="so", unit="nat")
        for name, claimed, true, _ in pairs
    ]
    differs = [
        verdict(name, VerdictKind.REPRODUCED, claim=VerdictKind.ARTICLE_DIFFERS)
        for name, *_ in pairs
    ]
    dossier = make_dossier([], entries=entries, verdicts=differs)
    text = last_screen([dossier], NOWHERE, (), width=80, whole=True)
    for _, _, _, said in pairs:
        assert said in " ".join(text.split())


def test_hostile_text_moves_no_cursor(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    cause = "\x1b[2J\x1b]0;owned\x07 \u202eevil\nexit 0  OK " + "long " * 4000
    run = make_run({"name": "\x1b[31mred"}, status=Status.FAILED, cause=cause)
    lines = shown(make_dossier([run], title="\x1b[1mbold"))
    assert all(line.isprintable() for line in lines)
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("exit ") for line in lines) == 1


def test_a_scenario_without_a_headline_shows_its_first_cells(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    runs = [make_run({"size": size}, {"loss": float(size)}) for size in range(1, 40)]
    dossier = make_dossier(
        runs,
        sweep={"product": {"size": [*range(1, 40)]}},
        metrics=["loss"],
        planned=[run.spec for run in runs],
    )
    lines = shown(dossier)
    assert "ANSWER  1 of 1 claim that could be judged hold." in lines
    assert len(lines) <= MAX_LINES
    assert any("not shown: " in line and "rows (--all)" in line for line in lines)
    whole = last_screen([dossier], NOWHERE, (), width=80, whole=True)
    assert len(whole.splitlines()) > 39


def test_the_document_has_what_the_screen_has(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    dossier = with_headline(make_dossier([make_run(figures={"loss": 1.0})]))
    document = to_json(answer_document([dossier], next_steps([dossier], NOTHING_GIVEN)))
    assert document["answer"] == [
        {
            "claim": "first",
            "says": "the loss falls",
            "state": "hold here",
            "verdict": "REPRODUCED",
            "profile": "cpu",
        }
    ]
    assert document["claims"] == {"hold here": 1}
    assert document["headline"]["rows"] == [["last loss [nat]", "1"]]


def test_a_claim_that_was_written_after_the_runs_is_left_out_of_the_answer(
    make_dossier: MakeDossier,
) -> None:
    older = make_dossier([], entries=[entry("second")], verdicts=[verdict("second", changed=True)])
    newer = make_dossier([], profile=Profile.CUDA)
    lines = shown(with_headline(older))
    assert not any("the loss falls" in line for line in lines)
    assert any("1 changed after the results" in line for line in lines)
    both = shown(with_headline(older), newer)
    assert "ANSWER  Shown: the loss falls." in both
    assert answer_document([with_headline(older)], []).answer == ()


def test_a_changed_experiment_is_not_judged(make_dossier: MakeDossier) -> None:
    dossier = make_dossier([], verdicts=[verdict("first", VerdictKind.OTHER_PROFILE)])
    changed = replace(dossier, plan=replace(dossier.plan, changed=True))
    assert counts_text(claim_summaries([changed])) == [
        "1 is not judged: the experiment was changed"
    ]
