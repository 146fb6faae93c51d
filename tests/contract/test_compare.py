"""``harness compare`` as a user types it: two stores, and two variants run in blocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.records import RunSpec, from_json

from .small import NAME, called, make_project

SWEEP = f"""\
scenario: {NAME}
title: A small question
question: Does a walk depend on where it starts?
article: {{number: 99, title: An example, date: 2026-01-02}}
workload: noop
params: {{value: 3.0, steps: 1}}
sweep: {{product: {{index: [0, 1]}}}}
replicates: 3
profiles:
  cpu: {{summary: on this machine}}
report:
  metrics: [noop.value, noop.walk]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path, SWEEP)


def specs(project: Path) -> list[RunSpec]:
    found = (project / "results" / "local" / NAME / "cpu").glob("*/spec.json")
    return [from_json(RunSpec, json.loads(path.read_text(encoding="utf-8"))) for path in found]


def test_variants_are_run_in_common_blocks_and_compared(project: Path) -> None:
    words = ("compare", NAME, "--profile", "cpu", "--set", "value=3.0", "--set", "value=4.5")
    done = called(project, *words, "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)["answer"]["table"]
    assert table["caption"][:2] == ["A: value=3.0.", "B: value=4.5."]
    rows = [row for row in table["groups"][0]["rows"] if row[1]["text"] == "noop.value"]
    assert [[row[i]["text"] for i in (0, 3, 4, 5, 6)] for row in rows] == [
        [f"index={index}", "3 ± 0", "4.5 ± 0", "1.5", "1.5"] for index in (0, 1)
    ]

    in_order = sorted(specs(project), key=lambda spec: spec.position or 0)
    assert [spec.position for spec in in_order] == [*range(1, 13)]
    for block in range(3):  # one replicate of each cell of each variant
        at_once = in_order[4 * block : 4 * block + 4]
        assert {(spec.params["value"], spec.params["index"]) for spec in at_once} == {
            (value, index) for value in (3.0, 4.5) for index in (0, 1)
        }
        assert {spec.replicate for spec in at_once} == {block}

    again = called(project, *words, "--json")  # takes both
    assert json.loads(again.stdout)["answer"]["table"]["groups"] == table["groups"]
    assert b"started" not in again.stderr


def test_a_limit_decides_the_exit_code(project: Path) -> None:
    called(project, "run", NAME, "--profile", "cpu", "-q", "--only", "index=0", "--replicates=1")
    other = project / "results" / "local"
    same = called(project, "compare", NAME, str(other), "--fail-over", "noop.value=3%")
    assert same.returncode == 0, same.stdout
    assert same.stdout.endswith(b"noop.value is not worse by 3 % or more\n")
    shifted = ("compare", NAME, "--profile", "cpu", "--set", "value=3.0", "--set", "value=4.5")
    more = ("--only", "index=0", "--replicates=4", "--fail-over", "noop.value=3%")
    far = called(project, *shifted, *more)
    assert far.returncode == 1, far.stdout
    assert b"noop.value is worse by more than 3 %: +50 %" in far.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to compare with; give one or the other"),
        (["there", "--set", "value=1", "--set", "value=2"], "two variants and another store"),
        (["--set", "value=1", "--set", "value=2", "--set", "value=3"], "more than two values"),
        (
            ["--set", "value=1", "--set", "value=2", "--fail-over", "noop.value=3"],
            "--fail-over takes a share (got 'noop.value=3'; allowed: METRIC=SHARE%",
        ),
        (["--set", "vale=1", "--set", "vale=2"], "did you mean 'value'?"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    project: Path, words: list[str], said: str
) -> None:
    done = called(project, "compare", NAME, "--profile", "cpu", *words)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert not specs(project)


def test_a_limit_of_no_metric_names_the_nearest(project: Path) -> None:
    called(project, "run", NAME, "--profile", "cpu", "-q", "--only", "index=0", "--replicates=1")
    done = called(
        project, "compare", NAME, str(project / "results/local"), "--fail-over", "noop.valu=3%"
    )
    assert done.returncode == 2
    assert "did you mean 'noop.value'?" in done.stderr.decode()
