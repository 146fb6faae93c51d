"""Every line that only a GPU reaches is listed, with the reason or the test that executes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.spark.device_lines import ROOT, device_branches, listed, sources
from tests.spark.unexecuted import by_function

TEST = re.compile(r"tests/\S+\.py")


def test_the_list_names_what_only_a_gpu_reaches() -> None:
    found = {each.place for path in sources() for each in device_branches(path)}
    assert found, "nothing is found: the conditions are called otherwise now"
    assert found <= listed().keys(), "not listed in tests/spark/needs_device.yaml"


@pytest.mark.parametrize("place", listed())
def test_what_it_names_is_there(place: str) -> None:
    name, _, function = place.partition(":")
    tree: ast.AST = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    for part in function.split("."):
        inner = {each.name: each for each in ast.walk(tree) if isinstance(each, _NAMED)}
        assert part in inner, f"{name} has no {function}"
        tree = inner[part]
    for test in TEST.findall(listed()[place]):
        assert Path(ROOT / test).is_file(), test


_NAMED = ast.FunctionDef | ast.ClassDef


def test_a_line_behind_a_gpu_is_found() -> None:
    path = ROOT / "harness/workloads/api/device.py"
    branches = [each for each in device_branches(path) if each.place.endswith("free_memory")]
    text = path.read_text(encoding="utf-8").splitlines()
    lines = {text[line - 1].strip() for each in branches for line in each.lines}
    assert "free, total = torch.cuda.mem_get_info()" in lines


def test_a_line_that_nothing_executed_is_told_by_its_function() -> None:
    text = "import os\n\n\nclass A:\n    def f(self):\n        if os:\n            return 1\n"
    assert by_function(text, [1, 7]) == {"": [1], "A.f": [7]}
