"""`harness run` of a real scenario in small, and kill -9 of one of its processes at work."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from harness.appended import whole_lines
from harness.records import FinishedRun
from harness.results.store import load_run
from harness.workloads.api.registry import workload
from harness.workloads.api.run_metrics import RUN_METRICS

WAIT_S = 900.0  # importing torch and vLLM and loading a model, on a busy machine
# a word that the arguments of a process hold
KINDS = {
    "workload": "harness.workloads ",
    "retriever": "retriever_server",
    "server": "vllm.entrypoints",
    "engine": "VLLM::EngineCore",
    "sandbox": "sys.modules",
}
# parts of times
SHARES = {"agent.environment_share", "learn.environment_share", "search.environment_share"}

A34 = {
    "variants": "[full]",
    "per_persona": 3,
    "num_eval_examples": 8,
    "sft_num_train_epochs": 1,
    "max_steps": 2,
    "prompts_per_step": 2,
    "num_generations": 2,
    "max_concurrency": 4,
    "eval_steps": 2,
}
A36 = {
    "variant": "full",
    "train_questions": 4,
    "num_eval_examples": 10,
    "prompts_per_step": 4,
    "num_generations": 3,
    "num_minibatches": 1,
    "max_steps": 2,
    "max_concurrency": 2,
}


class Command:
    """A command that is typed again and again, into one store."""

    def __init__(
        self, scenario: str, store: Path, *, replicates: int | None = 1, **params: Any
    ) -> None:
        self.store = store
        given = [f"--set={name}={value}" for name, value in params.items()]
        if replicates is not None:  # otherwise as many as the profile says
            given += ["--replicates", str(replicates)]
        self._words = [scenario, "--profile", "cpu", *given]

    def run(self) -> tuple[int, str]:
        """Run it to its end; return the exit code and what was said."""
        with self.started() as harness:
            said, _ = harness.communicate(timeout=WAIT_S)
        return harness.returncode, said

    def kill(self, kind: str, moment: Callable[[], bool]) -> tuple[int, str]:
        """Kill a process of a kind, or the harness itself, once `moment` has come.

        Returns:
            The harness's exit code and what was said, when nothing that it started is left.
        """
        with self.started() as harness:
            self._until(lambda: moment() and self.found(harness, kind), harness)
            tree = psutil.Process(harness.pid).children(recursive=True)
            victim = psutil.Process(harness.pid)
            if kind != "harness":
                victim = self.found(harness, kind)[0]
            victim.kill()
            said, _ = harness.communicate(timeout=WAIT_S)
        _, alive = psutil.wait_procs(tree, timeout=120.0)
        assert not alive, [each.cmdline() for each in alive]
        return harness.returncode, said

    def at_work(self, *kinds: str) -> Callable[[], bool]:
        """Return what says whether rollouts have come since processes of all kinds were there."""
        before: list[int] = []

        def is_at_work() -> bool:
            seen = " ".join(map(_words, psutil.Process().children(recursive=True)))
            if not before and all(KINDS[kind] in seen for kind in kinds):
                before.append(self.num_rollouts)
            return bool(before) and self.num_rollouts > before[0]

        return is_at_work

    def has_steps(self, number: int) -> Callable[[], bool]:
        """Return what says whether so many steps are finished."""
        return lambda: self.num_steps >= number

    @property
    def num_rollouts(self) -> int:
        """How many rollouts are in the logs of all steps."""
        logs = (self.store / ".artefacts").glob("*/files/**/rollouts.jsonl")
        return sum(sum(1 for _ in whole_lines(log)) for log in logs)

    @property
    def num_steps(self) -> int:
        """How many steps are finished."""
        return len([*(self.store / ".artefacts").glob("[!.]*")])

    @property
    def finished(self) -> FinishedRun:
        """The one run that has finished."""
        (run,) = self.all_finished
        return run

    @property
    def all_finished(self) -> list[FinishedRun]:
        """The runs that have finished."""
        return [load_run(path) for path in self._attempts() if "." not in path.name]

    @property
    def last_cause(self) -> tuple[str, str]:
        """How the last attempt that failed ended, and the cause."""
        *_, last = sorted(path for path in self._attempts() if ".failed-" in path.name)
        outcome = json.loads((last / "outcome.json").read_text(encoding="utf-8"))
        return outcome["status"], outcome["cause"] + " " + " ".join(outcome["log_tail"])

    def started(self) -> subprocess.Popen[str]:
        """Type it."""
        return subprocess.Popen(
            [sys.executable, "-m", "harness", "run", *self._words, "--store", str(self.store)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def found(self, harness: subprocess.Popen[str], kind: str) -> list[psutil.Process]:
        """Return the processes of a kind that it has started, or the harness itself."""
        tree = psutil.Process(harness.pid)
        if kind == "harness":
            return [tree]
        return [each for each in tree.children(recursive=True) if KINDS[kind] in _words(each)]

    def _attempts(self) -> Iterator[Path]:
        return (path.parent for path in self.store.glob("a*/cpu/*/outcome.json"))

    def _until(self, holds: Callable[[], Any], harness: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            if harness.poll() is not None:
                message = f"it ended with {harness.returncode}: {harness.communicate()[0]}"
                raise AssertionError(message)
            assert time.monotonic() < deadline, "did not come to hold"
            time.sleep(0.05)


def figures(run: FinishedRun) -> dict[str, Any]:
    """Return metric and where -> value of a run, of what depends on no clock."""
    declared = {each.name for each in workload(run.spec.workload).metrics if each.timing}
    left_out = declared | SHARES | {each.name for each in RUN_METRICS}
    return {
        f"{each.metric} {json.dumps(dict(each.where), sort_keys=True)}": each.value
        for each in run.measurements
        if each.metric not in left_out
    }


def _words(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""
