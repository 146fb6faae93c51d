"""The closed set of laws: when each holds, by what margin, and what a ledger may ask of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.check import laws, wording
from harness.check.laws import LAWS, law_problems
from harness.records import FinishedRun, Status, Verdict, VerdictKind
from harness.scenario.expectations import Expectations
from harness.scenario.positions import parse
from harness.workloads.api.declare import Metric

from .builders import METRICS, entry, row, run, verdict

REPRODUCED, OUTSIDE = VerdictKind.REPRODUCED, VerdictKind.OUTSIDE
MISSING, RUN_FAILED = VerdictKind.MISSING, VerdictKind.RUN_FAILED


def law(name: str, metric: str, runs: list[FinishedRun], **facts: Any) -> Verdict:
    """Ask a law; facts are its params, but for abs, rel, unit and where."""
    stated: dict[str, Any] = {key: facts.pop(key) for key in ("abs", "rel") if key in facts}
    own = {key: facts.pop(key) for key in ("unit", "where") if key in facts}
    return verdict(entry("law", metric, {"law": name, "params": facts, **stated}, **own), runs)


def cells(metric: str, key: str, values: dict[float, float], **params: Any) -> list[FinishedRun]:
    return [run(row(metric, value), params={**params, key: at}) for at, value in values.items()]


LOSSES = cells("loss", "size", {2: 11.02, 4: 11.04, 8: 11.03})
SPEEDS = cells("speed", "batch", {2: 100.0, 4: 120.0, 8: 130.0, 16: 130.0})


def test_every_law_is_said_in_words() -> None:
    assert {*wording.LAWS} == {*LAWS}
    fp8 = {"precision": "fp8", "batch_size": 16}
    runs = cells("speed", "batch_size", {8: 1.0, 16: 2.0}, precision="fp8")
    best = law("best_cell", "speed", runs, cell=fp8, extreme="highest")
    assert best.expected == "highest at precision=fp8 batch_size=16"
    rising = law("monotone", "speed", runs, along="batch_size", direction="rises", rel=0.01)
    assert rising.expected == "rises along batch_size (slack 1 %)"
    assert law("all_cells", "loss", LOSSES, low=6.904).expected == "every cell >= 6.904 nat"
    assert law("falls", "loss", LOSSES, than="loss.first").expected == "below loss.first"


def test_all_cells_lie_in_the_interval() -> None:
    assert law("all_cells", "loss", LOSSES, low=10.98, high=11.04).kind is REPRODUCED
    found = law("all_cells", "loss", LOSSES, high=11.03)
    assert (found.kind, found.measured) == (OUTSIDE, "11.02 .. 11.04 nat")
    assert found.detail == "nearest an end: 11.04 nat at size=4; margin -0.01 nat"


def test_all_cells_looks_at_the_selected_only() -> None:
    assert law("all_cells", "loss", LOSSES, high=11.03, where={"size": 8}).kind is REPRODUCED


@pytest.mark.parametrize(
    ("cell", "extreme", "kind"),
    [
        ({"batch": 2}, "lowest", REPRODUCED),
        ({"batch": 2}, "highest", OUTSIDE),
        ({"batch": 16}, "highest", OUTSIDE),  # shares the place: a tie is not best
        ({"batch": 99}, "highest", MISSING),
    ],
)
def test_best_cell(cell: dict[str, Any], extreme: str, kind: VerdictKind) -> None:
    assert law("best_cell", "speed", SPEEDS, cell=cell, extreme=extreme).kind is kind


def test_best_cell_may_name_several_and_be_tolerant() -> None:
    runs = [
        run(row("speed", speed), params={"precision": precision, "batch": batch})
        for precision, batch, speed in (("fp8", 1, 90.0), ("fp8", 2, 140.0), ("bf16", 2, 139.0))
    ]
    fp8 = {"cell": {"precision": "fp8"}, "extreme": "highest"}
    found = law("best_cell", "speed", runs, **fp8)
    assert (found.kind, found.measured) == (REPRODUCED, "140 token/s at precision=fp8 batch=2")
    wide = {"cell": {"precision": "bf16"}, "extreme": "highest"}
    assert law("best_cell", "speed", runs, **wide).kind is OUTSIDE
    assert law("best_cell", "speed", runs, **wide, rel=0.01).kind is REPRODUCED


def test_one_broken_cell_leaves_the_best_unknown() -> None:
    runs = [*SPEEDS, run(params={"batch": 32}, status=Status.OUT_OF_MEMORY, cause="killed")]
    assert law("best_cell", "speed", runs, cell={"batch": 2}, extreme="lowest").kind is RUN_FAILED


def test_monotone_is_weak_and_tells_the_worst_step() -> None:
    assert law("monotone", "speed", SPEEDS, along="batch", direction="rises").kind is REPRODUCED
    found = law("monotone", "speed", SPEEDS, along="batch", direction="falls")
    assert found.kind is OUTSIDE
    assert found.detail.startswith(
        "worst of 3: 100 token/s at batch=2, then 120 token/s at batch=4"
    )


def test_monotone_fixes_the_other_axes() -> None:
    runs = [
        *cells("speed", "batch", {1: 10.0, 2: 20.0}, precision="bf16"),
        *cells("speed", "batch", {1: 5.0, 2: 7.0}, precision="fp8"),
    ]
    assert law("monotone", "speed", runs, along="batch", direction="rises").kind is REPRODUCED


def test_an_axis_needs_two_cells_and_numbers() -> None:
    one = cells("speed", "batch", {2: 100.0})
    found = law("monotone", "speed", one, along="batch", direction="rises")
    assert (found.kind, found.detail) == (MISSING, "no two cells differ in batch only")
    found = law("monotone", "speed", one, along="beach", direction="rises")
    assert (found.kind, found.detail) == (RUN_FAILED, "batch=2 has no number 'beach'")


def test_plateau_starts_where_it_is_said_to() -> None:
    assert law("plateau", "speed", SPEEDS, along="batch", start=8, rel=0.0).kind is REPRODUCED
    assert law("plateau", "speed", SPEEDS, along="batch", start=4, rel=0.01).kind is OUTSIDE
    assert law("plateau", "speed", SPEEDS, along="batch", start=4, rel=0.1).kind is REPRODUCED
    assert law("plateau", "speed", SPEEDS, along="batch", start=3, rel=0.1).kind is MISSING


def test_a_line_is_fitted_over_a_product_of_keys() -> None:
    runs = [
        run(row("loss", 3.0 + 0.5 * batch * length), params={"batch": batch, "length": length})
        for batch in (1, 2, 4)
        for length in (10, 20)
    ]
    runs.append(run(row("loss", 99.0), params={"batch": 1, "length": 1}))
    line = {"over": ["batch", "length"], "least": 10, "abs": 1e-9}
    for coefficient, value in (("slope", 0.5), ("intercept", 3.0), ("residual", 0.0)):
        found = law("linear_fit", "loss", runs, **line, coefficient=coefficient, value=value)
        assert found.kind is REPRODUCED, found
        assert "a line through 6 of 7 cells" in found.detail
    off = law("linear_fit", "loss", runs, **line, coefficient="slope", value=0.51)
    assert (off.kind, off.measured) == (OUTSIDE, "0.5 nat")
    few = law("linear_fit", "loss", runs, **{**line, "least": 80}, coefficient="slope", value=0.5)
    assert few.kind is MISSING


@pytest.mark.parametrize(("last", "kind"), [(7.6, REPRODUCED), (11.03, OUTSIDE), (12.0, OUTSIDE)])
def test_falls_compares_within_one_run(last: float, kind: VerdictKind) -> None:
    runs = [
        run(row("loss.first", first), row("loss", low), params={"size": size})
        for size, first, low in ((1, 11.03, last), (2, 20.0, 15.0))
    ]
    assert law("falls", "loss", runs, than="loss.first").kind is kind


def test_falls_by_more_than_was_asked() -> None:
    runs = [run(row("loss.first", 11.0), row("loss", 10.0))]
    assert law("falls", "loss", runs, than="loss.first", by=0.9).kind is REPRODUCED
    assert law("falls", "loss", runs, than="loss.first", by=1.0).kind is OUTSIDE


# --- the GPT of article 19 ------------------------------------------------------------------------

ARTICLE_19 = [  # precision, sequence length, batch size, published peak in GiB
    ("bf16", 1024, 2, 5.26), ("bf16", 1024, 4, 7.94), ("bf16", 1024, 16, 25.63),
    ("bf16", 2048, 16, 49.24), ("fp8", 1024, 2, 5.60), ("fp8", 2048, 2, 8.05),
    ("fp8", 1024, 16, 24.33), ("fp8", 2048, 16, 46.06),
]  # fmt: skip


def steps(metric: str, value: float, precision: str, seq_len: int, batch_size: int) -> FinishedRun:
    params = {"precision": precision, "seq_len": seq_len, "batch_size": batch_size}
    return run(row(metric, value), params=params)


def test_the_published_peaks_follow_the_memory_law() -> None:
    runs = [steps("memory", peak, *cell) for *cell, peak in ARTICLE_19]  # type: ignore[arg-type]
    assert law("memory_law", "memory", runs, loop="published", rel=0.011).kind is REPRODUCED
    assert law("memory_law", "memory", runs, loop="published", rel=0.005).kind is OUTSIDE


def test_the_harness_has_a_law_of_its_own() -> None:
    runs = [steps("memory", 5.26, "bf16", 1024, 2)]
    theirs = law("memory_law", "memory", runs, loop="published", abs=1.0)
    ours = law("memory_law", "memory", runs, abs=1.0)
    assert ours.kind is theirs.kind is REPRODUCED
    assert ours.detail != theirs.detail


@pytest.mark.parametrize(
    ("seq_len", "count", "kind"),
    [
        (1024, 354_601_984, REPRODUCED),
        (2048, 355_650_560, REPRODUCED),
        (1024, 354_601_985, OUTSIDE),
    ],
)
def test_parameters_follow_the_formula(seq_len: int, count: int, kind: VerdictKind) -> None:
    runs = [steps("parameters", count, "bf16", seq_len, 4)]
    assert law("parameter_count", "parameters", runs).kind is kind


def test_a_row_that_is_no_training_step_is_invalid() -> None:
    found = law("parameter_count", "parameters", [run(row("parameters", 1))])
    assert found.kind is RUN_FAILED
    assert "is not a training step" in found.detail


# --- validation -----------------------------------------------------------------------------------

LEDGER = """\
scenario: a00-test
expectations:
- id: one
  metric: loss
  unit: nat
  class: invariant
  source: article 0
  reason: a test
  kind: law
  expect: {expect}
