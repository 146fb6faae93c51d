"""An adapter in peft's two files: written whole, and refused where it is not of this policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness.atomic import new_folder
from harness.errors import InputError, Problem
from harness.reading import read_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

Weights = Mapping[str, Tensor]  # A (r x in) and B (out x r), float32, by their names in the file

# what decides what the weights mean; the rest of peft's configuration does not
_MEANING = ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "use_dora", "bias")
_ENDS = 1 << 20  # bytes at either end of a file of weights


def write_adapter(folder: Path, weights: Weights, config: Mapping[str, Any], base: str) -> None:
    """Write both files, or none; `base` is kept beside the weights, where servers ignore it."""
    with new_folder(folder) as new:
        text = json.dumps(config, indent=1, sort_keys=True)
        (new / CONFIG).write_text(text + "\n", encoding="utf-8")
        on_cpu = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        # one entry only: safetensors writes several in an order that differs from file to file
        save_file(on_cpu, new / WEIGHTS, metadata={"base": base})


def read_adapter(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], base: str
) -> Weights:
    """Return an adapter's weights, on the CPU.

    Args:
        folder: where peft's two files are.
        shapes: of the tensors that the policy has.
        config: the policy's own configuration.
        base: the policy's base (`base_identity`).

    Raises:
        InputError: the files cannot be read, or are of another base, rank, scale or shape.
    """
    path = folder / WEIGHTS
    try:
        stored = read_json((folder / CONFIG).read_bytes())
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - no mapping
            stored_base = (file.metadata() or {}).get("base", base)  # other tools write none
    except (OSError, ValueError, SafetensorError) as error:
        problem = Problem(message=f"no adapter can be read here: {error}", path=folder)
        raise InputError([problem]) from None
    problems = [*_of_config(folder, stored, config), *_of_shapes(folder, weights, shapes)]
    if stored_base != base:
        message = "the adapter was trained on another base"
        problems.append(Problem(message=message, path=path, value=stored_base, allowed=base))
    if problems:
        raise InputError(problems)
    return weights


def _of_config(
    folder: Path, stored: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[Problem]:
    for key in _MEANING:
        got, wanted = _plain(stored.get(key, config[key])), _plain(config[key])
        if got != wanted:
            path = folder / CONFIG
            message = "the adapter is not of this policy"
            yield Problem(message=message, path=path, key=key, value=got, allowed=wanted)


def _plain(value: object) -> str:
    return json.dumps(sorted(value) if isinstance(value, list) else value)


def _of_shapes(
    folder: Path, weights: Weights, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[Problem]:
    """Yield one problem at most: the first tensor that differs, and how many do."""
    found = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
    if wrong:
        first = wrong[0]
        yield Problem(
            message=f"{len(wrong)} of {len(shapes)} tensors have another shape",
            path=folder / WEIGHTS,
            key=first,
            value=str(found.get(first, "none")),
            allowed=str(shapes.get(first, "none")),
        )


def base_identity(folder: Path) -> str:
    """Return what tells one base from another: a hash of its configuration and its weights.

    Of each file of weights, the size and a mebibyte at either end are hashed: the names and shapes
    of all tensors and the values of some, without reading the fifteen gigabytes of article 32.
    """
    hashed = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        hashed.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            hashed.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            hashed.update(file.read(_ENDS))
    return f"sha256:{hashed.hexdigest()}"
