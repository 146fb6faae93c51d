"""Published models: a folder of them that a user filled, and whether it holds the right ones.

A model is named as ``organisation/name@revision``, the revision being the 40 digits of a commit on
the Hugging Face Hub. Runs have no network: a model is there before a run starts, or the run does
not start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.errors import HostError
from harness.variables import MODELS_VARIABLE

# where the Hub's own program notes the commit of a file that it put into a folder
_NOTED_IN = Path(".cache/huggingface/download/config.json.metadata")


def models_folder(cache: Path) -> Path:
    """Return the folder of models: the user's own, else one in the cache."""
    named = os.path.expanduser(os.environ.get(MODELS_VARIABLE, ""))  # noqa: PTH111 - Path's raises
    return Path(named or cache / "models")


def model_problems(models: Iterable[str], folder: Path) -> Iterator[HostError]:
    """Yield one problem for each model that is not in `folder`, or is there at another revision."""
    for model in models:
        name, _, revision = model.partition("@")
        place = folder / name
        remedy = f"hf download {name} --revision {revision} --local-dir {place}"
        if not (place / "config.json").is_file():
            yield HostError(f"model {name} is not in {folder}", remedy)
        elif (found := _revision(place)) != revision:
            message = f"model {name} in {folder} is of {found or 'an unknown revision'}"
            yield HostError(message, remedy)


def _revision(place: Path) -> str:
    try:
        return (place / _NOTED_IN).read_text(encoding="utf-8").partition("\n")[0].strip()
    except OSError:
        return ""
