"""Machines made of files, and a management library made of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.spark.gb10 import SPARK_FILES, FakeNvml


@pytest.fixture
def fake_nvml() -> type[FakeNvml]:
    return FakeNvml


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that writes files (path -> text) and gives back their root."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def spark(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """The root of a DGX Spark: 20 Arm cores of two kinds, no framebuffer, the spbm sensor."""
    return tree(SPARK_FILES)
