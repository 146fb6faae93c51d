"""The digest that decides whether a finished run still answers: the code that a run executes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import source
from harness.plan.source import source_digest
from harness.workloads.api.declare import Workload
from harness.workloads.api.registry import workload
from harness.workloads.noop import NoopParams

ROOM = "room_of_a_test"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / ROOM
    (folder / "inner").mkdir(parents=True)
    for file in ("__init__.py", "run.py", "inner/__init__.py", "inner/box.py"):
        (folder / file).write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == ROOM]:
        del sys.modules[name]


def digest() -> str:
    declared = Workload(
        name="test", doc="none", params=NoopParams, metrics=(), entry=f"{ROOM}.run:run"
    )
    source._file_of.cache_clear()
    source.digest_of.cache_clear()
    source_digest.cache_clear()
    return source_digest(declared)


@pytest.mark.parametrize(
    "line",
    [
        "from room_of_a_test.inner.box import Box",
        "from room_of_a_test.inner import box",
        "from room_of_a_test.inner import (\n    box,\n)",
        "def late():\n    import room_of_a_test.inner.box",
        'PROGRAM = "room_of_a_test.inner.box"  # python -m',
    ],
)
def test_a_change_of_what_a_run_can_load_counts(room: Path, line: str) -> None:
    (room / "run.py").write_text(line, encoding="utf-8")
    before = digest()
    assert digest() == before
    (room / "inner/box.py").write_text("# another\n", encoding="utf-8")
    assert digest() != before


def test_a_change_of_what_it_never_loads_does_not_count(room: Path) -> None:
    before = digest()
    (room / "inner/box.py").write_text("# another\n", encoding="utf-8")
    assert digest() == before


def test_what_the_imported_imports_counts_too(room: Path) -> None:
    (room / "run.py").write_text("from room_of_a_test.inner import box", encoding="utf-8")
    alone = digest()
    lines = "from harness.workloads.trials.trial import Trial\n"
    (room / "inner/box.py").write_text(lines, encoding="utf-8")
    with_trials = digest()
    (room / "inner/box.py").write_text("import json, os, sys, re, ast\n", encoding="utf-8")
    assert len({alone, with_trials, digest()}) == 3


def test_another_workload_of_the_registry_does_not_count() -> None:
    source_digest.cache_clear()
    source.digest_of.cache_clear()
    read: list[str] = []

    def watched(self: Path, encoding: str | None = None) -> str:
        read.append(str(self))
        return self.read_bytes().decode(encoding or "utf-8")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", watched)
        source_digest(workload("noop"))
    assert any(name.endswith("registry.py") for name in read)
    assert not any("experiments" in name for name in read)


def test_modules_may_import_each_other(room: Path) -> None:
    (room / "run.py").write_text("from room_of_a_test.inner import box", encoding="utf-8")
    (room / "inner/box.py").write_text("from room_of_a_test import run", encoding="utf-8")
    assert digest() == digest()
