"""Published files: whose folder they are read from, what is written where, and what is said."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pooch
import pytest
import requests

from harness.cli import main
from harness.errors import HostError
from harness.runtime.evidence import EvidenceState, evidence_folder, fetch
from harness.scenario.schema import EvidenceFile

Retrieve = Callable[..., str]
ADDRESS = "https://example.org/"


def _file(name: str, *, url: str | None = ADDRESS) -> EvidenceFile:
    """Return a published file that contains its own name."""
    return EvidenceFile(file=name, url=url, sha256=hashlib.sha256(name.encode()).hexdigest())


def _write(folder: Path, *files: EvidenceFile) -> None:
    for each in files:
        (folder / each.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / each.file).write_text(each.file)


ONE, TWO = _file("aNN/one.json"), _file("aNN/two.json")


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the user gives."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    monkeypatch.setenv("HARNESS_EVIDENCE_DIR", str(folder))
    return folder


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the network; gives the names of what was downloaded."""
    downloaded: list[str] = []

    def retrieve(_url: str, _known_hash: str, *, fname: str, path: Path) -> str:
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_text(f"{path.name}/{fname}")
        downloaded.append(fname)
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return downloaded


def _failing(error: Exception) -> Retrieve:
    def retrieve(*_: object, **__: object) -> str:
        raise error

    return retrieve


def test_the_users_folder_is_read_where_it_holds_all(theirs: Path, tmp_path: Path) -> None:
    _write(theirs, ONE, TWO)
    assert evidence_folder(tmp_path / "cache", [ONE, TWO]) == theirs
    assert not (tmp_path / "cache").exists()


def test_without_a_folder_of_the_users_the_cache_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_EVIDENCE_DIR", raising=False)
    assert evidence_folder(tmp_path, [ONE]) == tmp_path / "evidence"


def test_what_the_user_lacks_is_fetched_beside_a_copy_of_what_they_have(
    theirs: Path, tmp_path: Path, online: list[str]
) -> None:
    _write(theirs, ONE)
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    folder = evidence_folder(tmp_path / "cache", [ONE, TWO])
    assert folder == tmp_path / "cache" / "evidence"
    fetched = fetch([ONE, TWO], folder)
    assert online == ["two.json"]
    assert {each.state for each in fetched} == {EvidenceState.HERE}
    assert before == {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}


def test_a_users_file_of_other_contents_is_shown_and_never_replaced(
    theirs: Path, tmp_path: Path, online: list[str]
) -> None:
    _write(theirs, ONE)
    (theirs / TWO.file).parent.mkdir(parents=True, exist_ok=True)
    (theirs / TWO.file).write_text("something else")
    folder = evidence_folder(tmp_path / "cache", [ONE, TWO])
    assert folder == theirs
    with pytest.raises(HostError, match=f"{TWO.file}: not the published contents in"):
        fetch([ONE, TWO], folder)
    assert online == []
    assert (theirs / TWO.file).read_text() == "something else"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (requests.ConnectionError("HTTPSConnectionPool(...)"), "no connection to example.org"),
        (requests.ReadTimeout("read timed out"), "example.org does not answer in time"),
        (requests.ConnectTimeout("timed out"), "example.org does not answer in time"),
        (
            requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"),
            "the certificate of example.org is not trusted here",
        ),
        (
            requests.exceptions.ProxyError("407"),
            "a proxy does not let us through to example.org",
        ),
        (requests.TooManyRedirects("30"), "example.org redirects without end"),
        (
            requests.exceptions.ChunkedEncodingError("IncompleteRead"),
            "the download from example.org was cut short",
        ),
        (requests.HTTPError("no"), "example.org answered with an error"),
        (
            requests.exceptions.InvalidURL("no\nhost"),
            "example.org cannot be asked: no host",
        ),
        (
            PermissionError("no permission to write to cache"),
            "cannot be written: no permission to write to cache",
        ),
        (ValueError("SHA256 hash ..."), "what example.org has differs from what was published"),
        (OSError(28, "No space left on device"), "cannot be written: No space left on device"),
    ],
)
def test_a_failed_download_is_a_short_clause_with_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    monkeypatch.setattr(pooch, "retrieve", _failing(error))
    with pytest.raises(HostError) as refused:
        fetch([ONE, TWO, _file("aNN/three.json", url=None)], tmp_path)
    assert str(refused.value).splitlines()[0] == (
        f"published files cannot be fetched: aNN/one.json, aNN/two.json: {said}; "
        "aNN/three.json: published without an address"
    )
    assert refused.value.remedy.startswith("export HARNESS_EVIDENCE_DIR=")


def test_a_server_that_refuses_is_named_with_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = requests.Response()
    answer.status_code = 404
    monkeypatch.setattr(pooch, "retrieve", _failing(requests.HTTPError(response=answer)))
    with pytest.raises(HostError, match=r"example\.org answered 404"):
        fetch([ONE], tmp_path)


def test_downloads_are_not_told_of_twice(tmp_path: Path, online: list[str]) -> None:
    fetch([ONE], tmp_path)
    assert online == ["one.json"]
    assert not pooch.get_logger().isEnabledFor(logging.WARNING)


def test_only_files_that_a_profile_reads_must_be_had(
    project_root: Path,
    evidence_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = tmp_path / "theirs" / "a24" / "cost_arithmetic.json"
    read.parent.mkdir(parents=True)
    read.write_bytes((evidence_dir / "a24" / read.name).read_bytes())
    monkeypatch.setenv("HARNESS_EVIDENCE_DIR", str(tmp_path / "theirs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pooch, "retrieve", _failing(requests.ConnectionError()))
    assert main(["fetch", "a24", "--project", str(project_root)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a24/cost_arithmetic.json", "here", "read"] in rows
    assert any(row[-2:] == ["absent", "optional"] for row in rows)


@pytest.mark.parametrize("named", ["nowhere", "file", "~/nowhere", "~nobody-of-that-name/x"])
def test_a_variable_that_names_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARNESS_EVIDENCE_DIR", named if "~" in named else str(tmp_path / named))
    with pytest.raises(HostError, match="HARNESS_EVIDENCE_DIR names no folder: ") as refused:
        evidence_folder(tmp_path / "cache", [ONE])
    assert refused.value.remedy.startswith("export HARNESS_EVIDENCE_DIR=")
    assert evidence_folder(tmp_path / "cache", []) == tmp_path / "cache" / "evidence"


def test_a_home_that_quotes_kept_from_the_shell_is_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARNESS_EVIDENCE_DIR", "~/data")
    _write(tmp_path / "data", ONE)
    assert evidence_folder(tmp_path / "cache", [ONE]) == tmp_path / "data"


def test_the_advice_for_a_wrong_file_of_the_users_is_no_circle(
    theirs: Path, online: list[str]
) -> None:
    _write(theirs, TWO)
    (theirs / ONE.file).write_text("something else")
    with pytest.raises(HostError) as refused:
        fetch([ONE, TWO], theirs)
    assert refused.value.remedy == f"mv {theirs / ONE.file} elsewhere, then the same command"
    assert online == []
