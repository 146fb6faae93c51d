"""``harness history`` and ``harness regress``, on stores of nights that were never measured."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import harness.commands.regress as command
from harness import cli
from harness.errors import HostError
from harness.execution.versions import Version
from harness.history.rows import read_rows
from harness.records import FinishedRun, Measurement, Profile, RunOutcome, RunSpec, Status, Usage
from harness.results.store import RunStore

_SCENARIO = """\
scenario: a99-example
title: An example
question: How long does it take?
article: {number: 99, title: example}
workload: noop
profiles:
  cpu:
    summary: small
report:
  metrics: [run.wall_time]
"""
_LEDGER = """\
scenario: a99-example
sections:
- title: Time
  entries:
  - {id: time, metric: run.wall_time, class: reported, unit: s, claimed: 1.0, binds: {}, source: no}
"""
Told = Callable[..., tuple[int, str, str]]


def make_project(root: Path) -> Path:
    folder = root / "project" / "scenarios" / "a99-example"
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(_SCENARIO, encoding="utf-8")
    (folder / "expectations.yaml").write_text(_LEDGER, encoding="utf-8")
    return root / "project"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture
def told(project: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    def tell(*words: str) -> tuple[int, str, str]:
        code = cli.main([*words, f"--project={project}"])
        out, err = capsys.readouterr()
        return code, out, err

    return tell


def measure(store: Path, night: int, wall_s: float, **code: Any) -> Path:
    """Put a run of a night into a store of its own."""
    spec = RunSpec(
        scenario="a99-example",
        profile=Profile.CPU,
        workload="noop",
        params={"value": 0.0},
        source=f"source-{night}",
    )
    started = datetime(2026, 3, 1, 1, tzinfo=UTC) + timedelta(days=night)
    outcome = RunOutcome(
        status=Status.FINISHED,
        runtime="local",
        device="no device",
        usage=Usage(wall_s=wall_s),
        started_at=started.isoformat(),
    )
    state: Mapping[str, Any] = {
        "commit": f"{night:040x}",
        "dirty": False,
        "difference": None,
        "absent": {"difference": "the tree is as committed"},
        **code,
    }
    run = FinishedRun(
        spec=spec,
        outcome=outcome,
        measurements=(Measurement(metric="run.wall_time", value=wall_s, unit="s"),),
        environment={"code": state},
    )
    folder = RunStore(store)
    with folder.locked(spec.scenario, spec.profile):
        folder.commit(folder.stage(spec), run)
    return store


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with twenty nights of ten seconds, imported, to be copied."""
    root, draw, out = tmp_path_factory.mktemp("imported"), random.Random(0), StringIO()  # noqa: S311 - noise
    for night in range(20):
        measure(root / "nights" / str(night), night, draw.gauss(10, 0.05))
    words = ["history", "import", str(root / "nights"), f"--project={make_project(root)}"]
    with redirect_stdout(out):
        assert cli.main(words) == 0
    assert out.getvalue().count("1 row added") == 20
    return root


@pytest.fixture
def nights(imported: Path, project: Path) -> Path:
    """Twenty nights of ten seconds, imported into the project."""
    return Path(shutil.copytree(imported, project.parent, dirs_exist_ok=True))


def versions(monkeypatch: pytest.MonkeyPatch, slow: Mapping[str, float]) -> list[str]:
    """Let each commit take ten seconds, and those of `slow` as much longer."""
    draw, ran = random.Random(1), list[str]()  # noqa: S311 - noise

    def at_commit(_project: Path, commit: str, _image: object, _trees: Path) -> Version:
        return Version(name=commit, root=Path(commit))

    def executor(*_: object) -> Callable[[Version], Mapping[tuple[str, str], float]]:
        def execute(version: Version) -> Mapping[tuple[str, str], float]:
            ran.append(version.name)
            return {("run.wall_time", "{}"): draw.gauss(10, 0.05) * slow.get(version.name, 1.0)}

        return execute

    monkeypatch.setattr(command, "at_commit", at_commit)
    monkeypatch.setattr(command, "executor", executor)
    return ran


