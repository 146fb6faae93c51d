"""``python -m harness.workloads NAME spec.json OUT``: run one workload in this process.

The runtimes start this command line and never import a workload; the two sides meet in spec.json
and events.jsonl. Standard input is the lifeline: when the runtime that holds its other end dies,
however it dies, this process and all it started are ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

from harness.artefacts import FOLDER
from harness.errors import HarnessError, HostError
from harness.reading import read_json
from harness.records import RunSpec, from_json
from harness.variables import ARTEFACTS_VARIABLE
from harness.workloads.api.context import Context
from harness.workloads.api.declare import build
from harness.workloads.api.emit import EVENTS_FILE, EventWriter
from harness.workloads.api.passes import PASSES_FILE, rehearsed
from harness.workloads.api.progress import PROGRESS_FILE, written_to
from harness.workloads.api.registry import workload
from harness.workloads.api.steps import EARLIER_FILE, EarlierSegments, Steps

_USAGE = "usage: python -m harness.workloads NAME spec.json OUT"
_NUM_ARGUMENTS = 3
LIFELINE_VARIABLE = "HARNESS_LIFELINE"  # set by a runtime that holds the other end of our stdin


def main(arguments: list[str]) -> int:
    """Run the workload and return the exit code."""
    if len(arguments) != _NUM_ARGUMENTS:
        print(_USAGE, file=sys.stderr)
        return 2
    hold_lifeline()
    name, spec_file, out = arguments[0], Path(arguments[1]), Path(arguments[2])
    spec = from_json(RunSpec, read_json(spec_file.read_bytes()))
    try:
        run(name, spec, out)
    except HarnessError as error:
        said = error.about(spec.scenario) if isinstance(error, HostError) else error
        print(said, file=sys.stderr)
        return error.exit_code
    return 0


def run(name: str, spec: RunSpec, out: Path) -> None:
    """Run workload `name` on `spec`, writing its events under `out`."""
    declared = workload(name)
    module, _, function = declared.entry.partition(":")
    program = getattr(import_module(module), function)
    artefacts = Path(os.environ.get(ARTEFACTS_VARIABLE, out / FOLDER))
    rehearsal = spec.rehearsal
    with (
        written_to(out / PROGRESS_FILE),
        rehearsed(rehearsal, out / PASSES_FILE) if rehearsal else nullcontext(),
        EventWriter(out / EVENTS_FILE, declared.metrics) as emit,
    ):
        program(
            Context(
                spec=spec,
                params=build(declared.params, spec.params),
                out=out,
                emit=emit,
                steps=Steps(spec, emit, artefacts, _earlier(out), out),
            )
        )


def _earlier(out: Path) -> EarlierSegments:
    path = out / EARLIER_FILE
    if not path.exists():
        return EarlierSegments()
    return from_json(EarlierSegments, read_json(path.read_bytes()))


def hold_lifeline() -> None:
    """End this process group when standard input, whose other end the runtime holds, closes.

    One that is closed already ends it before anything is written: the next harness may be at work
    in the same folder.
    """
    if os.environ.get(LIFELINE_VARIABLE):
        if select.select([0], [], [], 0)[0]:  # nothing is ever written to it
            _end_with_lifeline()
        threading.Thread(target=_end_with_lifeline, name="lifeline", daemon=True).start()


def _end_with_lifeline() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
