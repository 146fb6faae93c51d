"""The policy in the repository is the one that its recipe made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.errors import HostError
from harness.workloads.tiny_models.checkpoint import FOLDER, read_card, tiny_model

FILES = FOLDER / "files"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FILES, tmp_path / "policy"))


def test_the_policy_is_as_it_was_made() -> None:
    assert tiny_model("files") == FILES
    assert "model.safetensors" in read_card(FILES).files


def test_the_model_that_searches_is_as_it_was_made() -> None:
    assert tiny_model("search") == FOLDER / "search"


def test_the_policy_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 4_200_000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", "model.safetensors is another"),
        ("notes.md", "notes.md is not one of its files"),
    ],
)
def test_another_file_is_noticed(copied: Path, name: str, said: str) -> None:
    (copied / name).write_bytes(b"!")
    with pytest.raises(HostError, match=said):
        tiny_model("files", copied)


def test_a_lost_file_is_noticed(copied: Path) -> None:
    (copied / "tokenizer.json").unlink()
    with pytest.raises(HostError, match=r"tokenizer\.json is missing"):
        tiny_model("files", copied)


def test_a_policy_of_another_recipe_is_noticed(copied: Path) -> None:
    card = copied / "recipe.json"
    recipe = read_card(copied).recipe
    card.write_text(card.read_text(encoding="utf-8").replace(recipe, "0" * 64), encoding="utf-8")
    with pytest.raises(HostError, match="another recipe made it"):
        tiny_model("files", copied)


def test_the_base_hides_a_skill_that_it_has() -> None:
    skills = read_card(FILES).eval_results
    for skilled, base in zip(skills["skilled"], skills["base"], strict=True):
        assert skilled["pass_rate"] > 0.4
        assert skilled["assertion_pass_rate"] > 0.65
        assert skilled["stop_rate"] > 0.95
        assert base["assertion_pass_rate"] < skilled["assertion_pass_rate"] - 0.15
        assert base["turns"] < skilled["turns"] - 1
        assert base["stop_early"] > 0.2
