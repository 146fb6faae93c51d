"""``python -m tests.mutants``: plant each fault in a copy, and ask tests, pins and claims.

Tests are those of the file's own subject (`TESTS`). Pins and claims are asked of one run of the
mutant's scenario at the profile cpu, or of the part of it in `CUT`, beside a run without any fault.
Outcomes are kept beside the catalogue as they come: a campaign that was stopped goes on, and what
is unchanged since it was asked (the edit, its file, the tests; the scenario) is not asked again.
The tables of both catalogues are written to ``docs/mutants.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from harness import atomic
from tests.mutants.catalogue import FIRST, ROOT, SECOND, Mutant, outcomes_of, read_catalogue
from tests.mutants.table import Outcomes, render

TABLE = ROOT / "docs" / "mutants.md"
ASKS = ("tests", "pins", "claims")
# the runs of a scenario that a fault is asked of, where the whole profile takes minutes
CUT: dict[str, tuple[str, ...]] = {
    "a19": ("--only", "batch_size=2", "--only", "seq_len=64"),
    "cpt": ("--replicates", "3"),
}
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_SOME_FAILED = 1  # pytest's exit code
_HANG_S = 3600.0  # a fault may also make a loop without end

Outcome = dict[str, Any]


class Campaign:
    """Copies of the tree to plant faults in, and what came of it so far."""

    def __init__(self, catalogue: Path, jobs: int) -> None:
        self._file = outcomes_of(catalogue)
        self._folder = Path(tempfile.mkdtemp(prefix="mutants."))
        self._copies: SimpleQueue[Path] = SimpleQueue()
        self._lock = threading.Lock()
        self._sound: dict[str, Outcome] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}
        if self._file.is_file():
            self._outcomes = json.loads(self._file.read_text(encoding="utf-8"))
        for number in range(jobs):
            self._copies.put(_copy(self._folder / str(number)))

    def close(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, mutant: Mutant, asks: set[str]) -> None:
        """Plant one fault and keep what notices it; what is known already is not asked again."""
        known = self._outcomes.get(mutant.id, {})
        digests = {"tests": _digest_of_tests(mutant), "claims": _digest_of_runs(mutant)}
        digests["pins"] = digests["claims"]
        due = {each for each in asks if known.get(each, {}).get("digest") != digests[each]}
        if not due:
            return
        copy = self._copies.get()
        began = time.monotonic()
        try:
            (copy / mutant.file).write_text(mutant.applied(), encoding="utf-8")
            found = {}
            if "tests" in due:
                found["tests"] = _by_tests(mutant, copy)
            if due & {"pins", "claims"}:
                sound = self._sound_run(mutant.scenario)
                by_run = _by_run(mutant.scenario, copy, sound)
                found |= {each: by_run[each] for each in due - {"tests"}}
        finally:
            shutil.copyfile(ROOT / mutant.file, copy / mutant.file)
            self._copies.put(copy)
        with self._lock:
            for each, outcome in found.items():
                whole = {**outcome, "digest": digests[each]}
                self._outcomes.setdefault(mutant.id, {})[each] = whole
            self.save()
        said = ", ".join(f"{each}: {outcome['came']}" for each, outcome in found.items())
        print(f"{mutant.id}: {said} ({time.monotonic() - began:.0f} s)", flush=True)

    def save(self) -> None:
        """Write the outcomes."""
        text = json.dumps(self._outcomes, indent=1, sort_keys=True) + "\n"
        atomic.write_text(self._file, text)

    def _sound_run(self, scenario: str) -> Outcome:
        """Return what a run without a fault comes to."""
        with self._lock:
            if scenario not in self._sound:
                store = self._folder / f"sound.{scenario}"
                self._sound[scenario] = _judged(scenario, ROOT, store)
            return self._sound[scenario]


def _copy(place: Path) -> Path:
    """Copy what is under version control, the published results aside."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - wherever it is installed
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith("results/"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)
    return place


def _by_tests(mutant: Mutant, copy: Path) -> Outcome:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider"]
    try:
        done = _executed([*command, *mutant.tests], copy)
    except subprocess.TimeoutExpired:
        return {"came": "caught", "by": "a test that does not end"}
    named = _FAILED.search(done.stdout)
    if done.returncode == _SOME_FAILED and named:  # else pytest itself broke
        return {"came": "caught", "by": named.group(1)}
    if done.returncode == 0 and " passed" in done.stdout:
        return {"came": "survived"}
    return {"came": "not asked", "by": (done.stdout + done.stderr)[-300:]}


