"""Article 20 as its GPU profiles have it, but small and on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records import Profile
from tests.spark.profiles import of, planned, played, values
from tests.spark.published_files import VOCABULARY, reading, write_wikitext

pytest.importorskip("tokenizers")


@pytest.mark.parametrize(
    ("profile", "needs"),
    [
        (Profile.CUDA, "tokenizers"),
        (Profile.SPARK, "nemo_curator"),
    ],
)
def test_article_20(
    profile: Profile, needs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(needs)
    # Xenna, the article's executor, wants more than two cores
    (spec,) = planned("a20", profile, device="cpu", executor="ray-data")
    published = tmp_path / "published"
    spec = reading(spec, write_wikitext(published))
    rows = played(spec, tmp_path / "out", published, monkeypatch)
    assert of(rows, "corpus.documents", corpus="wikitext", stage="raw") == 480
    assert of(rows, "packed.documents") == 240
    assert of(rows, "packed.vocabulary") == VOCABULARY
    assert len(values(rows, "cell.wall_time")) == 8
    assert values(rows, "cell.fits") == [True] * 8
    assert len(values(rows, "table.ratio")) == 2
    if profile is Profile.SPARK:
        assert of(rows, "filters.differ", corpus="wikitext") == 0
