"""``python -m tests.bench.trials``: is a planted loss caught, and a busy neighbour left alone?

For real, on this machine. Each trial takes up a repository whose workload was measured in some
nights (`tests.bench.planted`), and goes on for up to five nights: one kind with a commit that does
5 % more work, the other with a commit that changes a comment, while other programs keep the
processor busy. Each night is a run, and `harness regress` of it, by the repository's own program.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import atomic
from tests.bench.cost import ROOT
from tests.bench.planted import Repository, make_repository
from tests.bench.table import machine

FILE = ROOT / "results" / "bench" / "regression-trials.json"
WORK, LOSS = 10_000, 0.05
_BEFORE, _WITHIN = 12, 5
_BUSY = "while True: pass"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print what came of each trial, and keep the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="of each kind (default 20)")
    parser.add_argument("--base", type=Path, help="keep the nights before here, or take them up")
    options = parser.parse_args(arguments)
    results: dict[str, list[str]] = {"slower": [], "neighbour": []}
    with tempfile.TemporaryDirectory(prefix="trials-") as name:
        base = _base(options.base or Path(name) / "base")
        for number in range(options.trials):
            for kind, found in results.items():
                found.append(_trial(kind, base, Path(name) / f"{kind}-{number}"))
                print(f"{kind} {number + 1}: {found[-1]}", file=sys.stderr, flush=True)
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


def _trial(kind: str, base: Repository, folder: Path) -> str:
    """Return what the nights of a trial came to: the gravest result."""
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
            if figure["finding"] is not None:
                break
    shutil.rmtree(folder)
    return said[-1]


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


def _counts(results: dict[str, list[str]]) -> dict[str, Any]:
    return {
        kind: {"trials": len(found), **{each: found.count(each) for each in sorted({*found})}}
        for kind, found in results.items()
    }


def _keep(results: dict[str, list[str]]) -> None:
    document = {"machine": machine(None), "loss": LOSS, **_counts(results)}
    atomic.write_text(FILE, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
