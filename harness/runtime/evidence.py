"""Published raw data: found in a folder given by the user, or fetched once and verified.

A file is used only if its sha256 is the scenario's. The data is never part of this repository, and
the harness never writes into the user's folder.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness import atomic
from harness.errors import HostError
from harness.printable import plain
from harness.records import record
from harness.runtime.environ import given_folder
from harness.scenario.schema import EvidenceFile
from harness.variables import EVIDENCE_VARIABLE

if TYPE_CHECKING:
    import requests


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

    Raises:
        HostError: files are wanted, and the variable names no folder; or the cache takes no copy.
    """
    wanted, ours = tuple(files), cache / "evidence"
    given = given_folder(EVIDENCE_VARIABLE) if wanted else None
    if given is None:
        return ours
    states = [_status(each, given).state for each in wanted]
    if EvidenceState.OTHER in states or EvidenceState.ABSENT not in states:
        return given
    theirs = [
        each for each, state in zip(wanted, states, strict=True) if state is EvidenceState.HERE
    ]
    for each in theirs:
        if _status(each, ours).state is not EvidenceState.HERE:
            try:
                with atomic.new_file(ours / each.file) as temporary:
                    shutil.copyfile(given / each.file, temporary)
            except OSError as error:
                raise atomic.unwritable(ours / each.file, error) from None
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
    is_theirs = bool(wanted) and folder == given_folder(EVIDENCE_VARIABLE)
    failed: defaultdict[str, list[str]] = defaultdict(list)
    remedy = f"export {EVIDENCE_VARIABLE}=FOLDER  # one that holds them"
    for each in wanted:
        state = _status(each, folder).state
        if state is EvidenceState.HERE:
            continue
        if state is EvidenceState.OTHER and is_theirs:
            failed[f"not the published contents in {folder}"].append(each.file)
            remedy = f"mv {folder / each.file} elsewhere, then the same command"
        elif why := _download(each, folder / each.file):
            failed[why].append(each.file)
    if failed:
        reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in failed.items())
        message = f"published files cannot be fetched: {reasons}"
        raise HostError(message, remedy)
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
    except requests.RequestException as error:
        cut = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
        causes: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
            (requests.HTTPError, f"{host} answered {_status_code(error)}"),
            (requests.exceptions.SSLError, f"the certificate of {host} is not trusted here"),
            (requests.exceptions.ProxyError, f"a proxy does not let us through to {host}"),
            (requests.Timeout, f"{host} does not answer in time"),
            (requests.TooManyRedirects, f"{host} redirects without end"),
            (cut, f"the download from {host} was cut short"),
            (requests.ConnectionError, f"no connection to {host}"),
        )
        other = f"{host} cannot be asked: {plain(str(error))}"
        return next((said for kind, said in causes if isinstance(error, kind)), other)
    except ValueError:
        return f"what {host} has differs from what was published"
    except OSError as error:
        # what pooch raises itself has words, but no number
        return f"cannot be written: {error.strerror or plain(str(error))}"
    return ""


def _status_code(error: requests.RequestException) -> str:
    return str(error.response.status_code) if error.response is not None else "with an error"


def _status(each: EvidenceFile, folder: Path) -> EvidenceStatus:
    path = folder / each.file
    if not path.is_file():
        state = EvidenceState.ABSENT
    elif hashlib.sha256(path.read_bytes()).hexdigest() == each.sha256:
        state = EvidenceState.HERE
    else:
        state = EvidenceState.OTHER
    return EvidenceStatus(file=each.file, state=state, path=path)
