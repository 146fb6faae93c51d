"""What is published is whole, says where it comes from, and no change of it goes unnoticed."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import ExitCode
from harness.results.bundle import BUNDLE_VERSION
from harness.results.files import ARCHIVE_FILE, STATEMENT_FILE
from harness.results.statement import read_envelope

from .publication import (
    OTHER,
    SIGNER,
    allow,
    changes,
    committed,
    git,
    make_key,
    make_publication,
    rewrite,
)
from .small import NAME, called, make_project, runs_of

PUBLISH = ("publish", "a99", "--profile", "cpu")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def publication(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Path:
    return make_publication(tmp_path_factory.mktemp("publication") / "project", key)


@pytest.fixture
def project(publication: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(publication, tmp_path / "project"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def verified(project: Path, *words: str) -> tuple[int, str]:
    done = called(project, "verify", *words)
    return done.returncode, " ".join((done.stdout + done.stderr).decode().split())


# --- what a publication is ------------------------------------------------------------------------


def test_a_profile_is_a_bundle_and_what_follows_from_it(publication: Path) -> None:
    found = {*contents(publication / "results" / NAME)}
    bundle = {f"cpu/{ARCHIVE_FILE}", f"cpu/{STATEMENT_FILE}"}
    assert found == {*bundle, "table.md", "cpu.cells.csv", "cpu.ledger.csv"}
    code, said = verified(publication)
    assert code == ExitCode.OK, said
    assert f"{NAME} cpu: as published; 3 runs, commit " in said
    assert f"signed by {SIGNER}" in said
    assert f"{OTHER} cpu: as published; 1 run, commit " in said
    assert "unsigned" in said
    assert said.endswith("2 bundles verified")


def test_the_same_runs_give_the_same_bytes(publication: Path, project: Path) -> None:
    assert called(project, "publish", "a98", "--profile", "cpu").returncode == ExitCode.OK
    assert contents(project / "results" / OTHER) == contents(publication / "results" / OTHER)


def test_an_unpacked_bundle_is_a_store_that_sha256sum_checks(
    publication: Path, tmp_path: Path
) -> None:
    archive = publication / "results" / NAME / "cpu" / ARCHIVE_FILE
    command = ["tar", "-xzf", str(archive), "-C", str(tmp_path)]
    subprocess.run(command, check=True)
    command = ["sha256sum", "--check", "--strict", "--quiet", "manifest-sha256.txt"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = called(publication, "check", "a99", "--profile", "cpu", "--store", str(tmp_path))
    assert done.returncode == ExitCode.OK


def test_published_results_are_read_as_any_others(publication: Path) -> None:
    words = ("a99", "--profile", "cpu", "--json")
    published = called(publication, "report", *words, "--store", f"{publication}/results")
    local = called(publication, "report", *words)
    assert published.returncode == ExitCode.OK
    assert json.loads(published.stdout) == json.loads(local.stdout)


def test_nothing_is_run_into_a_bundle(publication: Path) -> None:
    before = contents(publication / "results" / NAME)
    words = ("run", "a99", "--profile", "cpu", "--runtime", "local", "--seed", "9")
    done = called(publication, *words, "--store", f"{publication}/results")
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "is published, and no place to run in" in done.stderr.decode()
    assert contents(publication / "results" / NAME) == before


def test_the_statement_is_one_of_in_toto(publication: Path) -> None:
    path = publication / "results" / NAME / "cpu" / STATEMENT_FILE
    document = json.loads(read_envelope(path).payload)
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert [each["name"] for each in document["subject"]] == [ARCHIVE_FILE]
    runs = document["predicate"]["runs"]
    assert {run["run_id"] for run in runs} == {path.name for path in runs_of(publication)}
    assert all(len(run["commit"]) == 40 for run in runs)


def test_openssh_alone_verifies_a_signature(publication: Path, tmp_path: Path, key: Path) -> None:
    """The commands of docs/publishing.md."""
    envelope = read_envelope(publication / "results" / NAME / "cpu" / STATEMENT_FILE)
    signature = tmp_path / "signature"
    body = base64.encodebytes(envelope.signatures[0].blob).decode()
    begin, end = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
    signature.write_text(f"{begin}\n{body}{end}\n", encoding="ascii")
    command = ["ssh-keygen", "-Y", "verify", "-f", str(allow(key, tmp_path)), "-I", SIGNER]
    command += ["-n", "spark-article-harness", "-s", str(signature)]
    subprocess.run(command, input=envelope.signed_bytes, check=True, capture_output=True)


# --- what is not published ------------------------------------------------------------------------


def test_half_a_profile_is_not_published(project: Path) -> None:
    shutil.rmtree(runs_of(project)[0])
    before = contents(project / "results" / NAME)
    done = called(project, *PUBLISH)
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "1 of 3 runs are not finished" in done.stderr.decode()
    assert contents(project / "results" / NAME) == before


def test_a_dirty_tree_is_not_published(project: Path) -> None:
    (project / "notes.txt").write_text("not committed", encoding="utf-8")
    done = called(project, *PUBLISH)
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "this tree differs from commit" in done.stderr.decode()


def test_runs_of_a_dirty_tree_are_not_published(project: Path) -> None:
    """Nor after the change is taken back: what made them nobody has."""
    shutil.rmtree(project / "results" / "local")
    (project / "notes.txt").write_text("not committed", encoding="utf-8")
    run = ("run", "a99", "--profile", "cpu", "--runtime", "local")
    assert called(project, *run).returncode == ExitCode.OK
    (project / "notes.txt").unlink()
    clean = project.rename(project.with_name("clean"))
    done = called(clean, *PUBLISH)
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "3 of 3 runs cannot be published: its tree differs from commit" in done.stderr.decode()


def test_a_folder_in_the_tree_of_others_is_not_published(publication: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("/project\n", encoding="utf-8")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "Another repository")
    project = Path(shutil.copytree(publication, tmp_path / "project"))
    shutil.rmtree(project / ".git")
    done = called(project, *PUBLISH)
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "this tree has no commit: the git tree around this folder" in done.stderr.decode()


def test_a_figure_that_its_events_do_not_give_is_not_published(project: Path) -> None:
    before = contents(project / "results" / NAME)
    figures = runs_of(project)[0] / "measurements.json"
    text = figures.read_text(encoding="utf-8")
    figures.write_text(text.replace('"value": 3.0', '"value": 3.01', 1), encoding="utf-8")
    done = called(project, *PUBLISH)
    assert done.returncode == ExitCode.USAGE
    assert "noop.value is 3.01 1, and the run's events give 3.0 1" in done.stderr.decode()
    assert contents(project / "results" / NAME) == before


def test_runs_that_are_no_bundle_are_not_published(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    run = ("run", "a99", "--profile", "cpu", "--runtime", "local")
    committed(project)
    assert called(project, *run).returncode == ExitCode.OK
    place = project / "results" / NAME
    shutil.copytree(project / "results" / "local" / NAME / "cpu", place / "cpu")
    (place / "cpu.gone.svg").write_text("of a plot that is not declared any more")
    code, said = verified(project)
    assert code == ExitCode.OUTSIDE
    for path in (place / "cpu" / runs_of(project)[0].name / "spec.json", place / "cpu.gone.svg"):
        assert f"{path}: is no part of what is published" in said
    assert called(project, *PUBLISH).returncode == ExitCode.OK
    assert not (place / "cpu.gone.svg").exists()
    assert {path.name for path in (place / "cpu").iterdir()} == {ARCHIVE_FILE, STATEMENT_FILE}


# --- every change shows ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", changes())
def test_each_kind_of_change_is_caught(
    publication: Path, project: Path, tmp_path: Path, name: str
) -> None:
    chance = random.Random(name)  # noqa: S311 - the same changes each time
    _caught(publication, project, chance, name, make_key(tmp_path, "other"))


@pytest.mark.slow
def test_two_hundred_changes_are_caught(publication: Path, project: Path, tmp_path: Path) -> None:
    chance, key = random.Random(18), make_key(tmp_path, "other")  # noqa: S311 - as above
    names = [*changes()]
    for number in range(200):
        _caught(publication, project, chance, names[number % len(names)], key)


def _caught(publication: Path, project: Path, chance: random.Random, name: str, key: Path) -> None:
    """Make a change, hold that it is told with its file, and take it back."""
    results, before = project / "results", contents(project / "results")
    path = changes()[name](project, chance, key)
    while contents(results) == before:  # a row may be moved to where it was
        path = changes()[name](project, chance, key)
    code, said = verified(project)
    assert code == ExitCode.OUTSIDE, (name, path, said)
    assert str(path) in said, (name, path, said)
    for scenario in (NAME, OTHER):
        shutil.rmtree(results / scenario)
        shutil.copytree(publication / "results" / scenario, results / scenario)


def test_a_key_asks_for_a_signature_of_its_owner(
    publication: Path, tmp_path: Path, key: Path
) -> None:
    code, said = verified(publication, "--key", str(allow(key, tmp_path)))
    unsigned = publication / "results" / OTHER / "cpu" / STATEMENT_FILE
    assert code == ExitCode.OUTSIDE
    assert f"{unsigned}: is unsigned, and --key asks whose it is" in said
    stranger = allow(make_key(tmp_path, "stranger"), tmp_path)
    code, said = verified(publication, "--key", str(stranger))
    signed = publication / "results" / NAME / "cpu" / STATEMENT_FILE
    assert f"{signed}: is signed by SHA256:" in said
    code, said = verified(publication, "--key", str(tmp_path / "absent"))
    assert code == ExitCode.USAGE


def test_what_is_published_can_be_signed_afterwards(project: Path, key: Path) -> None:
    done = called(project, "publish", "--all", "--sign", str(key))
    assert done.returncode == ExitCode.OK, done.stderr
    code, said = verified(project, "--key", str(project / "results" / "allowed_signers"))
    assert code == ExitCode.OK, said
    assert said.count(f"signed by {SIGNER}") == 2


def test_a_bundle_of_a_newer_harness_says_so(project: Path) -> None:
    folder = project / "results" / OTHER / "cpu"
    rewrite(folder, {"schema_version": BUNDLE_VERSION + 1, "a_field_of_tomorrow": 1})
    said = f"was published by a newer harness (bundle schema {BUNDLE_VERSION + 1})"
    for words in (("verify",), ("check", "a98", "--store", f"{project}/results")):
        done = called(project, *words)
        assert done.returncode in (ExitCode.OUTSIDE, ExitCode.USAGE)
        assert said in " ".join((done.stdout + done.stderr).decode().split()), words


def test_a_publication_that_cannot_be_signed_is_none(project: Path, tmp_path: Path) -> None:
    before = contents(project / "results" / NAME)
    done = called(project, *PUBLISH, "--sign", str(tmp_path / "absent"))
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "ssh-keygen cannot sign with" in done.stderr.decode()
    assert contents(project / "results" / NAME) == before
