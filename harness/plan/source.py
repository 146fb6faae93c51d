"""The digest of a workload's source code: what must change for a finished run to be run again."""

from __future__ import annotations

from functools import cache

from harness.source import digest_of
from harness.workloads.api.declare import Workload

_RUNNER = "harness.workloads.__main__"


@cache
def source_digest(workload: Workload) -> str:
    """Return the sha256 over every module of ours that a run of `workload` can load.

    These are the modules that its entry, its derivation and the runner import or start by name, and
    what those import (`harness.source`).
    """
    parts = [part.partition(":")[0] for part in (workload.entry, workload.derivation) if part]
    return digest_of((_RUNNER, *parts))
