"""The error that a loss or gradient is not finite. Loads no torch."""

from __future__ import annotations

from harness.errors import HarnessError


class DivergedError(HarnessError):
    """A loss or gradient is not finite; the update was not made, and the message says of what."""
