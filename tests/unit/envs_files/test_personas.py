from __future__ import annotations

from collections import Counter

import pytest

from harness.workloads.envs.files.personas import PERSONAS, TRAIN_IDS, Split, slots, split_of
from harness.workloads.envs.files.task import SKILLS

SLOTS = {slot.task_id: slot for slot in slots()}

# sizes recorded of the published rollouts' images, and of the published program
RECORDED = {
    "synth-indie-game-dev-00": {"goomba": 1714, "boo": 1371, "bowser": 3816, "lakitu": 1219},
    "synth-indie-game-dev-01": {"bowser": 2694, "koopa": 2315},
    "synth-indie-game-dev-24": {"bowser": 1808, "shyguy": 2625},
}
CHECKPOINTS = {
    "synth-data-science-researcher-00": [80433, 157055, 172588],
    "synth-data-science-researcher-03": [127091, 170437, 167981],
}


def test_there_are_two_hundred_slots_in_the_published_order() -> None:
    assert len(SLOTS) == 200
    assert [slot.seed for slot in SLOTS.values()] == list(range(42, 242))
    assert next(iter(SLOTS)) == "synth-indie-game-dev-00"
    assert list(SLOTS)[-1] == "synth-embedded-firmware-dev-24"


@pytest.mark.parametrize("task_id", RECORDED)
def test_sprites_have_their_recorded_names_and_sizes(task_id: str) -> None:
    sizes = {f"assets/enemy_{name}.png": size for name, size in RECORDED[task_id].items()}
    drawn = {file.path: file.size for file in SLOTS[task_id].files if "enemy_" in file.path}
    assert drawn == sizes


@pytest.mark.parametrize("task_id", CHECKPOINTS)
def test_checkpoints_have_their_recorded_sizes(task_id: str) -> None:
    drawn = [file.size for file in SLOTS[task_id].files if file.path.endswith(".pt")]
    assert drawn == CHECKPOINTS[task_id]


def test_the_other_six_have_one_workspace_each() -> None:
    distinct = {
        persona.role: len({slot.files for slot in SLOTS.values() if slot.persona is persona})
        for persona in PERSONAS
    }
    assert list(distinct.values()) == [25, 25, 1, 1, 1, 1, 1, 1]


def test_the_split_holds_what_is_known_of_it() -> None:
    assert len(TRAIN_IDS) == 42
    held_out = Counter(
        slot.persona.role for slot in SLOTS.values() if split_of(slot.task_id) is Split.HELD_OUT
    )
    assert [held_out[persona.role] for persona in PERSONAS] == [24, 15, 21, 16, 19, 22, 19, 22]
    for played in ("indie-game-dev-01", "ml-engineer-09", "technical-writer-04"):
        assert split_of(f"synth-{played}") is Split.HELD_OUT
    for drawn in ("indie-game-dev-19", "backend-developer-13", "academic-author-16"):
        assert split_of(f"synth-{drawn}") is Split.TRAIN


def test_every_focus_is_a_skill() -> None:
    assert len(SKILLS) == len(set(SKILLS)) == 15
    assert all(set(persona.focus) <= set(SKILLS) for persona in PERSONAS)
