"""Published models: a folder of them that a user filled, and whether it holds the right ones.

A model is named as ``organisation/name@revision``, the revision being the 40 digits of a commit on
the Hugging Face Hub. Runs have no network: a model is there before a run starts, or the run does
not start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.errors import HostError
from harness.printable import plain
from harness.reading import read_json
from harness.variables import MODELS_VARIABLE

# where the Hub's own program notes the commit of a file that it put into a folder
_NOTES = Path(".cache/huggingface/download")
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
# organisations whose models are given to accounts that have accepted a licence
_GATED = ("meta-llama/",)
_SHOWN = 3
_BYTES_PER_GIB = 1024.0**3


def models_folder(cache: Path) -> Path:
    """Return the folder of models: the user's own, else one in the cache."""
    named = os.path.expanduser(os.environ.get(MODELS_VARIABLE, ""))  # noqa: PTH111 - Path's raises
    return Path(named or cache / "models")


def model_problems(
    models: Iterable[str], folder: Path, download_gib: float | None = None
) -> Iterator[HostError]:
    """Yield one problem for each model that is not whole in `folder`, or at another revision.

    Args:
        models: as ``organisation/name@revision``.
        folder: where they are.
        download_gib: what fetching all of them takes; the disk is held against it.
    """
    is_whole = True
    for model in models:
        name, _, revision = model.partition("@")
        place = folder / name
        if not (why := _why_not_whole(place, revision)):
            continue
        is_whole = False
        remedy = f"hf download {name} --revision {revision} --local-dir {place}"
        if name.startswith(_GATED):
            gate = f"accept its licence at https://huggingface.co/{name}, hf auth login"
            why, remedy = f"{why}; its licence must be accepted first", f"{gate}, then {remedy}"
        yield HostError(f"model {name} {why}", remedy)
    if not is_whole and download_gib is not None:
        yield from room_problem(folder, download_gib)


def room_problem(folder: Path, download_gib: float) -> Iterator[HostError]:
    """Yield that the disk of `folder` has no room for so much; nothing where it has."""
    free_gib = shutil.disk_usage(existing_part(folder)).free / _BYTES_PER_GIB
    if free_gib < download_gib:
        message = (
            f"about {download_gib:g} GiB are to be fetched, and {free_gib:.0f} GiB are free where "
            f"{folder} is"
        )
        yield HostError(message, f"export {MODELS_VARIABLE}=FOLDER  # on a larger disk")


def _why_not_whole(place: Path, revision: str) -> str:
    """Return what is missing of a model; empty where every file that its index names is here."""
    if not (place / "config.json").is_file():
        return f"is not in {place.parent.parent}"
    if (found := _revision(place, "config.json")) != revision:
        return f"in {place.parent.parent} is of {found or 'an unknown revision'}"
    try:
        shards = _shards(place)
    except (OSError, ValueError) as error:
        return f"in {place.parent.parent} has an index that cannot be read: {error}"
    lacking = [
        name
        for name in shards
        if not (place / name).is_file() or _revision(place, name) != revision
    ]
    if not lacking:
        return ""
    shown = ", ".join(map(plain, lacking[:_SHOWN])) + (", ..." if len(lacking) > _SHOWN else "")
    counted = f"{len(lacking)} of its {len(shards)} files of weights"
    return f"in {place.parent.parent} lacks {counted}: {shown}"


def _shards(place: Path) -> list[str]:
    """Return the files of weights that a model consists of.

    Raises:
        OSError: the index cannot be read.
        ValueError: it is no index.
    """
    if not (place / _INDEX).is_file():
        return [_WEIGHTS]
    index = read_json((place / _INDEX).read_bytes())
    named = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(named, dict) or not named:
        message = f"{_INDEX} has no weight_map"
        raise ValueError(message)
    return sorted({str(name) for name in named.values()})


def existing_part(folder: Path) -> Path:
    """Return a folder that may not be there yet, or the nearest one above it that is."""
    return next(each for each in (folder, *folder.absolute().parents) if each.is_dir())


def _revision(place: Path, name: str) -> str:
    """Return the commit that a file was fetched at; the Hub's program notes it when it is whole."""
    try:
        noted = (place / _NOTES / f"{name}.metadata").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    return noted.partition("\n")[0].strip()
