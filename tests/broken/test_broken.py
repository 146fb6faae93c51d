"""A corpus of broken files and words: each is answered with all its mistakes, each with its place.

`manifest.yaml` says what is printed. Every case starts from the project in `right/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import ExitCode
from harness.records import SCHEMA_VERSION, Profile, RunSpec, from_json, record
from harness.results.store import RunStore
from harness.scenario.positions import read

HERE = Path(__file__).parent
SUBPROCESS = ("misspelt-keys.yaml", "latin-1.yaml", "bomb.yaml", "cut-short.json")


@record
class Mistake:
    """One line that must be printed; `place` is ``line:column``, or a path below the project."""

    place: str | None
    key: str
    reason: str
    nearest: str = ""


@record
class Case:
    """A broken file, or words, and what they are answered with."""

    name: str
    command: str
    mistakes: tuple[Mistake, ...]
    exit_code: int = ExitCode.USAGE
    file: Path | None = None
    replaces: str = ""


def _cases() -> Iterator[Case]:
    manifest = read(HERE / "manifest.yaml").value
    for words, listed in manifest.pop("command_line").items():
        yield Case(name=words, command=words, mistakes=_mistakes(listed))
    for group, each in manifest.items():
        for name, listed in each["files"].items():
            yield Case(
                name=f"{group}/{name}",
                command=each["command"],
                mistakes=_mistakes(listed),
                exit_code=each["exit_code"],
                file=HERE / group / name,
                replaces=each["replaces"],
            )


def _mistakes(listed: list[list[Any]]) -> tuple[Mistake, ...]:
    return tuple(
        Mistake(place=place, key=key, reason=reason, nearest="".join(nearest))
        for place, key, reason, *nearest in listed
    )


CASES = tuple(_cases())


@record
class Project:
    """A copy of the right project, with one stored run."""

    root: Path
    run: Path
    outside: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    def words(self, command: str) -> list[str]:
        """Return the words of a command, with this project's folders."""
        named = ["--project", str(self.root)]
        if "--store" not in command:
            named += ["--store", str(self.store)]
        return [word.replace("{root}", str(self.root)) for word in command.split()] + named

    def put(self, case: Case) -> Path | None:
        """Put the broken file of a case in its place."""
        if case.file is None:
            return None
        place = self.root / case.replaces
        if case.replaces == "{run}":
            place = self.run / case.file.parent.name
        shutil.copyfile(case.file, place)
        return place

    def contents(self) -> dict[str, str]:
        """Return path -> digest of everything in the project and in the folder we are called in."""
        files = [path for top in (self.root, self.outside) for path in top.rglob("*")]
        return {str(path): _digest(path) for path in files}


