"""The table of the page is that of the replay that is kept."""

import json
from pathlib import Path

import pytest


def test_the_page_shows_the_replay_that_is_kept(project_root: Path) -> None:
    replay = pytest.importorskip("tests.bench.replay")
    kept = json.loads(replay.FILE.read_text(encoding="utf-8"))
    page = (project_root / "docs" / "nightly.md").read_text(encoding="utf-8")
    assert replay.table(kept["rows"]) in page
    # what the page promises of every row
    for row in kept["rows"]:
        assert row["false_alarms"] <= 0.01 * row["histories"]
        assert row["confirmations_most"] <= 2
        assert row["found_within_5"] >= 0.99 * row["histories"] or not row["must_be_found"]
