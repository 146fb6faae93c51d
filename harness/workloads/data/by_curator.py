"""Clean the same documents with NeMo Curator, in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HostError
from harness.reading import read_json
from harness.records import record, to_json
from harness.workloads.data.clean import FilterLimits
from harness.workloads.data.corpus import lines_of


@record
class CurationRequest:
    """What is to be cleaned.

    Attributes:
        files: all parquet, or all JSON lines; the text is in the column ``text``.
        folder: for the cleaned files; Curator makes it.
        limits: what a document may be.
        executor: ``xenna``, as the article, which wants more than two cores; or ``ray-data``.
    """

    files: tuple[str, ...]
    folder: str
    limits: FilterLimits
    executor: str


def write_jsonl(documents: Sequence[str], path: Path) -> Path:
    """Write documents as Curator reads them, and return the path."""
    lines = (json.dumps({"text": text}) + "\n" for text in documents)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def curated(files: Sequence[Path], folder: Path, limits: FilterLimits, executor: str) -> list[str]:
    """Return what Curator keeps of the files, mended.

    The order of the files in `folder` is that of their names, which Curator makes from a hash.

    Raises:
        HostError: Curator is not installed, or failed.
    """
    if find_spec("nemo_curator") is None:
        message = "NeMo Curator is not installed in this environment"
        raise HostError(message, "harness build curator, or nox -s curator")
    request = CurationRequest(
        files=tuple(map(str, files)), folder=str(folder), limits=limits, executor=executor
    )
    command = (sys.executable, "-m", "harness.workloads.data.curator", json.dumps(to_json(request)))
    code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
    cleaned = sorted(folder.glob("*.jsonl"))
    if code or not cleaned:
        message = f"NeMo Curator exits {code} and leaves {len(cleaned)} files"
        raise HostError(message, "see the run's stderr.log")
    return [read_json(line, mend=True)["text"] for path in cleaned for line in lines_of(path)]
