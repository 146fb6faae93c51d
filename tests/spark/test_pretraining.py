"""Article 18 as its GPU profiles have it, but small and on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records import Profile
from tests.spark.profiles import of, planned, played

pytest.importorskip("torch")
PROFILES = (Profile.SPARK, Profile.CUDA)


@pytest.mark.filterwarnings("ignore:::megatron")  # it warns of itself
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("framework", ["vanilla", "nemo"])
def test_article_18(
    framework: str, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if framework == "nemo":
        pytest.importorskip("megatron.core")
    first: dict[str, float] = {}
    for spec in planned("a18", profile, device="cpu"):
        variant = spec.params["variant"]
        if variant.startswith(framework):
            rows = played(spec, tmp_path / variant, tmp_path, monkeypatch)
            first[variant] = of(rows, "parameters")
    assert len(first) == (6 if framework == "vanilla" else 3)
    assert len(set(first.values())) == 2, "padded tables have more rows, and nothing else differs"
