"""``harness artefacts``: what is listed, shown, deleted and carried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.artefacts import ArtefactStore
from harness.cli import main
from harness.records import Profile, RunSpec
from harness.results.store import RunStore
from harness.variables import ARTEFACTS_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.noop import NoopParams


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> ArtefactStore:
    """Three steps of a run that nobody has stored."""
    monkeypatch.chdir(project_root)
    return walked(tmp_path / "store", 3, monkeypatch)


def walked(folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> ArtefactStore:
    params = {**defaults_of(NoopParams), "steps": steps}
    spec = RunSpec(scenario="a99-walk", profile=Profile.CPU, workload="noop", params=params)
    found = RunStore(folder).artefacts
    monkeypatch.setenv(ARTEFACTS_VARIABLE, str(found.root))
    out = folder / "out"
    out.mkdir(parents=True)
    run("noop", spec, out)
    return found


def asked(store: ArtefactStore, *words: str) -> int:
    return main(["artefacts", *words, "--store", str(store.root.parent)])


def test_steps_are_listed_with_what_they_took(
    store: ArtefactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(store, "list") == 0
    said = capsys.readouterr().out
    for number in (1, 2, 3):
        assert f"walk-{number} " in said
    assert "a99-walk cpu " in said
    assert f"3 steps, 0.0 MiB, in {store.root}" in said
    assert asked(store, "list", "walk-2", "--json") == 0
    (document,) = json.loads(capsys.readouterr().out)["answer"]["steps"]
    assert document["step"]["spec"]["name"] == "walk-2"


def test_a_step_is_shown_by_name_or_by_the_beginning_of_its_key(
    store: ArtefactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(store, "show", "walk-2") == 0
    said = capsys.readouterr().out
    key = next(line.split()[1] for line in said.splitlines() if line.split()[:1] == ["key"])
    assert "decides: number" in said
    assert "reads: before" in said
    assert "file: here.json" in said
    assert asked(store, "show", key[:8]) == 0
    assert capsys.readouterr().out == said


def test_code_that_has_changed_is_said(
    store: ArtefactStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.artefacts.digest_of", lambda *_: "another")
    asked(store, "list")
    assert capsys.readouterr().out.count("  changed\n") == 3
    asked(store, "show", "walk-1")
    assert "(changed since) of harness.workloads.noop" in capsys.readouterr().out


def test_a_damaged_step_is_listed_as_such_and_not_shown(
    store: ArtefactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    (victim,) = (
        key
        for key in store.keys()  # noqa: SIM118 - no mapping
        if (found := store.find(key)) is not None and found.name == "walk-2"
    )
    (store.root / victim / "artefact.json").write_text("{", encoding="utf-8")
    assert asked(store, "list") == 0
    assert "damaged: is made again" in capsys.readouterr().out
    assert asked(store, "show", victim) == 2
    assert "is damaged" in capsys.readouterr().err


def test_what_no_run_has_used_is_pruned(
    store: ArtefactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.begin("unfinished")
    assert asked(store, "prune", "--dry-run") == 0
    assert "3 steps and 1 unfinished would be deleted" in capsys.readouterr().out
    assert len(store.keys()) == 3
    assert asked(store, "prune", "walk-1") == 0
    assert "1 step and 0 unfinished deleted" in capsys.readouterr().out
    assert asked(store, "prune") == 0
    assert "2 steps and 1 unfinished deleted" in capsys.readouterr().out
    assert store.keys() == []
    assert store.unfinished() == []


def test_what_a_run_that_goes_on_has_done_is_kept_unless_all_is_asked_for(
    store: ArtefactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    results = RunStore(store.root.parent)
    spec = RunSpec(scenario="a99-walk", profile=Profile.CPU, workload="noop", params={})
    staged = results.stage(spec)
    events = (store.root.parent / "out" / "events.jsonl").read_bytes()
    (staged / "events.jsonl").write_bytes(events)
    assert asked(store, "prune") == 0
    assert "0 steps" in capsys.readouterr().out
    assert asked(store, "prune", "--all") == 0
    assert store.keys() == []


def test_steps_are_carried_and_taken_elsewhere(
    store: ArtefactStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = tmp_path / "steps.tar"
    assert asked(store, "export", "walk-1", "walk-2", "--out", str(archive)) == 0
    other = RunStore(tmp_path / "other").artefacts
    assert asked(other, "import", str(archive)) == 0
    assert "2 steps taken, 0 here before" in capsys.readouterr().out
    assert asked(other, "import", str(archive)) == 0
    assert "0 steps taken, 2 here before" in capsys.readouterr().out
    before = {key: (other.root / key).stat().st_mtime_ns for key in other.keys()}  # noqa: SIM118
    walked(tmp_path / "other", 3, monkeypatch)
    now = {key: (other.root / key).stat().st_mtime_ns for key in before}
    assert now == before
    assert len(other.keys()) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show",), "show needs a step"),
        (("show", "wlak-2"), "did you mean 'walk-2'"),
        (("export",), "export needs --out FILE"),
        (("import",), "import needs a file that export wrote"),
        (("list", "--all", "--dry-run"), "--dry-run is of prune"),
        (("import", "/nowhere.tar"), "cannot be read"),
        (("lits",), "did you mean 'list'"),
    ],
)
def test_wrong_words_change_nothing(
    store: ArtefactStore, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert asked(store, *words) == 2
    assert said in capsys.readouterr().err
    assert len(store.keys()) == 3
