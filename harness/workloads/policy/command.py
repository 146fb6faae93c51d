"""What the commands that make a small policy again have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.records import record
from harness.workloads.policy.checkpoint import LOSS_STEPS
from harness.workloads.policy.train import Progress


@record
class Asked:
    """What a command was asked for.

    Attributes:
        out: the folder that the policy is written to.
        share: of the steps after copying.
    """

    out: Path
    share: float


def parsed(arguments: list[str], program: str, description: str | None) -> Asked:
    """Read a command line, or end with what is wrong with it."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("out", type=Path, help="the folder that it is written to")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the steps after copying, for a quick try; makes a weaker policy",
    )
    given = parser.parse_args(arguments)
    return Asked(out=given.out, share=given.share)


def show(progress: Progress) -> None:
    """Print how training goes, every few steps."""
    if progress.step % LOSS_STEPS == 0:
        place = f"{progress.phase.name} {progress.step}/{progress.phase.steps}"
        print(f"{place}: loss {progress.loss:.3f}, {progress.elapsed_s:.0f} s", flush=True)
