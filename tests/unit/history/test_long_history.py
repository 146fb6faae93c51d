"""A history of ten thousand nights is shown whole, and its page stays small."""

from pathlib import Path

import pytest

from harness.commands.history import history_report
from harness.records import Profile
from harness.report.history import history_page, history_text
from harness.scenario.folders import find
from harness.scenario.load import load

_NIGHTS = 10_000


def test_ten_thousand_nights_are_drawn_on_a_small_page(tmp_path: Path, project_root: Path) -> None:
    bench = pytest.importorskip("tests.bench.history")
    loaded = load(find(project_root / "scenarios", "a19"))
    bench.write_history(tmp_path, loaded, _NIGHTS)
    report = history_report(loaded, Profile.SPARK, tmp_path)
    assert f"{_NIGHTS} rows" in history_text(report, 150, plot=True)
    assert len(history_page(report)) < 500_000
