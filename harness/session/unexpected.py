"""What nobody foresaw: one line for the user, and a report for whoever mends it."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

from harness import __version__
from harness.errors import HostError, first_line
from harness.printable import plain
from harness.results.redact import redact, redact_arguments


def unexpected(error: Exception) -> HostError:
    """Write what is known of an error into a file that no other user reads, and name it.

    The report holds the command line and the traceback, without secrets.
    """
    command = " ".join(redact_arguments(sys.argv))
    trace = redact("".join(traceback.format_exception(error)))
    message = f"unexpected {type(error).__name__}: {plain(redact(first_line(error)))}"
    try:
        descriptor, path = tempfile.mkstemp(prefix="harness-error-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"harness {__version__}, Python {sys.version}\n{command}\n\n{trace}")
    except OSError as unwritable:
        return HostError(f"{message}; its report cannot be written: {unwritable.strerror}")
    return HostError(f"{message}; its report is {path}")
