"""The first question to a node. It is sent as code: the node may have another harness, or none."""

from __future__ import annotations

from typing import Any


def probe() -> dict[str, Any]:
    """Return the node's facts as JSON, or why it has none."""
    try:
        from harness.cluster.node import facts  # noqa: PLC0415 - there
        from harness.records import to_json  # noqa: PLC0415
    except ImportError as error:
        return {"absent": str(error)}
    found: dict[str, Any] = to_json(facts())
    return found