"""


def problems(expect: str) -> list[str]:
    document = parse(LEDGER.replace("{expect}", expect), Path("expectations.yaml"))
    (asked,) = Expectations.model_validate(document.value).expectations
    return [str(problem) for problem in law_problems(asked, document, ("expectations", 0))]


@pytest.mark.parametrize(
    "expect",
    [
        "{law: all_cells, params: {low: 1}}",
        "{law: best_cell, params: {cell: {batch_size: 16, precision: fp8}, extreme: highest}}",
        "{law: linear_fit, params: {over: [a, b], coefficient: slope, value: 1}, rel: 0.02}",
        "{law: parameter_count}",
        "{law: falls, params: {than: loss.first}}",
    ],
)
def test_a_right_law_has_no_problems(expect: str) -> None:
    assert problems(expect) == []


@pytest.mark.parametrize(
    ("expect", "place", "words"),
    [
        ("{law: memory_lore}", "10:12", ["unknown law", "did you mean 'memory_law'?"]),
        (
            "{law: monotone, params: {allong: step, direction: rises}}",
            "10:36",
            ["unknown parameter", "did you mean 'along'?"],
        ),
        ("{law: plateau, params: {along: a}}", "10:26", ["start: parameter is required"]),
        (
            "{law: monotone, params: {along: a, direction: up}}",
            "10:46",
            ["not an allowed value", "rises, falls"],
        ),
        ("{law: all_cells, params: {low: x}}", "10:37", ["wrong type"]),
        ("{law: all_cells}", "10:3", ["give low, high or both"]),
        ("{law: all_cells, params: {low: 2, high: 1}}", "10:28", ["low is above high"]),
        ("{law: best_cell, params: {cell: {}, extreme: lowest}}", "10:28", ["cell is empty"]),
        ("{law: falls, params: {than: a}, rel: 0.1}", "10:43", ["takes no tolerance"]),
    ],
)
def test_every_mistake_has_a_place(expect: str, place: str, words: list[str]) -> None:
    found = problems(expect)
    assert found
    text = "\n".join(found)
    assert text.startswith(f"expectations.yaml:{place}: "), text
    assert all(word in text for word in words), text


def test_other_kinds_have_no_law_problems() -> None:
    text = LEDGER.replace("kind: law", "kind: bound").replace("{expect}", "{low: 1}")
    document = parse(text, Path("expectations.yaml"))
    (asked,) = Expectations.model_validate(document.value).expectations
    assert list(law_problems(asked, document, ("expectations", 0))) == []


def test_every_law_is_documented() -> None:
    for relation in LAWS.values():
        assert relation.params.__doc__
        assert relation.test.__doc__


def test_the_builders_metrics_are_declared() -> None:
    assert all(isinstance(metric, Metric) for metric in METRICS.values())


def test_checking_knows_no_workload() -> None:
    """Of the workloads it imports how they are declared and found, and nothing else."""
    folder = Path(laws.__file__).parent
    sources = "\n".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    imported = re.findall(r"^(?:from|import) harness\.workloads\.?(\w*)", sources, re.MULTILINE)
    assert {*imported} == {"api"}
    assert "harness.experiments" not in sources
