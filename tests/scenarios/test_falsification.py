"""No claim that is compared with a stored figure is one that nothing could turn."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import ExitCode
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.report.dossier import assemble
from harness.results.store import RunStore
from harness.scenario.folders import folders
from harness.scenario.load import load
from harness.session.selection import open_ledger

ROOT = Path(__file__).parents[2]
SCENARIOS = folders(ROOT / "scenarios")


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name.partition("-")[0])
def test_every_claim_about_published_figures_can_fail(folder: Path) -> None:
    store, loaded = RunStore(ROOT / "results"), load(folder)
    ledger = open_ledger(loaded)
    for profile in store.profiles(folder.name):
        plan = expand(loaded, profile, Overrides())
        dossier = assemble(loaded, ledger, plan, store)
        assert dossier.num_compared
        assert dossier.blind == (), f"{profile}: sharpen them, or make them reported"


@pytest.fixture
def calculated(tmp_path: Path) -> list[str]:
    """A store with article 23's calculations, as the words of a command."""
    words = ["--store", str(tmp_path / "store")]
    assert main(["run", "a23", "--profile", "cpu", "--quiet", *words]) == ExitCode.OK
    return words


def test_the_command_lists_what_each_claim_notices(
    calculated: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["audit", *calculated]) == ExitCode.OK  # of every scenario: one is stored
    text = capsys.readouterr().out
    assert "42 claims compared, each can fail." in text
    assert main(["audit", "a23", "--json", *calculated]) == ExitCode.OK
    (document,) = json.loads(capsys.readouterr().out)["scenarios"].values()
    (profile,) = document["answer"]["profiles"].items()
    assert profile[0] == "cpu"
    assert all(each["noticed"] for each in profile[1])


def test_a_claim_that_cannot_fail_is_named_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    source = next(each for each in SCENARIOS if each.name.startswith("a23"))
    (folder := project / "scenarios" / source.name).mkdir(parents=True)
    text = (source / "scenario.yaml").read_text(encoding="utf-8")
    without_headline = re.sub(r"(?m)^headline:\n(?:[ ].*\n|\n)*", "", text)  # its claims are gone
    (folder / "scenario.yaml").write_text(without_headline, encoding="utf-8")
    entry = (
        f"scenario: {source.name}\nsections:\n- title: Vacuous\n  entries:\n"
        "  - {id: any.time, metric: run.wall_time, class: relative, expect: {low: 0.0},\n"
        "     where: {electricity_usd_per_kwh: 0.3}, source: a test, reason: any time will do}\n"
    )
    (folder / "expectations.yaml").write_text(entry)
    words = ["a23", "--project", str(project), "--store", str(tmp_path / "store")]
    assert main(["run", *words, "--profile", "cpu", "--quiet"]) == ExitCode.OK
    capsys.readouterr()
    assert main(["audit", *words]) == ExitCode.OUTSIDE
    assert "1 claim compared, 1 cannot fail: any.time." in capsys.readouterr().out


def test_a_store_without_results_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--store", str(tmp_path)]) == ExitCode.INFRASTRUCTURE
    assert "harness list" in capsys.readouterr().err
