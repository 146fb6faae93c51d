"""The policy that is kept in the repository, and how to make it again. Loads no torch.

The folder holds what transformers and vLLM load, and ``recipe.json``: what made it, what it can do,
and the hash of every other file. Training is not the same to the last bit on every machine, so a
rebuilt policy has other weights; the recipe, the data and the tokenizer are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import HostError
from harness.records import from_json, record, to_json
from harness.workloads.tiny_models.recipe import RECIPE, Recipe

FOLDER = Path(__file__).parent / "checkpoints" / "files"
CARD = "recipe.json"
LOSS_STEPS = 25


@record
class Skill:
    """What was counted over some tasks.

    Attributes:
        temperature: of the sampling; 0 takes the likeliest token.
        task_pass: share of the tasks with every assertion.
        assertions: share of all assertions.
        turns: mean.
        stops: share of the rollouts that said they were done.
        stop_early: probability of stopping at a turn, mean over the turns at which the author of
            the task would still have had a command to give; nothing is said of whether the turns
            before did any good.
        stop_late: the same for the turns after those; None where there were none.
    """

    tasks: int
    temperature: float
    task_pass: float
    assertions: float
    turns: float
    stops: float
    stop_early: float
    stop_late: float | None


@record
class Card:
    """What is known of a policy.

    Attributes:
        recipe: digest of what made it.
        seed: of its weights and its data.
        torch: version that trained it.
        losses: of each phase, the mean over every `LOSS_STEPS` steps, nats.
        skill: of each policy that was measured, at each temperature, on the held-out tasks.
        files: SHA-256 of every other file of the folder.
    """

    recipe: str
    seed: int
    torch: str
    losses: Mapping[str, tuple[float, ...]]
    skill: Mapping[str, tuple[Skill, ...]]
    files: Mapping[str, str]


def small_policy(folder: Path = FOLDER) -> Path:
    """Return the folder of the policy, after looking at every file of it.

    Raises:
        HostError: it is not what its card says, or another recipe made it.
    """
    card = read_card(folder)
    if found := list(faults(folder, card.files, card.recipe, RECIPE)):
        message = f"the small policy is not as it was made: {'; '.join(found)}"
        raise HostError(message, f"python -m harness.workloads.tiny_models files {folder}")
    return folder


def read_card(folder: Path) -> Card:
    """Return what is known of the policy in a folder."""
    return from_json(Card, json.loads((folder / CARD).read_text(encoding="utf-8")))


def write_card(folder: Path, card: object) -> None:
    """Write the record, beside the policy."""
    text = json.dumps(to_json(card), indent=1) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file but the card."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CARD)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def faults(folder: Path, files: Mapping[str, str], made_by: str, recipe: Recipe) -> Iterator[str]:
    """Yield how the policy in a folder differs from what its card says.

    Args:
        folder: the policy's.
        files: SHA-256 of every file, by the card.
        made_by: digest of its recipe, by the card.
        recipe: that should have made it.
    """
    found = hashes(folder)
    for name, wanted in files.items():
        if found.get(name) != wanted:
            yield f"{name} is {'another' if name in found else 'missing'}"
    for name in found.keys() - files.keys():
        yield f"{name} is none of its files"
    if made_by != recipe.digest:
        yield "another recipe made it"
