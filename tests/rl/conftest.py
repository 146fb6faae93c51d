"""The base that all tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .small import new_base  # noqa: PLC0415 - needs transformers

    return new_base(tmp_path_factory.mktemp("base"))
