"""``python -m harness.runtime.lifeline PROGRAM ...``: a program that ends when its owner does.

For programs that know nothing of the harness. Standard input is the lifeline, as for workloads:
when the process that holds its other end dies, however it dies, everything started here is ended,
also what has left the process group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from harness.runtime.base import BY_SIGNAL
from harness.runtime.processes import end_group, end_marked, mark_of


def main(command: list[str]) -> int:
    """Run `command` to its end and return its exit code."""
    # a signal to the group reaches the program too; this process stays until that has ended
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
    threading.Thread(target=_end_with_owner, name="lifeline", daemon=True).start()
    code = program.wait()
    return code if code >= 0 else BY_SIGNAL - code


def _end_with_owner() -> None:
    while os.read(0, 4096):
        pass
    if mark := mark_of(os.getpid()):
        end_marked(mark)
    end_group(os.getpgid(0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
