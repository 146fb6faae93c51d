"""Archives: the same bytes for the same files, and nothing but files out of anybody's."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.results import archive as archives
from harness.results.archive import pack, unpack

FILES = {"a/b.json": b"{}\n", "a/c.csv": b"1,2\n" * 1000, "z.txt": b""}


def member(name: str, content: bytes = b"", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def written(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    on_disk = {name: tmp_path / name for name in reversed(FILES)}
    pack(on_disk, tmp_path / "one")
    (tmp_path / "z.txt").touch()
    pack(FILES, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


NAMES = st.from_regex(r"[a-z]{1,8}/[a-z\u00e9]{1,9}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary()))
def test_what_is_packed_comes_out(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pack(files, folder / "archive")
        found = unpack(folder / "archive", folder / "out")
        assert found == {name: hashlib.sha256(each).hexdigest() for name, each in files.items()}
        assert {name: (folder / "out" / name).read_bytes() for name in found} == files


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (member("../outside"), "leads elsewhere"),
        (member("/etc/outside"), "leads elsewhere"),
        (member("a/../../outside"), "leads elsewhere"),
        (member("a//b"), "leads elsewhere"),
        (member("./a"), "leads elsewhere"),
        (member("a\\b"), "leads elsewhere"),
        (member("a\x1b[2Jb"), "leads elsewhere"),
        (member("a" * 300), "leads elsewhere"),
        (member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "no file"),
        (member("link", type=tarfile.LNKTYPE, linkname="a.json"), "no file"),
        (member("pipe", type=tarfile.FIFOTYPE), "no file"),
        (member("device", type=tarfile.CHRTYPE), "no file"),
        (member("folder", type=tarfile.DIRTYPE), "no file"),
    ],
)
def test_only_files_inside_come_out(
    tmp_path: Path, info: tuple[tarfile.TarInfo, bytes], said: str
) -> None:
    path = written(tmp_path / "archive", member("a.json", b"{}"), info)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=said) as caught:
        unpack(path, tmp_path / "out")
    assert str(path) in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert {each.name for each in tmp_path.iterdir()} == {"archive", "out"}


def twice(path: Path) -> Path:
    return written(path, member("a.json", b"1"), member("a.json", b"2"))


def file_and_folder(path: Path) -> Path:
    return written(path, member("a", b"1"), member("a/b", b"2"))


def bomb(path: Path) -> Path:
    """A megabyte that unpacks to a gigabyte, in one member that says so."""
    with gzip.open(path, "wb") as zipped:
        info = tarfile.TarInfo("zeros")
        info.size = 2**30
        zipped.write(info.tobuf())
        for _ in range(64):
            zipped.write(bytes(2**20))
    return path


def long_header(path: Path) -> Path:
    """A path of a gigabyte, as an extended header may say."""
    with gzip.open(path, "wb") as zipped:
        info = tarfile.TarInfo("long")
        info.type, info.size = tarfile.XHDTYPE, 2**30
        zipped.write(info.tobuf())
        for _ in range(64):
            zipped.write(bytes(2**20))
    return path


def after_the_end(path: Path) -> Path:
    """Zeros without end after an archive that is right."""
    written(path, member("a.json", b"{}"))
    with path.open("ab") as file:
        for _ in range(64):
            file.write(gzip.compress(bytes(2**20)))
    return path


def no_gzip(path: Path) -> Path:
    path.write_bytes(b"{}")
    return path


def no_tar(path: Path) -> Path:
    path.write_bytes(gzip.compress(b"hello" * 500))
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (twice, "holds a file twice"),
        (file_and_folder, "of one name"),
        (bomb, "holds a file of 1073741824 bytes"),
        (long_header, "unpacks to more than is allowed"),
        (after_the_end, "unpacks to more than is allowed"),
        (no_gzip, "cut or damaged"),
        (no_tar, "cut or damaged"),
    ],
)
def test_what_is_no_archive_of_ours_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    path = make(tmp_path / "archive")
    with pytest.raises(InputError, match=said):
        unpack(path, tmp_path / "out", max_bytes=2**24)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    pack({f"{number}.json": b"{}" for number in range(4)}, tmp_path / "archive")
    with pytest.raises(InputError, match="holds more than 3 files"):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_a_cut_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    pack(FILES, tmp_path / "archive")
    content = (tmp_path / "archive").read_bytes()
    for end in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:end])
        with pytest.raises(InputError):
            unpack(tmp_path / "cut", tmp_path / f"out{end}")
