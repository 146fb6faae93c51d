"""Stored runs that are damaged, old, foreign or half-published: each is named, none is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode
from harness.records import SCHEMA_VERSION, RunSpec, from_json

from .publication import committed
from .small import NAME, SCENARIO, called, harness, make_project, runs_of

RUN = ("run", "a99", "--profile", "cpu", "--runtime", "local")
CHECK = ("check", "a99", "--profile", "cpu")
PUBLISH = ("publish", "a99", "--profile", "cpu")
RECORDS = ("spec.json", "outcome.json", "measurements.json", "environment.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = committed(make_project(tmp_path_factory.mktemp("stored") / "project"))
    assert called(project, *RUN).returncode == ExitCode.OK
    assert called(project, *PUBLISH).returncode == ExitCode.OK
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    document = {**document, **{name: value for name, value in changes.items() if value is not None}}
    document = {name: value for name, value in document.items() if changes.get(name, 0) is not None}
    path.write_text(json.dumps(document), encoding="utf-8")


# --- publishing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RECORDS, "events.jsonl"])
def test_a_run_that_is_not_whole_leaves_what_is_published(project: Path, name: str) -> None:
    (runs_of(project)[-1] / name).unlink()
    before = contents(project / "results" / NAME)
    done = called(project, *PUBLISH)
    assert done.returncode in (ExitCode.USAGE, ExitCode.INFRASTRUCTURE)
    assert name in done.stderr.decode()
    assert contents(project / "results" / NAME) == before
    assert not [path for path in (project / "results").rglob(".*") if path.suffix == ".new"]


def test_a_missing_run_leaves_what_is_published(project: Path) -> None:
    shutil.rmtree(runs_of(project)[0])
    before = contents(project / "results" / NAME)
    assert called(project, *PUBLISH).returncode == ExitCode.INFRASTRUCTURE
    assert contents(project / "results" / NAME) == before


# --- older code, other versions, other clocks -----------------------------------------------------


def of_older_code(project: Path, number: int, *, started_at: str = "") -> Path:
    """Make a stored run one of older code, under the id that it then has."""
    run = runs_of(project)[number]
    edit(run / "spec.json", source="0" * 64)
    if started_at:
        edit(run / "outcome.json", started_at=started_at)
    spec = from_json(RunSpec, json.loads((run / "spec.json").read_text(encoding="utf-8")))
    return run.rename(run.with_name(spec.run_id))


def test_figures_of_older_code_are_marked_and_not_published(project: Path) -> None:
    of_older_code(project, 0)
    said = "1 of 3 runs of other code or data than this checkout's"
    for words in (CHECK, ("report", "a99", "--profile", "cpu")):
        done = (
            called(project, *words, "--junit", str(project.parent / "j.xml"))
            if words is CHECK
            else None
        )
        done = done or called(project, *words)
        assert said in " ".join(done.stdout.decode().split()), words
    before = contents(project / "results" / NAME)
    done = called(project, *PUBLISH)
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert said.replace("runs of", "runs are of") in done.stderr.decode()
    assert contents(project / "results" / NAME) == before


def test_published_tables_do_not_change_with_every_commit(project: Path) -> None:
    """Here those of folders of runs; those of a bundle are asked in test_published.py."""
    of_older_code(project, 0)
    published = project / "results" / NAME / "cpu"
    shutil.rmtree(published)
    shutil.copytree(project / "results" / "local" / NAME / "cpu", published)
    assert called(project, "publish", "--all").returncode == ExitCode.OK
    assert b"other code" not in (project / "results" / NAME / "table.md").read_bytes()


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (SCHEMA_VERSION - 1, f"an older harness (schema {SCHEMA_VERSION - 1})"),
        (SCHEMA_VERSION + 1, f"a newer harness (schema {SCHEMA_VERSION + 1})"),
    ],
)
def test_a_run_of_another_version_is_said_to_be_one(project: Path, version: int, said: str) -> None:
    for number, run in enumerate(runs_of(project)):
        edit(run / "spec.json", schema_version=version, a_field_of_tomorrow=1)
        run.rename(run.with_name(f"{number:016x}"))  # the version is part of the id
    done = called(project, "check", "a99")
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert said in done.stderr.decode()
    assert said in called(project, "plan", "a99", "--runtime", "local").stdout.decode()


@pytest.mark.parametrize("version", [None, "2", 2.0, True])
def test_a_run_that_names_no_version_is_damaged(project: Path, version: object) -> None:
    spec = runs_of(project)[0] / "spec.json"
    edit(spec, schema_version=version)
    done = called(project, *CHECK)
    assert done.returncode == ExitCode.USAGE
    assert str(spec) in done.stderr.decode()
    assert "version" in done.stderr.decode()


def test_results_of_a_renamed_scenario_are_noticed(project: Path) -> None:
    old, new = project / "scenarios" / NAME, project / "scenarios" / "a99-renamed"
    for file in ("scenario.yaml", "expectations.yaml"):
        text = (old / file).read_text(encoding="utf-8")
        (old / file).write_text(text.replace(NAME, new.name), encoding="utf-8")
    old.rename(new)
    for words in (("list",), ("validate",), ("publish", "--all", "--stale")):
        done = called(project, *words)
        assert (
            f"{project}/results/local/{NAME}: results of no scenario here" in done.stderr.decode()
        )
        assert f"{project}/results/{NAME}: results of no scenario here" in done.stderr.decode()
        stale = words[0] == "publish"
        assert done.returncode == (ExitCode.OUTSIDE if stale else ExitCode.OK)


def test_the_run_stored_last_counts_whatever_the_clock_said(project: Path) -> None:
    """Two older runs of one point; the clock was set back before the second."""
    run = runs_of(project)[0]
    shutil.copytree(run, run.with_name("spare"))
    first = of_older_code(project, runs_of(project).index(run), started_at="2031-01-01T00:00:00")
    run.with_name("spare").rename(run)
    edit(run / "spec.json", source="1" * 64)
    edit(run / "outcome.json", started_at="2030-01-01T00:00:00")
    figures = run / "measurements.json"
    text = figures.read_text(encoding="utf-8")
    figures.write_text(text.replace('"value": 3.0', '"value": 7.0'), encoding="utf-8")
    spec = from_json(RunSpec, json.loads((run / "spec.json").read_text(encoding="utf-8")))
    second = run.rename(run.with_name(spec.run_id))
    order = run.parent / ".order"
    for last, code in ((second, ExitCode.OUTSIDE), (first, ExitCode.OK)):
        others = [each.name for each in (first, second) if each != last]
        order.write_text("\n".join([*others, last.name, ""]), encoding="utf-8")
        assert called(project, *CHECK).returncode == code


def test_runs_are_listed_in_the_order_they_were_stored(project: Path) -> None:
    order = (project / "results" / "local" / NAME / "cpu" / ".order").read_text(encoding="utf-8")
    assert sorted(order.split()) == sorted(run.name for run in runs_of(project))


# --- what hangs or breaks a reader ----------------------------------------------------------------

ODD = {
    "deep": "[" * 100_000,
    "deep and closed": "[" * 5000 + "]" * 5000,
    "deep objects": '{"a":' * 3000,
    "321 digits": '{"wall_s": ' + "9" * 321 + "}",
    "5000 digits": "9" * 5000,
    "huge float": "[1e999]",
    "half a character": '"\\ud800"',
    "nothing": "",
    "null": "null",
    "a number": "3",
    "bytes": "\ufffe\x00",
}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("kind", [*ODD, "a pipe", "a device", "a folder", "a socket"])
def test_whatever_stands_in_place_of_a_record_is_named(project: Path, name: str, kind: str) -> None:
    path = runs_of(project)[0] / name
    path.unlink()
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a socket":
        path.symlink_to("/dev/log" if Path("/dev/log").exists() else "/dev/null")
    else:
        path.write_text(ODD[kind], encoding="utf-8")
    before = {str(each) for each in project.rglob("*")}
    waits = kind in ("a pipe", "a device", "a socket")
    done = harness(project, *CHECK) if waits else called(project, *CHECK)
    assert done.returncode == ExitCode.USAGE, done.stderr.decode()
    assert str(path) in done.stderr.decode()
    assert len(done.stderr) < 2000
    assert {str(each) for each in project.rglob("*")} == before


@pytest.mark.parametrize("params", [{}, {"value": "9" * 321}, {"index": 10**299}])
def test_a_spec_whose_params_are_not_its_workloads_is_named(
    project: Path, params: dict[str, Any]
) -> None:
    run = runs_of(project)[0]
    before = json.loads((run / "spec.json").read_text(encoding="utf-8"))
    edit(run / "spec.json", params={**before["params"], **params}, axes=["nowhere"])
    spec = from_json(RunSpec, json.loads((run / "spec.json").read_text(encoding="utf-8")))
    moved = run.rename(run.with_name(spec.run_id))
    for words in (
        CHECK,
        ("report", "a99", "--profile", "cpu"),
        ("plan", "a99", "--runtime", "local"),
    ):
        done = called(project, *words)
        assert b"unexpected" not in done.stderr, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        if done.returncode == ExitCode.USAGE:
            assert f"{moved}/spec.json" in done.stderr.decode()
        else:
            assert done.returncode != ExitCode.OK or words[0] != "check"


@pytest.mark.parametrize("file", ["scenario.yaml", "expectations.yaml"])
def test_a_pipe_in_place_of_a_file_of_the_scenario_is_named(project: Path, file: str) -> None:
    path = project / "scenarios" / NAME / file
    path.unlink()
    os.mkfifo(path)
    done = harness(project, *CHECK)
    assert done.returncode == ExitCode.USAGE
    assert f"{path}: cannot be read: is not a file" in done.stderr.decode()


def test_a_pipe_in_place_of_an_article_or_of_params_is_named(project: Path) -> None:
    pipe = project / "pipe"
    os.mkfifo(pipe)
    for words in (("report", "a99", "--splice", str(pipe)), (*CHECK, "--params", str(pipe))):
        done = harness(project, *words)
        assert done.returncode == ExitCode.USAGE
        assert str(pipe) in done.stderr.decode()


# --- names and clocks of the machine --------------------------------------------------------------


def test_a_path_that_is_no_utf_8_loses_no_run(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", SCENARIO.replace("replicates: 3", "replicates: 1"))
    store = os.fsdecode(os.fsencode(tmp_path) + b"/st\xffre")
    done = harness(project, *RUN, "--store", store, "-v")
    assert done.returncode == ExitCode.OK, done.stderr.decode(errors="replace")
    environment = next(Path(store).glob(f"{NAME}/cpu/*/environment.json"))
    command = json.loads(environment.read_text(encoding="utf-8"))["command"]
    assert any("st\\udcffre" in word for word in command)
    assert harness(project, *CHECK, "--store", store).returncode == ExitCode.OK


def test_a_run_by_a_wrong_clock_is_recorded_with_a_warning(finished: Path, tmp_path: Path) -> None:
    """A run of the future is stored; the clock of the next one says less."""
    project = Path(shutil.copytree(finished, tmp_path / "project"))
    lost, kept, *_ = runs_of(project)
    shutil.rmtree(lost)
    edit(kept / "outcome.json", started_at="2098-01-01T00:00:00+00:00")
    done = called(project, *RUN)
    assert done.returncode == ExitCode.OK
    assert "warning: the clock says" in done.stderr.decode()
    environment = json.loads((lost / "environment.json").read_text(encoding="utf-8"))
    assert ["2098-01-01" in each for each in environment["warnings"]] == [True]
    assert "Warning: the clock says" in called(project, *CHECK).stdout.decode()
