"""A short run comes to what is pinned on this class of machine, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.check.pins import PINS_FILE, check_pins, read_pins
from harness.cli import main
from harness.errors import ExitCode
from harness.measure import metrics_by_name
from harness.records import Profile
from harness.results.store import RunStore
from harness.scenario.folders import find, folders
from harness.scenario.load import load

SCENARIOS = Path(__file__).parents[2] / "scenarios"
# a run of seconds of each scenario that has one
SHORT = {"a19": ("--only", "batch_size=2", "--only", "precision=bf16", "--only", "seq_len=64")}


@pytest.mark.parametrize("name", SHORT)
def test_a_short_run_is_as_pinned(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = [name, "--profile", "cpu", "--store", str(tmp_path), "--quiet", *SHORT[name]]
    assert main(["run", *words]) in (ExitCode.OK, ExitCode.INCONCLUSIVE)
    folder, store = find(SCENARIOS, name), RunStore(tmp_path)
    runs = store.runs(folder.name, Profile.CPU)
    assert runs
    report = check_pins(read_pins(folder), runs, store, metrics_by_name(load(folder).scenario))
    if report.missing:
        pytest.skip(str(report))
    assert report.compared > 100
    assert not report.differences, str(report)


def test_every_file_of_pins_is_of_its_scenarios_runs() -> None:
    pinned = [folder for folder in folders(SCENARIOS) if (folder / PINS_FILE).is_file()]
    for folder in pinned:
        for platform in read_pins(folder):
            assert platform.changes
            assert all(change.why and change.commit for change in platform.changes)
            identities = [(run.point_id, run.seed) for run in platform.runs]
            assert len(set(identities)) == len(identities) > 0
            assert all(run.values for run in platform.runs)
