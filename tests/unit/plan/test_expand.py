"""Planning: every declared cell is planned or skipped with a reason, and decided completely."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.plan.expand import Plan, expand, params_of
from harness.plan.overrides import Overrides, read_overrides
from harness.records import ImageRef, Profile
from harness.scenario.cells import cells_of
from harness.scenario.load import Loaded, load
from harness.scenario.schema import Sweep

SCENARIO = """\
scenario: a99-example
title: An example
question: Does it plan?
article: {number: 99, title: Nothing}
workload: noop
params: {value: 3}
seed: 5
sweep:
  zip: {value: [1, 2], sleep_s: [0.1, 0.2]}
  product: {index: [1, 2, 3]}
  exclude: [{value: 2, index: 3}]
profiles:
  cpu: {summary: here, replicates: 2}
  spark: {summary: there, sweep: {}, params: {exit_code: 4}}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    folder = tmp_path / "a99-example"
    folder.mkdir()
    (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    return load(folder)


def plan_of(loaded: Loaded, *, profile: Profile = Profile.CPU, **changes: list[str]) -> Plan:
    overrides = read_overrides(changes.get("settings", []), None, changes.get("only", []))
    return expand(loaded, profile, overrides)


def test_declared_is_planned_plus_skipped(loaded: Loaded) -> None:
    plan = plan_of(loaded)
    assert plan.num_declared == 2 * 3 * 2
    assert (len(plan.runs), len(plan.skipped)) == (10, 2)
    assert {each.reason for each in plan.skipped} == {"excluded by the scenario"}


def test_cells_come_in_the_order_written_and_replicates_inside_a_cell(loaded: Loaded) -> None:
    runs = plan_of(loaded).runs
    seen = [(each.params["value"], each.params["index"], each.replicate) for each in runs]
    assert seen[:4] == [(1, 1, 0), (1, 1, 1), (1, 2, 0), (1, 2, 1)]
    assert [each.seed for each in runs[:2]] == [5, 6]


def test_zipped_axes_advance_together() -> None:
    sweep = Sweep(zip={"value": [1, 2], "sleep_s": [3, 4]})
    assert list(cells_of(sweep)) == [{"value": 1, "sleep_s": 3}, {"value": 2, "sleep_s": 4}]


def test_no_sweep_is_one_cell(loaded: Loaded) -> None:
    (run,) = plan_of(loaded, profile=Profile.SPARK).runs
    assert run.axes == ()
    assert {name: run.params[name] for name in ("value", "sleep_s", "exit_code", "index")} == {
        "value": 3,
        "sleep_s": 0.0,
        "exit_code": 4,
        "index": 0,
    }


def test_every_param_says_where_it_came_from(loaded: Loaded) -> None:
    overrides = read_overrides(["index=9"])
    origins = {
        name: each.origin.rpartition("/")[2]
        for name, each in params_of(loaded, Profile.SPARK, overrides).items()
    }
    assert origins == {
        "value": "scenario.yaml:6",
        "sleep_s": "default of noop",
        "exit_code": "scenario.yaml:14",
        "index": "--set",
        "steps": "default of noop",
        "step_s": "default of noop",
    }


def test_only_keeps_the_named_cells_and_accounts_for_the_rest(loaded: Loaded) -> None:
    plan = plan_of(loaded, only=["index=1", "index=2", "value=1"])
    assert {(each.params["value"], each.params["index"]) for each in plan.runs} == {(1, 1), (1, 2)}
    assert plan.num_declared == 12
    assert plan.changed


def test_setting_an_axis_takes_it_out_of_the_sweep(loaded: Loaded) -> None:
    plan = plan_of(loaded, settings=["index=7"])
    assert {each.params["index"] for each in plan.runs} == {7}
    assert {each.axes for each in plan.runs} == {("value", "sleep_s")}


@pytest.mark.parametrize(
    ("settings", "only", "message"),
    [
        (["indx=1"], [], "did you mean 'index'"),
        (["index"], [], "takes key=value"),
        (["index=x"], [], "wrong type"),
        (["sleep_s=-1"], [], "out of range"),
        (["value=[1"], [], "is not a YAML value"),
        ([], ["indx=1"], "did you mean 'index'"),
        ([], ["index=4"], "value the axis does not take"),
        ([], ["value=2", "index=3"], "selection leaves no cell"),
    ],
)
def test_a_wrong_argument_is_an_error(
    loaded: Loaded, settings: list[str], only: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plan_of(loaded, settings=settings, only=only)


def test_wrong_arguments_come_all_at_once(loaded: Loaded) -> None:
    with pytest.raises(InputError) as caught:
        plan_of(loaded, settings=["indx=1", "sleep_s=-1"], only=["vale=1"])
    assert len(caught.value.problems) == 3


def test_a_params_file_is_read_and_its_mistakes_have_their_line(
    loaded: Loaded, tmp_path: Path
) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("index: 4\nexit_cod: 3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"params.yaml:2:1: exit_cod: unknown parameter"):
        expand(loaded, Profile.CPU, read_overrides([], file))
    file.write_text("index: 4\n", encoding="utf-8")
    assert expand(loaded, Profile.CPU, read_overrides([], file)).runs[0].params["index"] == 4
    overrides = read_overrides(["index=5"], file)
    assert expand(loaded, Profile.CPU, overrides).runs[0].params["index"] == 5


def test_a_profile_that_is_not_there_is_named(loaded: Loaded) -> None:
    with pytest.raises(InputError, match="unknown profile"):
        expand(loaded, Profile.CUDA, Overrides())


def test_ids_depend_on_what_decides_a_result_and_on_nothing_else(loaded: Loaded) -> None:
    plain = plan_of(loaded).runs
    again = plan_of(loaded).runs
    image = expand(loaded, Profile.CPU, Overrides(), ImageRef(name="cpu", digest="sha256:1")).runs
    assert [each.run_id for each in plain] == [each.run_id for each in again]
    assert len({each.run_id for each in (*plain, *image)}) == 20
    assert {each.point_id for each in plain} == {each.point_id for each in image}
    assert len({each.point_id for each in plain}) == 5


@pytest.mark.parametrize(
    ("typed", "timeout_s"), [("90", 90.0), ("90s", 90.0), ("30m", 1800.0), ("1.5d", 129_600.0)]
)
def test_a_time_out_on_the_command_line_is_no_other_experiment(
    loaded: Loaded, typed: str, timeout_s: float
) -> None:
    plan = expand(loaded, Profile.CPU, read_overrides(timeout=typed))
    usual = expand(loaded, Profile.CPU, Overrides())
    assert {run.limits.timeout_s for run in plan.runs} == {timeout_s}
    assert not plan.changed
    assert [run.run_id for run in plan.runs] == [run.run_id for run in usual.runs]


@pytest.mark.parametrize("typed", ["", "soon", "-3h", "0", "inf", "nan", "3w", "h"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(InputError, match="--timeout takes a time"):
        read_overrides(timeout=typed)


def test_the_far_fence_leaves_a_slow_machine_room(loaded: Loaded) -> None:
    week_s = 604_800.0
    text = loaded.document.path.read_text(encoding="utf-8")

    def fence_s(hours: float, limits: str = "") -> float:
        estimate = f"estimate: {{hours: {hours}, source: a guess}}{limits}"
        changed = text.replace("summary: here,", f"summary: here, {estimate},")
        loaded.document.path.write_text(changed, encoding="utf-8")
        (fence,) = {
            run.limits.timeout_s
            for run in expand(load(loaded.folder), Profile.CPU, Overrides()).runs
        }
        return fence

    assert fence_s(1.0) == week_s
    assert fence_s(48.0) == 10 * 48 * 3600
    assert fence_s(48.0, ", limits: {timeout_s: 60.0}") == 60.0


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("org/name #2", None),
        ("#2", None),
        ('"a" #2', None),
        ("[1, 2] # two", None),
        ("a #", None),
        ('"org/name #2"', "org/name #2"),
        ("'#'", "#"),
        ("a#2", "a#2"),
        ('[1, "a #b"]', [1, "a #b"]),
    ],
)
def test_a_value_that_would_lose_its_end_is_refused(given: str, value: object) -> None:
    if value is not None:
        assert read_overrides([f"model={given}"]).params == {"model": value}
        return
    with pytest.raises(InputError, match="--set model: what follows # would be lost; quote"):
        read_overrides([f"model={given}"])
