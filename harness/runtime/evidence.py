"""Published raw data: found in a folder given by the user, or fetched once and verified.

A file is used only if its sha256 is the scenario's. The data is never part of this repository, and
the harness never writes into the user's folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from harness import atomic
from harness.errors import HostError
from harness.records import record
from harness.scenario.schema import EvidenceFile
from harness.variables import EVIDENCE_VARIABLE


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


def evidence_folder(cache: Path, files: Iterable[EvidenceFile]) -> Path:
    """Return the one folder that holds `files`, or into which missing ones can be fetched.

    That is the user's own where it holds them all, or holds another file under one of the names,
    which the user must see; else one in the cache, which is given a copy of those the user has.
    """
    given, ours = os.environ.get(EVIDENCE_VARIABLE), cache / "evidence"
    if not given:
        return ours
    wanted = tuple(files)
    states = [_status(each, Path(given)).state for each in wanted]
    if EvidenceState.OTHER in states or EvidenceState.ABSENT not in states:
        return Path(given)
    theirs = [
        each for each, state in zip(wanted, states, strict=True) if state is EvidenceState.HERE
    ]
    for each in theirs:
        if _status(each, ours).state is not EvidenceState.HERE:
            with atomic.new_file(ours / each.file) as temporary:
                shutil.copyfile(Path(given) / each.file, temporary)
    return ours


def statuses(files: Iterable[EvidenceFile], folder: Path) -> tuple[EvidenceStatus, ...]:
    """Return, for each file, whether `folder` holds it as published."""
    return tuple(_status(each, folder) for each in files)


def fetch(files: Iterable[EvidenceFile], folder: Path) -> tuple[EvidenceStatus, ...]:
    """Download what `folder` lacks, each file verified before it gets its name.

    Every file is tried before one that cannot be had is complained about.

    Raises:
        HostError: files have no URL, cannot be reached, or differ from those published.
    """
    wanted = tuple(files)
    failed: defaultdict[str, list[str]] = defaultdict(list)
    for each in wanted:
        state = _status(each, folder).state
        if state is EvidenceState.HERE:
            continue
        if state is EvidenceState.OTHER and str(folder) == os.environ.get(EVIDENCE_VARIABLE):
            failed[f"not the published contents in {folder}"].append(each.file)
        elif why := _download(each, folder / each.file):
            failed[why].append(each.file)
    if failed:
        reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in failed.items())
        message = f"published files cannot be fetched: {reasons}"
        raise HostError(message, f"export {EVIDENCE_VARIABLE}=FOLDER  # one that holds them")
    return statuses(wanted, folder)


def _download(each: EvidenceFile, place: Path) -> str:
    """Fetch one file; return in a short clause why it cannot be had, empty where it was."""
    import pooch  # noqa: PLC0415 - 0.2 s that only fetching needs
    import requests  # noqa: PLC0415 - its exceptions come through pooch

    if each.url is None:
        return "published without an address"
    pooch.get_logger().setLevel("ERROR")  # it tells of every download on stderr
    host = urlsplit(each.url).hostname
    try:
        pooch.retrieve(each.url, f"sha256:{each.sha256}", fname=place.name, path=place.parent)
    except requests.HTTPError as error:
        return f"{host} answered {error.response.status_code}"
    except requests.RequestException:
        return f"no connection to {host}"
    except ValueError:
        return f"what {host} has differs from what was published"
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    return ""


def _status(each: EvidenceFile, folder: Path) -> EvidenceStatus:
    path = folder / each.file
    if not path.is_file():
        state = EvidenceState.ABSENT
    elif hashlib.sha256(path.read_bytes()).hexdigest() == each.sha256:
        state = EvidenceState.HERE
    else:
        state = EvidenceState.OTHER
    return EvidenceStatus(file=each.file, state=state, path=path)
