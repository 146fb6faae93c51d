"""A scenario names an environment that has what its workloads need."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.scenario.checks import PROVIDES
from harness.scenario.load import load
from harness.scenario.schema import PackageSet

_SCENARIO = """\
scenario: a99-example
title: An example
question: Does it load?
article: {number: 99, title: Nothing}
environment: ENVIRONMENT
workload: WORKLOAD
profiles:
  cpu: {summary: here}
"""


def _folder(root: Path, workload: str, environment: str) -> Path:
    folder = root / "a99-example"
    folder.mkdir()
    text = _SCENARIO.replace("WORKLOAD", workload).replace("ENVIRONMENT", environment)
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("workload", "environment"),
    [
        ("noop", "base"),
        ("pretrain.envelope", "torch"),
        ("pretrain.envelope", "megatron"),
        ("pretrain.frameworks", "megatron"),
    ],
)
def test_an_environment_that_has_enough_loads(
    tmp_path: Path, workload: str, environment: str
) -> None:
    loaded = load(_folder(tmp_path, workload, environment))
    assert loaded.scenario.environment.value == environment


@pytest.mark.parametrize(
    ("workload", "environment", "message", "allowed"),
    [
        ("pretrain.envelope", "base", "pretrain.envelope needs torch", "torch, megatron, nemo, rl"),
        ("pretrain.frameworks", "torch", "pretrain.frameworks needs megatron-core", "megatron"),
    ],
)
def test_one_that_lacks_a_package_is_refused_with_those_that_have_it(
    tmp_path: Path, workload: str, environment: str, message: str, allowed: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(_folder(tmp_path, workload, environment))
    (problem,) = caught.value.problems
    assert (problem.message, problem.allowed) == (message, allowed)
    assert problem.line == 5


def test_what_runs_in_an_image_alone_needs_no_environment(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "noop", "base")
    text = (folder / "scenario.yaml").read_text(encoding="utf-8")
    spark = "  spark: {summary: there, workload: pretrain.envelope, image: nemo}\n"
    (folder / "scenario.yaml").write_text(text + spark, encoding="utf-8")
    assert load(folder).scenario.profiles
    cuda = spark.replace("spark", "cuda", 1)
    (folder / "scenario.yaml").write_text(text + cuda, encoding="utf-8")
    with pytest.raises(InputError, match=r"pretrain\.envelope needs torch"):
        load(folder)


def test_every_environment_says_what_it_has() -> None:
    assert set(PROVIDES) == set(PackageSet)
