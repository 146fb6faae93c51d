"""``python -m harness.workloads.search OUT``: make the policy that searches again, in minutes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.workloads.policy.checkpoint import LOSS_STEPS
from harness.workloads.policy.train import Progress
from harness.workloads.search.rebuild import rebuild
from harness.workloads.search.recipe import RECIPE


def main(arguments: list[str]) -> int:
    """Rebuild the policy and print what it can do."""
    parser = argparse.ArgumentParser(prog="python -m harness.workloads.search", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder that it is written to")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the steps after copying, for a quick try; makes a weaker policy",
    )
    given = parser.parse_args(arguments)
    card = rebuild(given.out, RECIPE.shortened(given.share), _show)
    for policy, skills in card.skill.items():
        for temperature, skill in skills.items():
            print(policy, f"temperature {temperature}", skill)
    return 0


def _show(progress: Progress) -> None:
    if progress.step % LOSS_STEPS == 0:
        place = f"{progress.phase.name} {progress.step}/{progress.phase.steps}"
        print(f"{place}: loss {progress.loss:.3f}, {progress.elapsed_s:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