def _by_run(scenario: str, copy: Path, sound: Outcome) -> dict[str, Outcome]:
    """Return what pins and claims say of a run with the fault, beside a sound one."""
    with tempfile.TemporaryDirectory(prefix="mutant-store.") as store:
        found = _judged(scenario, copy, Path(store))
    if "failed" in sound:
        because = {"came": "not asked", "by": f"the run without a fault: {sound['failed']}"}
        return {"pins": because, "claims": because}
    if "failed" in found:
        because = {"came": "caught", "by": f"the run: {found['failed']}"}
        return {"pins": because, "claims": because}
    turned = [
        name
        for name, kind in sound["kinds"].items()
        if kind == "REPRODUCED" and found["kinds"][name] != kind
    ]
    claims = {"came": "caught", "by": ", ".join(turned[:3])} if turned else {"came": "survived"}
    pins: Outcome = {"came": "survived"}
    if found["moved"]:
        pins = {"came": "caught", "by": found["moved"][0]}
    elif not sound["pinned"]:
        pins = {"came": "not asked", "by": "no pins for this platform"}
    return {"claims": claims, "pins": pins}


def _judged(scenario: str, tree: Path, store: Path) -> Outcome:
    """Run a scenario, or its part, and return its verdicts and pins."""
    words = [scenario, "--profile", "cpu", "--store", str(store), *CUT.get(scenario, ())]
    try:
        done = _executed([sys.executable, "-m", "harness", "run", *words, "--quiet"], tree)
        said = _executed([sys.executable, "-m", "tests.mutants.judge", scenario, str(store)], tree)
    except subprocess.TimeoutExpired:
        return {"failed": "it does not end"}
    if said.returncode or not any(store.glob("*/cpu/*/outcome.json")):
        return {"failed": (done.stderr or said.stderr).strip()[-200:]}
    answer: Outcome = json.loads(said.stdout)
    return answer


def _executed(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("PYTHONPATH", None)
    return subprocess.run(
        command, cwd=folder, env=env, check=False, capture_output=True, text=True, timeout=_HANG_S
    )


def _digest_of_tests(mutant: Mutant) -> str:
    return _digest(mutant, [ROOT / mutant.file, *map(ROOT.joinpath, mutant.tests)])


def _digest_of_runs(mutant: Mutant) -> str:
    scenario = next((ROOT / "scenarios").glob(f"{mutant.scenario}*"))
    return _digest(mutant, [ROOT / mutant.file, scenario])


def _digest(mutant: Mutant, places: list[Path]) -> str:
    hashed = hashlib.sha256(json.dumps(asdict(mutant), sort_keys=True).encode())
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                hashed.update(path.read_bytes())
    return hashed.hexdigest()[:12]


def chosen(options: argparse.Namespace) -> Iterator[Mutant]:
    """Yield the mutants that the options name."""
    for mutant in read_catalogue(options.catalogue):
        words = options.mutants or [mutant.area]
        is_named = any(mutant.id.startswith(each) or mutant.area == each for each in words)
        if is_named and mutant.scenario in (options.scenario or [mutant.scenario]):
            yield mutant


def page() -> str:
    """Return the tables of both catalogues, from what is kept of them."""
    found: list[Outcomes] = []
    for catalogue in (FIRST, SECOND):
        file = outcomes_of(catalogue)
        found.append(json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})
    return render(read_catalogue(FIRST), found[0], read_catalogue(SECOND), found[1])


def main() -> None:
    """Plant the faults, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("mutants", nargs="*", help="ids, their beginnings, or areas; all without")
    parser.add_argument("--ask", nargs="+", choices=ASKS, default=list(ASKS))
    parser.add_argument("--scenario", nargs="+", default=[], help="only mutants of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--catalogue", type=Path, default=FIRST, help="another than the first")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    options = parser.parse_args()
    campaign = Campaign(options.catalogue, 0 if options.table else options.jobs)
    try:
        if not options.table:
            with ThreadPoolExecutor(options.jobs) as pool:
                for each in pool.map(lambda m: campaign.ask(m, {*options.ask}), chosen(options)):
                    assert each is None
    finally:
        campaign.close()
    atomic.write_text(TABLE, page())


if __name__ == "__main__":
    main()
