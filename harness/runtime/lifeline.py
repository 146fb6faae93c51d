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
from harness.runtime.processes import end_marked, mark_of


def main(command: list[str]) -> int:
    """Run `command` to its end, end whatever it left running, and return its exit code."""
    # a signal to the group reaches the program too; this process stays until that has ended
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
    threading.Thread(target=_end_with_owner, args=(program,), name="lifeline", daemon=True).start()
    code = program.wait()
    if mark := mark_of(os.getpid()):
        end_marked(mark)
    return code if code >= 0 else BY_SIGNAL - code


def _end_with_owner(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    program.kill()  # and `main` goes on


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
