"""Published models: found at their revision, or refused with the command that fetches them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.runtime.models import model_problems, models_folder
from harness.variables import MODELS_VARIABLE

REVISION = "0123456789abcdef0123456789abcdef01234567"
MODEL = f"lab/small@{REVISION}"


def put(
    folder: Path, revision: str | None, weights: tuple[str, ...] = ("model.safetensors",)
) -> Path:
    place = folder / "lab" / "small"
    noted = place / ".cache" / "huggingface" / "download"
    noted.mkdir(parents=True)
    for name in ("config.json", *weights):
        (place / name).write_text("{}", encoding="utf-8")
        if revision is not None:
            text = f"{revision}\netag\n1700000000.0\n"
            (noted / f"{name}.metadata").write_text(text, encoding="utf-8")
    return place


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def index(place: Path, shards: Sequence[str] = SHARDS) -> None:
    named = {f"layer.{number}": shard for number, shard in enumerate((*shards, *shards))}
    text = json.dumps({"metadata": {}, "weight_map": named})
    (place / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def test_a_model_is_whole_with_every_shard_of_its_index(tmp_path: Path) -> None:
    index(put(tmp_path, REVISION, SHARDS))
    assert not list(model_problems([MODEL], tmp_path))


def test_a_download_that_broke_off_is_no_model(tmp_path: Path) -> None:
    index(put(tmp_path, REVISION, SHARDS[:1]))
    (problem,) = model_problems([MODEL], tmp_path)
    assert f"lacks 1 of its 2 files of weights: {SHARDS[1]}" in str(problem)
    assert problem.remedy.startswith("hf download lab/small")


def test_a_shard_that_nobody_noted_as_whole_is_none(tmp_path: Path) -> None:
    place = put(tmp_path, REVISION, SHARDS)
    index(place)
    (place / ".cache/huggingface/download" / f"{SHARDS[0]}.metadata").unlink()
    (problem,) = model_problems([MODEL], tmp_path)
    assert f"lacks 1 of its 2 files of weights: {SHARDS[0]}" in str(problem)


def test_a_configuration_alone_is_no_model(tmp_path: Path) -> None:
    put(tmp_path, REVISION, ())
    (problem,) = model_problems([MODEL], tmp_path)
    assert "lacks 1 of its 1 files of weights: model.safetensors" in str(problem)


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": []}', "[" * 1000])
def test_an_index_that_is_none_is_said(text: str, tmp_path: Path) -> None:
    place = put(tmp_path, REVISION)
    (place / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    (problem,) = model_problems([MODEL], tmp_path)
    assert "has an index that cannot be read" in str(problem)


def test_a_gated_model_says_where_its_licence_is(tmp_path: Path) -> None:
    (problem,) = model_problems([f"meta-llama/Llama-3.1-8B@{REVISION}"], tmp_path)
    assert "its licence must be accepted first" in str(problem)
    assert problem.remedy.startswith("accept its licence at https://huggingface.co/meta-llama/")
    assert "hf auth login, then hf download" in problem.remedy


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    *_, disk = model_problems([MODEL], tmp_path / "not" / "there", download_gib=1e9)
    assert "about 1e+09 GiB are to be fetched" in str(disk)
    assert disk.remedy.startswith("export HARNESS_MODELS_DIR=")
    assert len(list(model_problems([MODEL], tmp_path, download_gib=1e-9))) == 1
    put(tmp_path, REVISION)
    assert not list(model_problems([MODEL], tmp_path, download_gib=1e9))


def test_a_model_at_its_revision_is_no_problem(tmp_path: Path) -> None:
    put(tmp_path, REVISION)
    assert not list(model_problems([MODEL], tmp_path))


def test_every_absent_model_is_told_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    found = list(model_problems([MODEL, f"lab/other@{REVISION}"], tmp_path))
    assert [str(each).partition("\n")[0] for each in found] == [
        f"model lab/small is not in {tmp_path}",
        f"model lab/other is not in {tmp_path}",
    ]
    place = tmp_path / "lab" / "small"
    assert found[0].remedy == f"hf download lab/small --revision {REVISION} --local-dir {place}"


@pytest.mark.parametrize("revision", [None, "f" * 40])
def test_a_model_of_another_or_no_known_revision_is_refused(
    tmp_path: Path, revision: str | None
) -> None:
    put(tmp_path, revision)
    (problem,) = model_problems([MODEL], tmp_path)
    assert (revision or "an unknown revision") in str(problem)


def test_the_users_own_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    assert models_folder(tmp_path) == tmp_path / "models"
    monkeypatch.setenv(MODELS_VARIABLE, "/media/models")
    assert models_folder(tmp_path) == Path("/media/models")
