"""The digest that decides whether a finished run still answers: the code that a run executes."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.plan import source
from harness.plan.source import source_digest
from harness.workloads.declare import Workload
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
    workload = Workload(
        name="test", doc="none", params=NoopParams, metrics=(), entry=f"{ROOM}.run:run"
    )
    source_digest.cache_clear()
    return source_digest(workload)


@pytest.mark.parametrize("file", ["run.py", "inner/box.py"])
def test_any_change_in_the_room_counts_also_in_a_room_within_it(room: Path, file: str) -> None:
    before = digest()
    assert digest() == before
    (room / file).write_text("# another\n", encoding="utf-8")
    assert digest() != before


def test_a_room_that_the_room_imports_from_counts_too(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = digest()
    lines = "from harness.workloads.lineage.trial import Trial\n"
    (room / "inner/box.py").write_text(lines, encoding="utf-8")
    another = digest()
    monkeypatch.setattr(source, "_ANOTHER_ROOM", re.compile("(?!)"))
    unseen = digest()
    assert len({alone, another, unseen}) == 3


def test_a_room_may_import_from_the_room_that_imports_from_it(room: Path) -> None:
    lines = "from harness.workloads.clawgym.task import Task\n"
    (room / "run.py").write_text(lines, encoding="utf-8")
    assert digest() == digest()
