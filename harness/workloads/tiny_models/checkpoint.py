"""The models that are kept in the repository, and their cards. Loads no torch.

A folder holds the files that transformers and vLLM load, and ``recipe.json``: its recipe, its
scores, and the hash of every other file. Training is not the same to the last bit on every machine,
so a rebuilt model has other weights; the recipe, the data and the tokenizer are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HostError
from harness.reading import read_json
from harness.records import from_json, record, to_json
from harness.workloads.tiny_models.recipe import RECIPES

FOLDER = Path(__file__).parent / "checkpoints"
CARD = "recipe.json"
LOSS_STEPS = 25


@record
class ModelCard:
    """What is known of a model.

    Attributes:
        recipe: digest of what made it.
        seed: of its weights and its data.
        torch: version that trained it.
        losses: of each phase, the mean over every `LOSS_STEPS` steps, nats.
        eval_results: of each policy that was measured, what it can do: JSON of what
            `harness.workloads.tiny_models.skill` counts.
        files: SHA-256 of every other file of the folder.
    """

    recipe: str
    seed: int
    torch: str
    losses: Mapping[str, tuple[float, ...]]
    eval_results: Mapping[str, Any]
    files: Mapping[str, str]


def tiny_model(name: str, folder: Path | None = None) -> Path:
    """Return the folder of a model, after comparing every file of it with its card.

    Args:
        name: ``files`` or ``search``, the environment that it acts in.
        folder: where it is; in the repository by default.

    Raises:
        HostError: it is not what its card says, or another recipe made it.
    """
    folder = folder or FOLDER / name
    if found := list(_faults(folder, RECIPES[name].digest)):
        message = f"the tiny model {name} is not as it was made: {'; '.join(found)}"
        raise HostError(message, f"python -m harness.workloads.tiny_models {name} {folder}")
    return folder


def read_card(folder: Path) -> ModelCard:
    """Return what is known of the model in a folder."""
    return from_json(ModelCard, read_json((folder / CARD).read_bytes()))


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card beside the model."""
    text = json.dumps(to_json(card), indent=1) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file but the card."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CARD)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _faults(folder: Path, recipe: str) -> Iterator[str]:
    card, found = read_card(folder), hashes(folder)
    for name, wanted in card.files.items():
        if found.get(name) != wanted:
            yield f"{name} is {'another' if name in found else 'missing'}"
    for name in found.keys() - card.files.keys():
        yield f"{name} is not one of its files"
    if card.recipe != recipe:
        yield "another recipe made it"