def _digest(path: Path) -> str:
    if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
        return "no file that can be read"
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    root, outside = tmp_path / "project", tmp_path / "elsewhere"
    shutil.copytree(HERE / "right", root)
    outside.mkdir()
    document = json.loads((root / "run" / "spec.json").read_text(encoding="utf-8"))
    document["schema_version"] = SCHEMA_VERSION
    (root / "run" / "spec.json").write_text(json.dumps(document), encoding="utf-8")
    spec = from_json(RunSpec, document)
    run = RunStore(root / "store").folder(spec)
    run.parent.mkdir(parents=True)
    (root / "run").rename(run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_EVIDENCE_DIR", str(root / "evidence"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(outside)
    before = signal.getsignal(signal.SIGTERM)
    yield Project(root=root, run=run, outside=outside)
    signal.signal(signal.SIGTERM, before)


def test_every_file_is_in_the_manifest() -> None:
    files = {path for path in HERE.rglob("*") if path.is_file() and path.parent != HERE}
    files = {
        path for path in files if "right" not in path.parts and "__pycache__" not in path.parts
    }
    assert files == {case.file for case in CASES} - {None}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("validate", ExitCode.OK),
        ("list", ExitCode.OK),
        ("show a99 --profile cpu --set index=7", ExitCode.OK),
        ("plan a99 --profile cpu --runtime local --params {root}/params.yaml", ExitCode.OK),
        ("plan a99 --profile evidence --runtime local", ExitCode.OK),
        ("check a99 --profile cpu", ExitCode.INCONCLUSIVE),  # of two cells one is stored
    ],
)
def test_what_is_right_is_accepted(
    project: Project, command: str, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(project.words(command)) == code, capsys.readouterr().err


def test_results_of_an_older_harness_are_named_and_left_alone(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = project.run / "spec.json"
    document = {**json.loads(spec.read_text(encoding="utf-8")), "schema_version": 1}
    spec.write_text(json.dumps(document), encoding="utf-8")
    before = project.contents()
    assert main(project.words("report a99 --profile auto")) == ExitCode.INFRASTRUCTURE
    assert "are from an older harness (schema 1)" in capsys.readouterr().err
    assert project.contents() == before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_mistake_is_reported_and_nothing_is_touched(
    project: Project, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project.put(case)
    before = project.contents()
    code = main(project.words(case.command))
    printed = capsys.readouterr()
    assert code == case.exit_code, printed.out + printed.err
    assert project.contents() == before
    if case.exit_code == ExitCode.USAGE:
        _compare(printed.err, case, place, project)
    else:
        _compare_remedy(printed.out, case)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.file and case.file.name in SUBPROCESS],
    ids=lambda case: case.name,
)
def test_the_program_says_the_same(project: Project, case: Case) -> None:
    place = project.put(case)
    command = [sys.executable, "-m", "harness", *project.words(case.command)]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == case.exit_code
    assert "Traceback" not in done.stderr
    if case.exit_code == ExitCode.USAGE:
        assert done.stdout == ""
        _compare(done.stderr, case, place, project)


def _compare(printed: str, case: Case, place: Path | None, project: Project) -> None:
    """Assert that the lines printed are the mistakes of the case: all, in order, and no other."""
    lines = printed.partition(": ")[2].splitlines()  # without the name of the command
    assert len(lines) == len(case.mistakes), printed
    for line, mistake in zip(lines, case.mistakes, strict=True):
        head = ": ".join(part for part in (_place(mistake, place, project), mistake.key) if part)
        assert line.startswith(f"{head}: " if head else ""), line
        assert mistake.reason in line.removeprefix(head), line
        _, asks, nearest = line.partition("did you mean ")
        assert nearest == (f"{mistake.nearest!r}?)" if asks else mistake.nearest), line


def _place(mistake: Mistake, place: Path | None, project: Project) -> str:
    if mistake.place is None:
        return str(place) if place else ""
    if not mistake.place[0].isdigit():
        return f"{project.root}/{mistake.place}"
    return f"{place}:{mistake.place}"


def _compare_remedy(printed: str, case: Case) -> None:
    """Assert that what the machine lacks is named, with the next command to type."""
    for mistake in case.mistakes:
        assert mistake.reason in printed
        assert f"next: {mistake.nearest}" in printed


# --- what cannot be checked in --------------------------------------------------------------------


def scenario_file(project: Project) -> Path:
    return project.root / "scenarios" / "a99-example" / "scenario.yaml"


def too_large(project: Project) -> str:
    with scenario_file(project).open("ab") as file:
        file.write(b"# padding\n" * 1024 * 1024)
    return f"{scenario_file(project)}: is larger than 4194304 bytes"


def deep_as_the_sea(project: Project) -> str:
    scenario_file(project).write_text("params: " + "[" * 1_000_000, encoding="utf-8")
    return f"{scenario_file(project)}:1:49: params[0][0]: nested deeper than 40 levels"


def a_folder_in_its_place(project: Project) -> str:
    scenario_file(project).unlink()
    scenario_file(project).mkdir()
    return f"{scenario_file(project)}: cannot be read: Is a directory"


def a_link_to_itself(project: Project) -> str:
    scenario_file(project).unlink()
    scenario_file(project).symlink_to("scenario.yaml")
    return f"{scenario_file(project)}: cannot be read: Too many levels of symbolic links"


def no_permission(project: Project) -> str:
    scenario_file(project).chmod(0)
    if os.access(scenario_file(project), os.R_OK):
        pytest.skip("this user may read every file")
    return f"{scenario_file(project)}: cannot be read: Permission denied"


def a_scenario_that_links_to_nothing(project: Project) -> str:
    link = project.root / "scenarios" / "a98-gone"
    link.symlink_to("nowhere")
    return f"{link}: is a broken link"


def a_scenario_of_another_name(project: Project) -> str:
    folder = project.root / "scenarios" / "a98-other"
    folder.mkdir()
    (folder / "scenario.yml").touch()
    return f"{folder}: has no scenario.yaml (got scenario.yml)"


def no_ledger(project: Project) -> str:
    ledger = scenario_file(project).with_name("expectations.yaml")
    ledger.unlink()
    return f"{ledger}: cannot be read: No such file or directory"


def no_lock(project: Project) -> str:
    lock = project.root / "containers" / "images.lock.yaml"
    lock.unlink()
    return f"{lock}: cannot be read: No such file or directory"


def no_scenarios(project: Project) -> str:
    shutil.rmtree(project.root / "scenarios" / "a99-example")
    return f"{project.root / 'scenarios'}: holds no scenario"


def no_project(project: Project) -> str:
    shutil.rmtree(project.root / "scenarios")
    return (
        f"{project.root}: is not a checkout of this project: it has no scenarios/; "
        "name one with --project FOLDER or HARNESS_PROJECT=FOLDER"
    )


@pytest.mark.parametrize(
    "damage",
    [
        too_large,
        deep_as_the_sea,
        a_folder_in_its_place,
        a_link_to_itself,
        no_permission,
        a_scenario_that_links_to_nothing,
        a_scenario_of_another_name,
        no_ledger,
        no_lock,
        no_scenarios,
        no_project,
    ],
)
def test_a_damaged_tree_is_named(
    project: Project, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = damage(project)
    before = project.contents()
    assert main(project.words("validate")) == ExitCode.USAGE
    assert capsys.readouterr().err == f"harness validate: {answer}\n"
    assert project.contents() == before


def test_the_mistakes_of_several_files_come_at_once(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    other = project.root / "scenarios" / "a98-other"
    shutil.copytree(scenario_file(project).parent, other)
    for name in ("scenario.yaml", "expectations.yaml"):
        shutil.copyfile(HERE / "scenario" / "merge-conflict.yaml", other / name)
    shutil.copyfile(HERE / "lock" / "no-tag.yaml", project.root / "containers/images.lock.yaml")
    ledger = HERE / "expectations" / "unit-without-quotes.yaml"
    shutil.copyfile(ledger, scenario_file(project).with_name("expectations.yaml"))
    assert main(project.words("validate")) == ExitCode.USAGE
    printed = capsys.readouterr().err
    for place in ("images.lock.yaml:2:3", "a98-other/scenario.yaml:6:1", "expectations.yaml:7:5"):
        assert place in printed


# --- folders of evidence and results --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["absent", "a file", "a folder in place of the file", "a loop"])
def test_evidence_that_is_not_there_is_named_with_what_to_type(
    project: Project,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    published = project.root / "evidence" / "a99" / "figures.json"
    published.unlink()
    if kind == "a file":
        monkeypatch.setenv("HARNESS_EVIDENCE_DIR", str(project.root / "params.yaml"))
    elif kind == "a folder in place of the file":
        published.mkdir()
    elif kind == "a loop":
        published.symlink_to("figures.json")
    before = project.contents()
    words = project.words("plan a99 --profile evidence --runtime local")
    assert main(words) == ExitCode.INFRASTRUCTURE
    if kind == "a file":
        printed = capsys.readouterr().err
        assert f"HARNESS_EVIDENCE_DIR names no folder: {project.root}/params.yaml" in printed
        assert "next: export HARNESS_EVIDENCE_DIR=FOLDER" in printed
        return
    printed = capsys.readouterr().out
    assert "a99/figures.json: absent" in printed
    assert "next: harness fetch a99-example" in printed
    assert main(["run", *words[1:]]) == ExitCode.INFRASTRUCTURE
    assert "next: harness fetch a99-example" in capsys.readouterr().err
    assert project.contents() == before


def test_every_damaged_run_is_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    copy = project.run.with_name("copy-by-hand")
    shutil.copytree(project.run, copy)
    (project.run / "outcome.json").unlink()
    assert main(project.words("check a99 --profile cpu")) == ExitCode.USAGE
    printed = capsys.readouterr().err
    assert f"{project.run}/outcome.json: cannot be read" in printed
    assert f"{copy}/spec.json: is not the spec of this folder's run" in printed


def test_a_copy_kept_beside_a_run_is_not_counted(project: Project) -> None:
    for suffix in (".bak", ".failed-old", ".failed-1x"):
        shutil.copytree(project.run, project.run.with_name(project.run.name + suffix))
    store = RunStore(project.run.parents[2])
    found = store.runs(project.run.parents[1].name, Profile.CPU)
    assert [each.spec.run_id for each in found] == [project.run.name]


@pytest.mark.parametrize("option", ["--junit", "--summary"])
def test_a_place_that_cannot_be_written_is_named(
    project: Project, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.contents()
    words = project.words(f"check a99 --profile cpu {option} {shlex.quote(str(project.root))}")
    assert main(words) == ExitCode.INFRASTRUCTURE
    assert f"cannot write to {project.root}: Is a directory" in capsys.readouterr().err
    assert project.contents() == before
