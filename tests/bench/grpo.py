"""``python -m tests.bench.grpo --trl PYTHON``: a GRPO step of ours beside TRL's, and print both.

Both get the same model, adapter, rollouts and rewards, and take whole steps on one thread:
reference, forward, backward, optimizer. TRL's advantages are of the sample's deviation and ours of
the population's, so that its gradient is ours times sqrt(3/4); where it is not, nothing is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from harness.records import record
from harness.workloads.models.lora_settings import Product
from tests.bench.cost import ROOT, Cost
from tests.bench.grpo_work import MEMBERS, rollouts, write

_BATCHES = (8, 32)  # of TRL: what it scores at once
_SAME = 0.01  # relative; TRL adds 1e-4 to deviations of about 0.3, and float32 is float32
_HEADERS = ("CPU seconds of a step", "median", "lowest", "highest", "ours folded = 1")


@record
class Contender:
    """One way to take the steps.

    Attributes:
        name: what the table calls it.
        command: prints its figures as its last line.
        gradient: what its gradient should be times ours to be.
    """

    name: str
    command: tuple[str, ...]
    gradient: float = 1.0


def main() -> None:
    """Measure in turns, so that what else the machine does disturbs all alike."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-grpo-") as name:
        work = Path(name)
        write(work)
        contenders = list(_contenders(options.trl, work, str(options.steps + 1)))
        samples: dict[str, list[float]] = {each.name: [] for each in contenders}
        norms: dict[str, float] = {}
        for _ in range(options.rounds):
            for each in contenders:
                figures = _figures(each.command)
                samples[each.name] += figures["cpu_s"][1:]  # the first warms up
                norms[each.name] = figures["gradient_norms"][0] / each.gradient
    _require_same(norms)
    print(_table({name: Cost(samples_s=tuple(taken)) for name, taken in samples.items()}))


def _contenders(trl: Path, work: Path, steps: str) -> tuple[Contender, ...]:
    ours = [
        Contender(
            name=f"ours, {product}",
            command=(sys.executable, "-m", "tests.bench.grpo_ours", str(work), product, steps),
        )
        for product in (Product.FOLDED, Product.BRANCH)
    ]
    script = str(Path(__file__).with_name("grpo_trl.py"))
    theirs = [
        Contender(
            name=f"TRL, {batch} at once",
            command=(str(trl), script, str(work), str(batch), steps),
            gradient=math.sqrt((MEMBERS - 1) / MEMBERS),
        )
        for batch in _BATCHES
    ]
    return (*ours, *theirs)


def _figures(command: tuple[str, ...]) -> Mapping[str, list[float]]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd=ROOT)
    if done.returncode:
        message = f"{' '.join(command)}\n{done.stderr[-2000:]}"
        raise RuntimeError(message)
    figures: Mapping[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _require_same(norms: Mapping[str, float]) -> None:
    least, most = min(norms.values()), max(norms.values())
    if most > least * (1 + _SAME):
        message = f"the gradients differ, so the steps are not the same work: {dict(norms)}"
        raise RuntimeError(message)


def _table(costs: Mapping[str, Cost]) -> str:
    given = rollouts()
    tokens = sum(len(each["prompt"]) + len(each["completion"]) for each in given)
    trained = sum(sum(each["mask"]) for each in given)
    best = next(iter(costs.values())).median_s
    rows = [
        (name, cost.median_s, cost.lowest_s, cost.highest_s, cost.median_s / best)
        for name, cost in costs.items()
    ]
    head = f"{len(given)} rollouts, {tokens} tokens, {trained} of them trained"
    return f"{head}\n{tabulate(rows, _HEADERS, floatfmt='.2f')}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.grpo", description=__doc__)
    parser.add_argument("--trl", type=Path, required=True, help="a Python that has TRL")
    parser.add_argument("--steps", type=int, default=4, help="measured, a round")
    parser.add_argument("--rounds", type=int, default=2)
    return parser


if __name__ == "__main__":
    main()
