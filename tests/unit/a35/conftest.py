from __future__ import annotations

from tests.unit.trials.conftest import folder

__all__ = ["folder"]
