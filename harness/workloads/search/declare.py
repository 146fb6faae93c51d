"""The workloads of this room. Loads no torch."""

from __future__ import annotations

from harness.workloads.search.evidence_declare import EVIDENCE

WORKLOADS = (EVIDENCE,)
