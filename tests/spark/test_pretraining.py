"""Articles 18 and 19 as their GPU profiles have them, but small and on the CPU."""

from __future__ import annotations

import math
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


def test_article_19(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = planned("a19", device="cpu")
    params = [each.params for each in specs]
    assert params == [each.params for each in planned("a19", Profile.CUDA, device="cpu")]
    assert len(specs) == 16
    parameters: dict[int, set[float]] = {}
    for number, spec in enumerate(specs):
        rows = played(spec, tmp_path / str(number), tmp_path, monkeypatch)
        backend = of(rows, "fp8.backend")
        assert (backend == "none") == (spec.params["precision"] == "bf16")
        assert math.isfinite(of(rows, "loss.last"))
        parameters.setdefault(spec.params["seq_len"], set()).add(of(rows, "parameters"))
    assert [len(each) for each in parameters.values()] == [1, 1], "shapes differ by positions alone"
