"""Published models: found at their revision, or refused with the command that fetches them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.runtime.models import model_problems, models_folder
from harness.variables import MODELS_VARIABLE

REVISION = "0123456789abcdef0123456789abcdef01234567"
MODEL = f"lab/small@{REVISION}"


def put(folder: Path, revision: str | None) -> None:
    place = folder / "lab" / "small"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}", encoding="utf-8")
    if revision is not None:
        noted = place / ".cache" / "huggingface" / "download"
        noted.mkdir(parents=True)
        text = f"{revision}\netag\n1700000000.0\n"
        (noted / "config.json.metadata").write_text(text, encoding="utf-8")


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
