"""The policy that searches, as it is kept in the repository. Loads no torch.

What `harness.workloads.tiny_models.checkpoint` says of the file agent holds of it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.errors import HostError
from harness.records import from_json, record
from harness.workloads.envs.search.skill import Skill
from harness.workloads.tiny_models.checkpoint import CARD, faults
from harness.workloads.tiny_models.search_recipe import RECIPE

FOLDER = Path(__file__).parent / "checkpoints" / "search"


@record
class Card:
    """What is known of a policy.

    Attributes:
        recipe: digest of what made it.
        seed: of its weights and its data.
        torch: version that trained it.
        losses: of each phase, means over some steps, nats.
        skill: of each policy that was measured, by the temperature it was played at.
        files: SHA-256 of every other file of the folder.
    """

    recipe: str
    seed: int
    torch: str
    losses: Mapping[str, tuple[float, ...]]
    skill: Mapping[str, Mapping[str, Skill]]
    files: Mapping[str, str]


def small_policy(folder: Path = FOLDER) -> Path:
    """Return the folder of the policy, after looking at every file of it.

    Raises:
        HostError: it is not what its card says, or another recipe made it.
    """
    card = read_card(folder)
    if found := list(faults(folder, card.files, card.recipe, RECIPE)):
        message = f"the policy that searches is not as it was made: {'; '.join(found)}"
        raise HostError(message, f"python -m harness.workloads.tiny_models search {folder}")
    return folder


def read_card(folder: Path) -> Card:
    """Return what is known of the policy in a folder."""
    return from_json(Card, json.loads((folder / CARD).read_text(encoding="utf-8")))
