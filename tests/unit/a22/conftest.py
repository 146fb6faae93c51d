from __future__ import annotations

from tests.unit.autoresearch.conftest import lines, trials

__all__ = ["lines", "trials"]
