"""``python -m tests.bench.loop``: what the loop costs beside its evaluations, and print it.

What is asked: proposing, judging, writing down and starting the evaluating process take at most
10 % of an iteration on the CPU. All of it is counted in time on a processor, so that a busy machine
changes little: the whole loop's, less what the evaluations say they took.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tabulate import tabulate

from harness.probes.energy import energy_counter
from harness.workloads.autoresearch.evaluator import CandidateEvaluation, Evaluator, Limit
from harness.workloads.autoresearch.loop import Loop, Parts, Session
from harness.workloads.autoresearch.loop_process import bench_of, proposer_of
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.trajectory import EvalMetrics, TrainConfig
from tests.bench.cost import Cost

_LARGEST_SHARE = 0.10


class Measured:
    """An evaluator that adds up what its evaluations cost, and what it took to get them."""

    def __init__(self, inner: Evaluator) -> None:
        self._inner = inner
        self.cost_s: list[float] = []
        self.wall_s: list[float] = []

    @property
    def entropy_floor_bits(self) -> float | None:
        """As the evaluator has it."""
        return self._inner.entropy_floor_bits

    def evaluate(self, cfg: TrainConfig, seed: int, limit: Limit) -> CandidateEvaluation:
        """Evaluate, and write down how long."""
        began = time.perf_counter()
        evaluation = self._inner.evaluate(cfg, seed, limit)
        if isinstance(evaluation.result, EvalMetrics):
            took = evaluation.result
            self.cost_s.append(took.train_wall_s + took.val_wall_s)
            self.wall_s.append(time.perf_counter() - began)
        return evaluation


def main() -> None:
    """Measure a loop of each proposer that needs no server."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loop", description=__doc__)
    parser.add_argument("--iterations", type=int, default=50)
    given = parser.parse_args()
    rows = [
        measure(name, memory, given.iterations)
        for name, memory in (("random", "none"), ("replay", "window"), ("bandit", "lineage"))
    ]
    heads = ("loop", "evaluation ms", "beside it ms", "share %", "at most %", "start s")
    print(tabulate(rows, heads, floatfmt=".1f"))


def measure(proposer: str, memory: str, iterations: int) -> list[str | float]:
    """Return one row: medians of the evaluations, and what the whole loop took beside them."""
    params = LoopParams(
        proposer=proposer,
        proposer_context=memory,
        search_space="small",
        iterations=iterations,
        device="cpu",
        dropout=0.0,
        memory_gib=1.0,
        num_noise_samples=2,
    )
    session = Session(params=params, seed=0)
    with TemporaryDirectory() as name, energy_counter("cpu") as energy_j:
        folder = Path(name)
        before = _processor_s()
        with Evaluator(bench_of(session)) as inner:
            started = _server_s(inner)
            evaluator = Measured(inner)
            parts = Parts(proposer=proposer_of(session), evaluator=evaluator, energy_j=energy_j)
            Loop(session, folder, parts).run()
        total = _processor_s() - before
    number = len(evaluator.cost_s)
    beside_s = (total - started - sum(evaluator.cost_s)) / number
    cost = Cost(samples_s=tuple(evaluator.cost_s))
    share = beside_s / (beside_s + sum(evaluator.cost_s) / number)
    figures = (cost.median_s * 1e3, beside_s * 1e3, share * 1e2, _LARGEST_SHARE * 1e2, started)
    return [f"{proposer}, {memory}", *figures]


def _processor_s() -> float:
    """Return the time on a processor of this process and of all children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _server_s(evaluator: Evaluator) -> float:
    """Return what the evaluator's server has taken so far: its start, once a loop."""
    fields = Path(f"/proc/{evaluator._server.pid}/stat").read_text(encoding="ascii").split()
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
