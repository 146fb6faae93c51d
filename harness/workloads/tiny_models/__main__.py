"""``python -m harness.workloads.tiny_models files|search OUT``: train a checkpoint again."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from harness.workloads.tiny_models.build import MODELS, build
from harness.workloads.tiny_models.checkpoint import LOSS_STEPS, write_card
from harness.workloads.tiny_models.train import TrainingProgress


def main(arguments: list[str]) -> int:
    """Train the requested model, and print its scores."""
    parser = argparse.ArgumentParser("python -m harness.workloads.tiny_models", description=__doc__)
    parser.add_argument("model", choices=MODELS, help="the environment it acts in")
    parser.add_argument("out", type=Path, help="the folder that it is written to")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the steps after copying, for a quick try; makes a weaker policy",
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # so that it is the same again
    model = MODELS[given.model]
    card = build(given.out, replace(model, recipe=model.recipe.shortened(given.share)), _show)
    write_card(given.out, card)
    print(json.dumps(card.eval_results, indent=1))
    return 0


def _show(progress: TrainingProgress) -> None:
    """Print how training goes, every few steps."""
    if progress.step % LOSS_STEPS == 0:
        place = f"{progress.phase.name} {progress.step}/{progress.phase.steps}"
        print(f"{place}: loss {progress.loss:.3f}, {progress.elapsed_s:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
