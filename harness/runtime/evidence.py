"""Published raw data: found in a folder given by the user, or fetched once and verified.

Nothing is used whose sha256 is not the one the scenario names. The data is never part of this
repository.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from harness.errors import HostError
from harness.records import record
from harness.scenario.schema import EvidenceFile
from harness.workloads.context import EVIDENCE_VARIABLE


class EvidenceState(StrEnum):
    """Whether a published file is here."""

    HERE = "here"
    ABSENT = "absent"
    OTHER = "other contents"  # a file of that name, but not the one published


@record
class EvidenceStatus:
    """One published file, and whether it is in the folder looked at."""

    file: str
    state: EvidenceState
    path: Path


def evidence_folder(cache: Path) -> Path:
    """Return the folder that runs read evidence from: the user's own, else the cache."""
    given = os.environ.get(EVIDENCE_VARIABLE)
    return Path(given) if given else cache / "evidence"


def statuses(files: Iterable[EvidenceFile], folder: Path) -> tuple[EvidenceStatus, ...]:
    """Return, for each file, whether `folder` holds it as published."""
    return tuple(_status(each, folder) for each in files)


def fetch(files: Iterable[EvidenceFile], folder: Path) -> tuple[EvidenceStatus, ...]:
    """Download what `folder` lacks, each file verified before it gets its name.

    Raises:
        HostError: a file has no URL, cannot be reached, or is not what was published.
    """
    import pooch  # noqa: PLC0415 - 0.2 s that only fetching needs

    for each in files:
        if _status(each, folder).state is EvidenceState.HERE:
            continue
        if each.url is None:
            message = f"{each.file} was published at no address of its own"
            raise HostError(message, f"set {EVIDENCE_VARIABLE} to a folder that holds it")
        place = folder / each.file
        try:
            pooch.retrieve(each.url, f"sha256:{each.sha256}", fname=place.name, path=place.parent)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            message = f"{each.file} cannot be fetched: {_first_line(error)}"
            remedy = f"go online, or set {EVIDENCE_VARIABLE} to a folder that holds {each.file}"
            raise HostError(message, remedy) from None
    return statuses(files, folder)


def _status(each: EvidenceFile, folder: Path) -> EvidenceStatus:
    path = folder / each.file
    if not path.is_file():
        state = EvidenceState.ABSENT
    elif hashlib.sha256(path.read_bytes()).hexdigest() == each.sha256:
        state = EvidenceState.HERE
    else:
        state = EvidenceState.OTHER
    return EvidenceStatus(file=each.file, state=state, path=path)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
