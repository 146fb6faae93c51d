"""``python -m tests.bench.trials``: is a planted loss caught, and a busy neighbour left alone?

For real, on this machine. Each trial takes up a repository whose workload was measured in some
nights (`tests.bench.planted`), and goes on for up to five nights: one kind with a commit that does
5 % more work, the other with a commit that changes a comment, while other programs keep the
processor busy. Each night is a run, and `harness regress` of it, by the repository's own program. A
glance that shows nothing ends no trial. How busy the machine was anyway is kept with each trial.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from harness import atomic
from harness.history.pairs import Outcome
from harness.records import record, to_json
from tests.bench.cost import ROOT
from tests.bench.planted import Repository, make_repository
from tests.bench.table import machine

FILE = ROOT / "results" / "bench" / "regression-trials.json"
WORK, LOSS = 10_000, 0.05
_BEFORE, _WITHIN = 12, 5
_BUSY = "import os; us = os.getppid()\nwhile os.getppid() == us: pass"  # whatever ends us


@record
class Trial:
    """What came of one trial.

    Attributes:
        result: of its last night.
        nights: how many it took.
        load: average of the last minute before it: that of the trials made beside it, and of what
            else the machine does.
    """

    result: str
    nights: int
    load: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print what came of each trial, and keep the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="of each kind (default 20)")
    parser.add_argument(
        "--jobs", type=int, default=1, help="trials of a loss at a time, a core each (default 1)"
    )
    parser.add_argument("--base", type=Path, help="keep the nights before here, or take them up")
    options = parser.parse_args(arguments)
    results: dict[str, list[Trial]] = {"slower": [], "neighbour": []}
    with tempfile.TemporaryDirectory(prefix="trials-") as name:
        base = _base(options.base or Path(name) / "base")
        for kind, found in results.items():
            # neighbours keep all cores busy, so their trials are made one by one
            with ThreadPoolExecutor(options.jobs if kind == "slower" else 1) as pool:
                places = (Path(name) / f"{kind}-{number}" for number in range(options.trials))
                for trial in pool.map(partial(_trial, kind, base), places):
                    found.append(trial)
                    print(f"{kind} {len(found)}: {trial}", file=sys.stderr, flush=True)
                    _keep(results)
    print(json.dumps(_counts(results), indent=1))
    return 0


def _base(folder: Path) -> Repository:
    """Return the repository after some nights without a change."""
    made = Repository(root=folder / "repository", cache=folder / "cache")
    if made.root.is_dir():
        return made
    made = make_repository(folder, WORK)
    for night in range(_BEFORE):
        made.commit(WORK, f"Night {night}")
        store = folder / "stores" / str(night)
        made.night(store)
        done = made.regress(store)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
    return made


def _trial(kind: str, base: Repository, folder: Path) -> Trial:
    """Go on with the base for some nights, until a finding ends the trial."""
    load = os.getloadavg()[0]
    shutil.copytree(base.root, folder / "repository", symlinks=True)
    tried = Repository(root=folder / "repository", cache=folder / "cache")
    said = []
    with _neighbours(2 * (os.cpu_count() or 1) if kind == "neighbour" else 0):
        for night in range(_WITHIN):
            work = round(WORK * (1 + LOSS)) if kind == "slower" else WORK
            run = tried.root / "harness" / "experiments" / "spin" / "run.py"
            tried.commit(work, "Change it")
            run.write_text(f"{run.read_text(encoding='utf-8')}# {night}\n", encoding="utf-8")
            tried.committed(f"Say {night}")
            tried.night(folder / str(night))
            done = tried.regress(folder / str(night), "--json", "--quiet", "--metric=spin.fastest")
            document: dict[str, Any] = json.loads(done.stdout)
            (figure,) = document["answer"]["figures"]
            said.append(str(figure["result"]))
            if figure["finding"] is not None and figure["result"] != Outcome.NOT_SEEN:
                break
    shutil.rmtree(folder)
    return Trial(result=said[-1], nights=len(said), load=round(load, 1))


@contextmanager
def _neighbours(count: int) -> Iterator[None]:
    command = (sys.executable, "-c", _BUSY)
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def _counts(results: dict[str, list[Trial]]) -> dict[str, Any]:
    return {
        kind: {"trials": len(found), **Counter(each.result for each in found)}
        for kind, found in results.items()
    }


def _keep(results: dict[str, list[Trial]]) -> None:
    each_one = {kind: [to_json(each) for each in found] for kind, found in results.items()}
    document = {"machine": machine(None), "loss": LOSS, **_counts(results), "each": each_one}
    atomic.write_text(FILE, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