def test_a_regression_is_confirmed_told_once_and_accepted(
    nights: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = versions(monkeypatch, {f"{20:040x}": 1.05, f"{21:040x}": 1.05})
    store, junit, summary = nights / "tonight", nights / "junit.xml", nights / "summary.md"
    words = ("regress", "a99", f"--junit={junit}", f"--summary={summary}")
    code, out, err = told(*words, f"--store={measure(store, 20, 10.5)}")
    assert code == 1
    assert "REGRESSED" in out
    assert "confirming" in err
    assert {f"{15:040x}", f"{20:040x}"} == set(ran)  # of nights 16 to 19 any may be bad
    (failure,) = ET.parse(junit).getroot().iter("failure")  # noqa: S314 - our own file
    assert "95 % interval" in str(failure.get("message"))
    assert "REGRESSED" in summary.read_text(encoding="utf-8")
    # the same night again runs nothing, and the next is the same alarm
    count = len(ran)
    assert told(*words, f"--store={store}")[0] == 1
    code, out, _ = told("regress", "a99", "--json", f"--store={measure(nights / 'b', 21, 10.5)}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["result"], figure["is_new"]) == (1, "REGRESSED, known", False)
    assert len(ran) == count
    # until somebody accepts it
    known = figure["finding"]["id"]
    assert told("regress", "a99", f"--accept={known}")[0] == 2
    assert told("regress", "a99", f"--accept={known}", "--why=more is done")[0] == 0
    assert told("regress", "a99", f"--store={measure(nights / 'c', 22, 10.5)}")[0] == 0
    code, out, _ = told("history", "a99")
    assert "accepted: more is done" in out


def test_a_slow_night_of_a_good_version_is_no_alarm(
    nights: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(monkeypatch, {})
    store = measure(nights / "tonight", 20, 12.0)
    code, out, _ = told("regress", "a99", "--json", f"--store={store}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["result"], figure["finding"]["pairs"]) == (0, "NOT_SEEN", 3)


def test_a_fluke_while_an_alarm_is_open_ends_no_alarm(
    nights: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {f"{night:040x}": 1.05 for night in range(20, 40)}
    versions(monkeypatch, slow)
    draw = random.Random(2)  # noqa: S311 - noise
    for night in range(20, 34):
        store = measure(nights / f"after-{night}", night, draw.gauss(10.5, 0.05))
        assert told("regress", "a99", f"--store={store}")[0] == 1
    code, out, _ = told("regress", "a99", "--json", f"--store={measure(nights / 'b', 34, 12.0)}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["result"]) == (1, "REGRESSED, known")


def test_a_doubtful_night_gets_a_glance_and_is_never_told_without_pairs(
    nights: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = versions(monkeypatch, {})
    told("regress", "a99", "--no-confirm", f"--store={measure(nights / 'a', 20, 10.11)}")
    store = measure(nights / "b", 21, 10.12)
    code, out, _ = told("regress", "a99", "--no-confirm", "--json", f"--store={store}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["result"], figure["finding"]) == (0, "worth a glance", None)
    code, out, _ = told("regress", "a99", "--json", f"--store={store}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["result"]) == (0, "NOT_SEEN")
    assert len(ran) == 2 + 2 * 3


def test_a_budget_that_ends_first_is_inconclusive(
    nights: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(monkeypatch, {f"{20:040x}": 1.05})
    store = measure(nights / "tonight", 20, 10.5)
    code, out, _ = told("regress", "a99", "--pairs=4", f"--store={store}")
    assert (code, "INCONCLUSIVE" in out) == (4, True)


def test_a_baseline_that_cannot_be_had_is_suspected_and_told_once(
    nights: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Version:
        message = "the image nemo@sha256:0123 is not in this engine any more"
        raise HostError(message)

    monkeypatch.setattr(command, "at_commit", gone)
    code, out, _ = told("regress", "a99", "--json", f"--store={measure(nights / 'a', 20, 10.5)}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["result"], figure["is_new"]) == (4, "SUSPECTED", True)
    assert "is not in this engine any more" in figure["finding"]["why"]
    code, out, _ = told("regress", "a99", "--json", f"--store={measure(nights / 'b', 21, 10.5)}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["result"], figure["is_new"]) == (4, "SUSPECTED", False)


def test_the_same_commit_is_not_compared_with_itself(nights: Path, told: Told) -> None:
    store = measure(nights / "tonight", 20, 10.5, commit=f"{15:040x}")
    code, out, _ = told("regress", "a99", f"--store={store}")
    assert (code, "NOT_REGRESSED" in out) == (0, True)
    assert "it is the machine" in " ".join(out.split())


def test_the_first_bad_commit_is_looked_for(
    nights: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = [f"{at:040x}" for at in range(100, 108)]
    versions(monkeypatch, dict.fromkeys([*commits[5:], f"{20:040x}"], 1.05))
    monkeypatch.setattr(command, "git", lambda *_: "\n".join([*commits, f"{20:040x}"]))
    store = measure(nights / "tonight", 20, 10.5)
    code, out, _ = told("regress", "a99", "--first-bad", "--json", f"--store={store}")
    (figure,) = json.loads(out)["answer"]["figures"]
    assert (code, figure["finding"]["first_bad"]) == (1, commits[5][:10])


def test_nothing_is_imported_twice_and_a_zip_is_an_artefact(nights: Path, told: Told) -> None:
    archive = nights / "night.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((nights / "nights" / "3").rglob("*")):
            file.write(path, Path("results") / path.relative_to(nights))
    code, out, _ = told("history", "import", str(archive))
    assert (code, "0 rows added" in out, "1 known already" in out) == (0, True, True)


def test_each_wrong_word_is_named(nights: Path, told: Told) -> None:
    for words, part in (
        (("history", "a99", "more"), "too many words"),
        (("history", "import"), "nothing to import"),
        (("history", "import", str(nights / "none")), "holds no finished runs"),
        (("history", "rename", "a99", "run.wall_time"), "--why TEXT"),
        (("history", "rename", "a99", "wall", "run.cpu_time", "--why=x"), "run.wall_time"),
        (("history", "a99", "--metric=run.wal_time"), "did you mean 'run.wall_time'?"),
        (("regress", "a99", "--accept=x", "--why=y"), "unknown finding"),
        (("regress", "a99", "--budget=soon"), "--budget"),
        (("regress", "a99", "--pairs=0"), "--pairs"),
    ):
        code, _, err = told(*words)
        assert (code, part in err) == (2, True), (words, err)


@pytest.mark.usefixtures("nights")
def test_a_renamed_metric_keeps_its_nights(told: Told) -> None:
    code, _, _ = told("history", "rename", "a99", "run.wall_time", "run.cpu_time", "--why=word")
    assert code == 0
    code, out, _ = told("history", "a99", "--metric=run.cpu_time", "--format=csv")
    assert len(out.splitlines()) == 21
    code, _, err = told("history", "rename", "a99", "run.cpu_time", "run.wall_time", "--why=word")
    assert code == 2
    assert "run.cpu_time" in err


@pytest.mark.usefixtures("nights")
def test_a_damaged_row_is_named_and_the_others_used(project: Path, told: Told) -> None:
    path = project / "results" / "history" / "a99-example" / "cpu.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write("<<<<<<< HEAD\n")
    code, out, err = told("history", "a99")
    assert code == 0
    assert f"{path}:21: row is not used: a merge left it here" in err
    assert "20 rows" in out
    assert len(read_rows(path).nights) == 20


def test_a_night_without_runs_and_history_says_what_to_type(told: Told) -> None:
    code, _, err = told("regress", "a99")
    assert code == 3
    assert "next: harness history import" in err


def test_a_night_that_failed_is_a_gap(nights: Path, told: Told) -> None:
    store = RunStore(nights / "tonight")
    measure(store.root, 21, 10.0)
    (run,) = store.runs("a99-example", Profile.CPU)
    spec = replace(run.spec, source="source-22")
    with store.locked(spec.scenario, spec.profile):
        failed = replace(run, spec=spec, outcome=replace(run.outcome, status=Status.FAILED))
        store.commit(store.stage(spec), failed)
    code, _, err = told("regress", "a99", f"--store={store.root}")
    assert (code, "1 row added" in err) == (0, True)
