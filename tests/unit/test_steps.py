"""The steps of a workload: made once, taken after that, with the events that they wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HostError
from harness.records import ImageRef, Profile, RunSpec, StepTaken, from_json
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Metric
from harness.workloads.api.emit import EventWriter, read_events
from harness.workloads.api.steps import EarlierSegments, Steps

METRICS = (Metric(name="loss", unit="1", doc="of a step"),)
CODE = ("harness.units",)


class Run:
    """One run, in a folder of its own, of many that share a store of steps."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0
        self.events: list[dict[str, Any]] = []

    @contextmanager
    def __call__(
        self,
        scenario: str = "a99-one",
        *,
        image: ImageRef | None = None,
        device: str = "box",
        earlier: EarlierSegments | None = None,
    ) -> Iterator[Context]:
        self.count += 1
        out = self.root / f"out-{self.count}"
        out.mkdir(parents=True)
        spec = RunSpec(
            scenario=scenario, profile=Profile.CPU, workload="noop", params={}, image=image
        )
        try:
            with EventWriter(out / "events.jsonl", METRICS) as emit:
                emit.started(device)
                steps = Steps(spec, emit, self.root / "store", earlier)
                yield Context(spec=spec, params=None, out=out, emit=emit, steps=steps)
        finally:
            self.events = [
                {"kind": each.kind, **each.payload} for each in read_events(out / "events.jsonl")
            ]

    @property
    def stored(self) -> list[StepTaken]:
        """The steps of the last run."""
        found = [dict(each) for each in self.events if each["kind"] == "stored"]
        return [
            from_json(StepTaken, {name: each[name] for name in each if name != "kind"})
            for each in found
        ]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def fit(context: Context, *, portable: bool = False, **decides: Any) -> str:
    """Make or take a step that leaves a word and reports a figure."""
    with context.steps.step("sft", decides=decides, code=CODE, portable=portable) as step:
        if step.is_new:
            (step.folder / "word").write_text(str(decides), encoding="utf-8")
            context.emit.measured("loss", 0.5, where={"step": 1})
            step.facts["sync_s"] = [0.1]
    assert step.facts == {"sync_s": [0.1]}
    return (step.folder / "word").read_text(encoding="utf-8")


def test_what_is_taken_is_what_was_made(run: Run) -> None:
    with run("a32") as context:
        made = fit(context, rate=0.1)
    first = [each for each in run.events if each["kind"] == "measured"]
    (step,) = run.stored
    assert (step.name, step.made_by, step.made_now) == ("sft", "", True)
    with run("a33") as context:
        assert fit(context, rate=0.1) == made
        assert [each.name for each in context.steps.done] == ["sft"]
    assert [each for each in run.events if each["kind"] == "measured"] == first
    (step,) = run.stored
    assert step.made_by.startswith("a32 cpu ")
    assert not step.made_now


def test_another_param_makes_another_step(run: Run) -> None:
    for rate in (0.1, 0.2):
        with run() as context:
            fit(context, rate=rate)
        assert run.stored[0].made_now


@pytest.mark.parametrize(
    "other", [{"device": "another box"}, {"image": ImageRef(name="rl", digest="sha256:1")}]
)
def test_where_it_was_made_decides_a_step_unless_it_is_portable(
    run: Run, other: dict[str, Any]
) -> None:
    with run() as context:
        fit(context, rate=0.1)
        fit(context, rate=0.2, portable=True)
    with run("a33", **other) as context:
        fit(context, rate=0.1)
        fit(context, rate=0.2, portable=True)
    assert [step.made_now for step in run.stored] == [True, False]


def test_a_step_that_broke_leaves_nothing_to_take(run: Run) -> None:
    def broken() -> None:
        with (
            run() as context,
            context.steps.step("sft", decides={}, code=CODE, keeps=("log",)) as step,
        ):
            (step.folder / "log").write_text("a part", encoding="utf-8")
            (step.folder / "half").write_text("half", encoding="utf-8")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert run.stored == []
    with run() as context, context.steps.step("sft", decides={}, code=CODE, keeps=("log",)) as step:
        assert step.is_new
        assert [path.name for path in step.folder.iterdir()] == ["log"]
    assert run.stored[0].made_now


def test_a_step_that_is_not_whole_can_be_read_and_is_made_again(run: Run) -> None:
    with run() as context:
        with context.steps.step("evaluation", decides={}, code=CODE, keeps=("log",)) as step:
            (step.folder / "log").write_text("one of them broke", encoding="utf-8")
            context.emit.measured("loss", 0.5)
            step.is_whole = False
        assert (step.folder / "log").read_text(encoding="utf-8") == "one of them broke"
    assert run.stored == []
    assert [each["metric"] for each in run.events if each["kind"] == "measured"] == ["loss"]
    with (
        run() as context,
        context.steps.step("evaluation", decides={}, code=CODE, keeps=("log",)) as two,
    ):
        assert two.is_new
        assert [path.name for path in two.folder.iterdir()] == ["log"]
    assert run.stored[0].made_now


def test_steps_do_not_nest(run: Run) -> None:
    with (
        run() as context,
        context.steps.step("outer", decides={}, code=CODE),
        pytest.raises(ValueError, match="'inner' begins within step 'outer'"),
        context.steps.step("inner", decides={}, code=CODE),
    ):
        pass


def test_a_step_of_an_earlier_segment_is_the_run_s_own(run: Run) -> None:
    with run("a99-old") as context:
        fit(context)
    (made,) = run.stored
    with run("a99-new", earlier=EarlierSegments(own=(made.key,))) as context:
        fit(context)
    assert (run.stored[0].made_by, run.stored[0].made_now) == ("", False)


def test_a_step_of_other_code_is_taken_where_it_is_asked_for(run: Run) -> None:
    with run() as context, context.steps.step("sft", decides={}, code=("harness.errors",)) as step:
        (step.folder / "word").touch()
    assert step.artefact is not None
    across = {step.artefact.spec.identity: step.artefact.key}
    with run() as context, context.steps.step("sft", decides={}, code=CODE) as other:
        assert other.is_new
    earlier = EarlierSegments(across=across)
    with run(earlier=earlier) as context, context.steps.step("sft", decides={}, code=CODE) as own:
        assert not own.is_new  # the present code's own is there, and goes before the other's
    assert not run.stored[0].across_changes
    newer = ("harness.statistics",)
    with (
        run(earlier=earlier) as context,
        context.steps.step("sft", decides={}, code=newer) as taken,
    ):
        assert not taken.is_new
    assert run.stored[0].across_changes


def test_a_store_that_cannot_be_written_to_is_known_before_the_work(run: Run) -> None:
    (run.root / "store").write_text("a file", encoding="utf-8")
    with pytest.raises(HostError, match="cannot write"), run() as context:
        fit(context)
