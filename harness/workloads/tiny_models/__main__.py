"""``python -m harness.workloads.tiny_models files|search OUT``: train a checkpoint again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.workloads.tiny_models import build, recipe, search_build, search_recipe
from harness.workloads.tiny_models.checkpoint import LOSS_STEPS
from harness.workloads.tiny_models.train import Progress


def main(arguments: list[str]) -> int:
    """Train the model that is asked for, and print what it can do."""
    parser = argparse.ArgumentParser("python -m harness.workloads.tiny_models", description=__doc__)
    parser.add_argument("model", choices=("files", "search"), help="the environment it acts in")
    parser.add_argument("out", type=Path, help="the folder that it is written to")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the steps after copying, for a quick try; makes a weaker policy",
    )
    given = parser.parse_args(arguments)
    if given.model == "files":
        files = build.rebuild(given.out, recipe.RECIPE.shortened(given.share), _show)
        print(
            *(f"{policy} {skill}" for policy, found in files.skill.items() for skill in found),
            sep="\n",
        )
        return 0
    search = search_build.rebuild(given.out, search_recipe.RECIPE.shortened(given.share), _show)
    for policy, skills in search.skill.items():
        for temperature, skill in skills.items():
            print(policy, f"temperature {temperature}", skill)
    return 0


def _show(progress: Progress) -> None:
    """Print how training goes, every few steps."""
    if progress.step % LOSS_STEPS == 0:
        place = f"{progress.phase.name} {progress.step}/{progress.phase.steps}"
        print(f"{place}: loss {progress.loss:.3f}, {progress.elapsed_s:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
