"""Prose that every installation of Python holds: the documentation strings of its packages.

The training data of a published model is seldom known and never available. Text of the kind that it
surely was trained on is: in a container it is fixed by the image's digest.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def installed() -> tuple[Path, ...]:
    """Return where the standard library and the installed packages lie."""
    return tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))


def documents(folders: Iterable[Path]) -> Iterator[str]:
    """Yield what each Python file documents, a file a document; in an order that mixes packages.

    The order is that of a hash of the file's name, the same wherever the folders lie. Files that
    this Python cannot read are left out, and so are those that document nothing.
    """
    found = {file: folder for folder in folders for file in folder.rglob("*.py")}

    def rank(file: Path) -> bytes:
        name = file.relative_to(found[file]).as_posix()
        return hashlib.sha256(name.encode()).digest()

    for file in sorted(found, key=rank):
        if text := "\n\n".join(_strings(file)):
            yield text


def _strings(file: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in other people's files
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # of another Python, or of another encoding
        return
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
            yield text
