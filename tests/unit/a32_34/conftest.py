from __future__ import annotations

from tests.unit.envs_files.conftest import make

__all__ = ["make"]
