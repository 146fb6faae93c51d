"""What is written down of attempts, and what the next one makes of it."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import Artefact, Cost, StepSpec
from harness.errors import InputError, Interrupted
from harness.execution import segments
from harness.records import ImageRef, Profile, RunSpec, Segment, StepTaken, to_json
from harness.results.store import RunStore

SPEC = RunSpec(scenario="a99-example", profile=Profile.CPU, workload="noop", params={"index": 1})
DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def attempt(store: RunStore, steps: int = 1) -> Path:
    """Begin an attempt that makes steps."""
    staged = store.stage(SPEC)
    segments.begin(staged, store, across=False)
    for number in range(steps):
        told(staged, StepTaken(name=f"walk-{number}", key=f"key-{number}"))
    return staged


def told(staged: Path, step: StepTaken) -> None:
    event = {"kind": "stored", "at_s": 1.0, "payload": to_json(step)}
    with (staged / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def test_the_first_attempt_has_none_before_it(store: RunStore) -> None:
    assert segments.begin(store.stage(SPEC), store, across=False) == segments.Attempts()


def test_an_attempt_that_could_say_why_it_ended_is_believed(store: RunStore) -> None:
    staged = attempt(store)
    segments.end(staged, "interrupted by Ctrl-C")
    found = segments.begin(store.stage(SPEC), store, across=False)
    assert found.last is not None
    assert (found.last.cause, found.last.steps) == ("interrupted by Ctrl-C", 1)
    assert found.segments == (found.last,)
    assert [step.name for step in found.steps] == ["walk-0"]
    assert [folder.name for folder in found.folders] == ["1"]


def test_one_that_could_not_is_looked_into_once(store: RunStore) -> None:
    attempt(store)
    first = segments.begin(store.stage(SPEC), store, across=False)
    again = segments.begin(store.stage(SPEC), store, across=False)
    assert first.last is not None
    assert first.last.cause.startswith("killed")
    assert again.segments[0] == first.last


def test_an_attempt_that_left_nothing_is_told_of_and_no_segment(store: RunStore) -> None:
    attempt(store, steps=0)
    found = segments.begin(store.stage(SPEC), store, across=False)
    assert found.last is not None
    assert found.segments == ()


def test_a_part_of_a_step_is_something_to_go_on_from(store: RunStore) -> None:
    staged = attempt(store, steps=0)
    (store.artefacts.begin("whole") / "files" / "rollouts.jsonl").touch()
    (store.artefacts.begin("part") / "files" / "rollouts.jsonl").touch()
    event: dict[str, Any] = {"kind": "begun", "at_s": 1.0}
    for key, keeps in (("whole", False), ("part", True)):
        assert not segments.goes_on(staged, store)
        payload = {"name": key, "key": key, "keeps": keeps}
        with (staged / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({**event, "payload": payload}) + "\n")
    assert segments.goes_on(staged, store)
    assert len(segments.begin(store.stage(SPEC), store, across=False).segments) == 1
    shutil.rmtree(store.artefacts.begin("part"))  # a later attempt has finished it
    assert len(segments.begin(store.stage(SPEC), store, across=False).segments) == 1


def test_a_checkpoint_is_something_to_go_on_from(store: RunStore) -> None:
    staged = attempt(store, steps=0)
    (staged / "checkpoints").mkdir()
    assert len(segments.begin(store.stage(SPEC), store, across=False).segments) == 1


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_a_clock_that_was_set_changes_no_duration(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    staged = attempt(store)
    path = staged / "segment.json"
    begun = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**begun, "began_s": begun["began_s"] + days * DAY_S}), "utf-8")
    found = segments.begin(store.stage(SPEC), store, across=False)
    assert found.segments[0].wall_s == 0.0  # it has no sample
    monkeypatch.setattr(time, "time", lambda: begun["began_s"] - days * DAY_S)
    ended = segments.end(staged, "", 12.5)
    assert ended.wall_s == 12.5


def test_a_record_that_is_damaged_is_no_segment(store: RunStore) -> None:
    staged = attempt(store)
    (staged / "segment.json").write_bytes(bytes(40))
    found = segments.begin(store.stage(SPEC), store, across=False)
    assert found.last is None


def test_events_that_are_damaged_lose_what_is_told_and_no_more(store: RunStore) -> None:
    staged = attempt(store)
    with (staged / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write("damaged\n")
    assert segments.steps_of(staged) == []
    told(staged, StepTaken(name="more", key="k"))
    found = segments.begin(store.stage(SPEC), store, across=False)
    assert found.last is not None


def test_what_ends_an_attempt_is_said_in_a_clause() -> None:
    assert segments.said_of(KeyboardInterrupt()) == "interrupted by Ctrl-C"
    assert segments.said_of(Interrupted("ended by SIGTERM; what was finished is kept")) == (
        "ended by SIGTERM"
    )
    assert segments.said_of(OSError(28, "No space left on device")) == (
        "[Errno 28] No space left on device"
    )
    assert segments.said_of(SystemExit()) == "SystemExit"


def test_another_question_is_no_beginning_of_this_one(store: RunStore) -> None:
    attempt(store)
    other = replace(SPEC, params={"index": 2}, source="new")
    segments.go_on(store, [other], across=False, restart=False)
    assert store.is_staged(SPEC)
    assert not store.is_staged(other)


def test_an_attempt_whose_steps_are_gone_goes_on(store: RunStore) -> None:
    """Their artefacts were deleted, so they are made again whatever the code is."""
    attempt(store)
    new = replace(SPEC, source="new")
    segments.go_on(store, [new], across=False, restart=False)
    assert store.is_staged(new)
    assert not store.is_staged(SPEC)


def test_restarting_forgets_what_was_begun(store: RunStore) -> None:
    attempt(store)
    segments.go_on(store, [SPEC], across=False, restart=True)
    assert not store.is_staged(SPEC)


def test_an_image_that_changed_is_refused_by_step(store: RunStore) -> None:
    image = ImageRef(name="rl", digest="sha256:1")
    spec = StepSpec(name="sft", decides={}, reads={}, place={"image": image.digest}, source="s")
    new = store.artefacts.begin(spec.key)
    (new / "events.jsonl").touch()
    store.artefacts.finish(
        new,
        Artefact(
            spec=spec,
            code=("harness.units",),
            made_by="",
            made_at="",
            device="",
            cost=Cost(wall_s=1.0),
        ),
    )
    staged = attempt(store, steps=0)
    told(staged, StepTaken(name="sft", key=spec.key))
    with pytest.raises(InputError, match="has changed since: sft"):
        segments.go_on(store, [replace(SPEC, image=image)], across=False, restart=False)
    segments.go_on(store, [replace(SPEC, image=image)], across=True, restart=False)
    assert store.is_staged(replace(SPEC, image=image))


def test_a_segment_has_the_form_of_the_record(store: RunStore) -> None:
    assert isinstance(segments.end(attempt(store), ""), Segment)
