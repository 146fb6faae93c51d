"""``python -m tests.bench``: measure what the harness costs, print the table and keep it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from harness import atomic
from harness.errors import HostError
from harness.records import record
from tests.bench import against
from tests.bench.byhand import locked_image
from tests.bench.cost import ROOT, Cost
from tests.bench.ours import Harness
from tests.bench.peer import ReFrame
from tests.bench.table import Result, machine, text_table, write_file

_FILE = ROOT / "results" / "bench" / "harness-cost.json"
_CHANGE_FILE = ROOT / "results" / "bench" / "change.json"
_FEWEST_RUNS = 7  # a median of fewer follows whatever else the machine did

Measure = Callable[[], float]


@record
class Row:
    """One line of the table.

    Attributes:
        name: what ``--only`` calls it.
        what: what is done.
        target_s: what it may cost, seconds; CPU time unless `what` says otherwise.
        ours: the harness doing it once.
        peer: ReFrame doing the same once; None where it has nothing of the kind.
        needs_image: whether it needs an engine that has the locked image.
    """

    name: str
    what: str
    target_s: float
    ours: Callable[[Harness], float]
    peer: Callable[[ReFrame], float] | None = None
    needs_image: bool = False


ROWS = (
    Row(
        name="version",
        what="--version",
        target_s=0.2,
        ours=Harness.version,
        peer=ReFrame.version,
    ),
    Row(
        name="list-cold",
        what="list 1000 scenarios, no index",
        target_s=1.5,
        ours=Harness.list_cold,
        peer=ReFrame.list_scenarios,
    ),
    Row(
        name="list",
        what="list 1000 scenarios",
        target_s=0.3,
        ours=Harness.list_indexed,
        peer=ReFrame.list_scenarios,
    ),
    Row(
        name="cell",
        what="a cell beyond its program",
        target_s=0.01,
        ours=Harness.cell,
        peer=ReFrame.cell,
    ),
    Row(
        name="container",
        what="a container cell beyond docker run (wall)",
        target_s=0.06,
        ours=Harness.container_cell,
        needs_image=True,
    ),
    Row(name="rerun", what="run of 100 finished cells", target_s=0.8, ours=Harness.rerun),
    Row(name="check", what="check 1000 rows, 1000 entries", target_s=0.6, ours=Harness.check),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows asked for."""
    options = _parser().parse_args(arguments)
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    if options.against:
        names = [row.ours.__name__ for row in rows if not row.needs_image]
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            found = against.changes(options.against, names, max(2, options.runs), Path(name))
        print(against.table(options.against, found))
        kept = {"machine": machine(None), **against.document(options.against, found)}
        atomic.write_text(_CHANGE_FILE, json.dumps(kept, indent=1) + "\n")
        return 0
    if any(row.needs_image for row in rows) and (lacking := _no_image()):
        print(f"no container cell: {lacking}", file=sys.stderr)
        rows = [row for row in rows if not row.needs_image]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        ours = Harness(Path(name) / "harness")
        place = Path(name) / "reframe"
        peer = ReFrame(options.reframe, place, ours.a_spec) if options.reframe else None
        results = _measured(rows, ours, peer, options.runs)
    print(text_table(results))
    if options.only or options.runs < _FEWEST_RUNS:
        print("not kept: only all rows and at least 7 runs are", file=sys.stderr)
    else:
        write_file(_FILE, results, options.reframe)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], choices=[row.name for row in ROWS], metavar="ROW"
    )
    parser.add_argument("--runs", type=int, default=9, help="after one that warms up (default 9)")
    parser.add_argument(
        "--reframe", type=Path, metavar="PROGRAM", help="measure this ReFrame as well"
    )
    parser.add_argument(
        "--against",
        metavar="REVISION",
        help="measure this commit too, in turn, and say which figure changed; ReFrame is left out",
    )
    return parser


def _no_image() -> str:
    """Say why no container cell can be run here; nothing where one can."""
    try:
        locked_image()
    except HostError as error:
        return str(error)
    return ""


def _measured(
    rows: Sequence[Row], ours: Harness, peer: ReFrame | None, num_runs: int
) -> list[Result]:
    """Measure everything in turn, again and again, so that all of it meets the same noise."""
    measures: dict[object, Measure] = {}
    for row in rows:
        measures[row.ours] = partial(row.ours, ours)
        if row.peer is not None and peer is not None:
            measures[row.peer] = partial(row.peer, peer)
    samples: dict[object, list[float]] = {work: [] for work in measures}
    for number in range(num_runs + 1):
        print(f"run {number} of {num_runs}", file=sys.stderr)
        for work, measure in measures.items():
            samples[work].append(measure())
    costs = {work: Cost(samples_s=tuple(taken[1:])) for work, taken in samples.items()}
    return [
        Result(
            name=row.name,
            what=row.what,
            target_s=row.target_s,
            harness=costs[row.ours],
            reframe=costs.get(row.peer),
        )
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
