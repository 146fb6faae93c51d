"""Where documents come from: a made-up corpus, the Python library's own text, parquet files."""

from __future__ import annotations

import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import InputError, Problem, first_line
from harness.records import record

_NO_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


@record
class Documents:
    """Documents, in order.

    Attributes:
        name: what tables call it.
        unreadable: what could not be read as text, each with its cause; it is left out.
    """

    name: str
    documents: Sequence[str]
    unreadable: Sequence[str] = ()

    @property
    def num_characters(self) -> int:
        """Code points of all documents."""
        return sum(map(len, self.documents))


def standard_library() -> Documents:
    """Return the source files of Python's standard library, without its tests, one a document."""
    root = Path(sysconfig.get_path("stdlib"))
    files = (path for path in root.rglob("*.py") if not _NO_LIBRARY & {*path.parts})
    return source_files("stdlib", root, sorted(files))


def source_files(name: str, root: Path, files: Sequence[Path]) -> Documents:
    """Return Python files as documents; each is read in the encoding that it declares."""
    documents, unreadable = [], []
    for path in files:
        try:
            with tokenize.open(path) as file:
                documents.append(file.read())
        except (SyntaxError, UnicodeDecodeError) as error:  # no such encoding, or not in it
            unreadable.append(f"{path.relative_to(root)}: {error}")
    return Documents(name=name, documents=documents, unreadable=unreadable)


def parquet_rows(name: str, files: Sequence[Path], column: str = "text") -> Documents:
    """Return the rows of a text column, one a document.

    Raises:
        InputError: a file is no parquet or is damaged, or has no such column; names it.
    """
    texts = [text for path in files for text in _column(path, column)]
    documents = [text for text in texts if text is not None]
    unreadable = [f"row {row}: null" for row, text in enumerate(texts) if text is None]
    return Documents(name=name, documents=documents, unreadable=unreadable)


def _column(path: Path, column: str) -> Iterator[str | None]:
    from pyarrow import parquet  # noqa: PLC0415 - in the images that read wikitext, nowhere else

    try:
        yield from parquet.read_table(path, columns=[column]).column(column).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        message = f"cannot be read as parquet: {first_line(error)}"
        raise InputError([Problem(message=message, path=path, key=column)]) from None


def lines_of(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file, without their ends.

    Raises:
        InputError: it is not UTF-8; names the file and the first byte that is wrong.
    """
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 from byte {error.start} on: {error.reason}"
        raise InputError([Problem(message=message, path=path)]) from None
