"""``python -m tests.bench.kills a34``: kill a cpu profile again and again; count what is lost.

The command is typed until every run of the profile is finished. At random moments one of its
processes is killed (SIGKILL), each kind in turn: the harness, the workload, a retriever, vLLM's
server and its engine, a sandbox; where there is none of a kind, the harness.

Counted over all kills: steps that were finished and are gone (lost), steps that were finished and
made again (double), and processes that a command had started and that are still there two minutes
after its end (orphans). At the end the figures are compared with those of runs that nothing
interrupted: the published ones, or those of another store.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from harness import atomic
from harness.results.store import RunStore
from tests.bench.cost import ROOT
from tests.bench.table import machine
from tests.rl.killing import KINDS, Command, figures


class Killing:
    """A command that is typed again and again, and what the kills have done so far."""

    def __init__(self, command: Command, *, kills: int, latest_s: float, seed: int) -> None:
        self.command = command
        self.done: Counter[str] = Counter()
        self.lost = self.double = self.orphans = 0
        self._kills, self._latest_s = kills, latest_s
        self._chance = random.Random(seed)  # noqa: S311

    def attempt(self) -> tuple[int, str]:
        """Type the command once, and kill until it ends; return its exit code and its words."""
        started: set[psutil.Process] = set()
        before = _steps(self.command.store)
        said: str | None = None
        with self.command.started() as harness:
            while said is None:
                try:
                    said, _ = harness.communicate(timeout=self._moment())
                except subprocess.TimeoutExpired:
                    started |= {*psutil.Process(harness.pid).children(recursive=True)}
                    before = _steps(self.command.store) | before  # as each was seen first
                    kind = ("harness", *KINDS)[self.done.total() % (1 + len(KINDS))]
                    victims = self.command.found(harness, kind)
                    if not victims:
                        kind, victims = "harness", self.command.found(harness, "harness")
                    with suppress(psutil.NoSuchProcess):  # it has just ended
                        victims[0].kill()
                        self.done[kind] += 1
        _, alive = psutil.wait_procs(started, timeout=120.0)
        after = _steps(self.command.store)
        self.orphans += len(alive)
        self.lost += sum(key not in after for key in before)
        self.double += sum(after.get(key, made) != made for key, made in before.items())
        return harness.returncode, said

    def _moment(self) -> float | None:
        if self.done.total() >= self._kills:
            return None
        return self._chance.uniform(1.0, self._latest_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill and go on to the end, print the counts and keep them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kills", description=__doc__)
    parser.add_argument("scenario")
    parser.add_argument("--store", type=Path, required=True, help="an empty folder")
    parser.add_argument(
        "--against", type=Path, default=ROOT / "results", help="whole runs (default results/)"
    )
    parser.add_argument("--kills", type=int, default=50, help="default 50")
    parser.add_argument("--latest", type=float, default=60.0, help="seconds between kills, at most")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    options = parser.parse_args(arguments)
    command = Command(options.scenario, options.store, replicates=None)
    killing = Killing(command, kills=options.kills, latest_s=options.latest, seed=options.seed)
    attempts, kills, exit_code, said = 0, -1, 0, ""
    while kills < killing.done.total():  # the last attempt was left alone
        kills = killing.done.total()
        exit_code, said = killing.attempt()
        attempts += 1
        print(attempts, exit_code, dict(killing.done), file=sys.stderr, flush=True)
    print(said, file=sys.stderr)
    document = {
        "machine": machine(None),
        "scenario": options.scenario,
        "kills": dict(killing.done),
        "attempts": attempts,
        "lost": killing.lost,
        "double": killing.double,
        "orphans": killing.orphans,
        "exit_code": exit_code,
        "runs": _compared(command, options.against),
    }
    print(json.dumps(document, indent=1))
    file = ROOT / "results" / "bench" / f"kills-{options.scenario}.json"
    atomic.write_text(file, json.dumps(document, indent=1) + "\n")
    return 0


def _steps(store: Path) -> dict[str, int]:
    """Return finished step -> when it was written, ns."""
    written: dict[str, int] = {}
    for manifest in (store / ".artefacts").glob("[!.]*/manifest.json"):
        written[manifest.parent.name] = manifest.stat().st_mtime_ns
    return written


def _compared(command: Command, against: Path) -> list[dict[str, Any]]:
    """Return for each run how many figures it has in common with the run that was left alone."""
    compared: list[dict[str, Any]] = []
    finished = command.all_finished
    (of,) = {(run.spec.scenario, run.spec.profile) for run in finished}
    whole = {(run.spec.point_id, run.spec.replicate): run for run in RunStore(against).runs(*of)}
    for run in finished:
        ours = figures(run)
        theirs = figures(whole[run.spec.point_id, run.spec.replicate])
        differ = sorted(key for key in ours | theirs if ours.get(key) != theirs.get(key))
        compared.append(
            {
                "replicate": run.spec.replicate,
                "segments": len(run.outcome.segments),
                "figures": len(ours | theirs),
                "differ": differ,
            }
        )
    return compared


if __name__ == "__main__":
    sys.exit(main())
