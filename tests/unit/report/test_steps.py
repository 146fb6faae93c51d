"""What a table says of segments and steps: which were made here, which were taken from where."""

from __future__ import annotations

from dataclasses import replace

from harness.records import FinishedRun, Segment, StepTaken
from harness.report.cells import cells_table

from .conftest import MakeDossier, MakeRun

A32 = "a32-clawgym-on-spark cpu 0123456789abcdef"


def having(run: FinishedRun, *steps: StepTaken, segments: tuple[Segment, ...] = ()) -> FinishedRun:
    return replace(run, outcome=replace(run.outcome, steps=steps, segments=segments))


def step(name: str, made_by: str = "", *, key: str = "", across: bool = False) -> StepTaken:
    return StepTaken(name=name, key=key or name, made_by=made_by, across_changes=across)


def test_steps_are_told_by_who_made_them(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    run = having(make_run(), step("tasks", A32), step("sft", A32), step("grpo-1"))
    caption = cells_table(make_dossier([run])).caption
    assert f"Steps: 1 made in these runs; taken: tasks, sft from {A32}." in caption


def test_what_a_run_takes_from_its_own_table_is_made_there(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    one = having(make_run(replicate=0), step("tasks"))
    two = having(make_run(replicate=1), step("tasks", "t1-small cpu 0"), step("sft"))
    caption = cells_table(make_dossier([one, two])).caption
    assert "Steps: 2 made in these runs; taken: none." in caption


def test_many_steps_are_told_by_their_ends(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    steps = [step(f"grpo-{number}", A32) for number in range(1, 35)]
    text = " ".join(cells_table(make_dossier([having(make_run(), *steps)])).caption)
    assert "taken: grpo-1, grpo-2, grpo-3, grpo-4, grpo-5 to grpo-34 (34 in all) from" in text


def test_runs_without_steps_say_nothing_of_them(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    text = " ".join(cells_table(make_dossier([make_run()])).caption)
    assert "Steps" not in text
    assert "segments" not in text


def test_segments_are_told_with_why_they_ended(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    last = Segment(began="", ended="2026-05-01T18:00:00+00:00", boot_id="b", steps=1)
    killed = replace(last, ended="2026-05-01T16:00:00+00:00", cause="killed", steps=3)
    whole = having(make_run(replicate=0), segments=(last,))
    cut = having(make_run({"size": 2}, replicate=1), segments=(killed, last))
    (line,) = (
        each for each in cells_table(make_dossier([whole, cut])).caption if "segments" in each
    )
    assert line == (
        "The run of size=2 replicate=1, seed 1 in 2 segments, whose times and energies are added. "
        "Ended before: 2026-05-01T16:00:00+00:00: killed."
    )


def test_steps_of_other_code_are_named(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    run = having(make_run(), step("tasks"), step("sft", across=True))
    caption = cells_table(make_dossier([run])).caption
    assert "Not judged: sft made by other code than the rest." in caption
