"""The stand-ins of published models, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("peft")
    from .stand_ins import E5, STAND_INS, make  # noqa: PLC0415 - needs transformers

    folder = tmp_path_factory.mktemp("models")
    for name in (*STAND_INS, E5):
        make(folder, name)
    return folder
