"""A model with its adapter in its weights: W + alpha / r B A, as files of the base's own form."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from harness.atomic import new_folder
from harness.reading import read_json

_WEIGHTS = "model.safetensors"
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


def fold(base: Path, adapter: Path, folder: Path) -> None:
    """Write the model that `base` is with `adapter`, whole or not at all.

    Args:
        base: a model whose weights are in one file.
        adapter: peft's two files.
        folder: takes the model; it must not exist.
    """
    config = read_json((adapter / "adapter_config.json").read_bytes())
    low_rank = load_file(adapter / "adapter_model.safetensors")
    weights = load_file(base / _WEIGHTS)
    scale = config["lora_alpha"] / config["r"]
    for name in (name for name in low_rank if name.endswith(_A)):
        a_ri, b_or = low_rank[name], low_rank[name.replace(_A, _B)]
        target = name.removeprefix(_PREFIX).replace(_A, ".weight")
        weight_oi = weights[target]
        weights[target] = (weight_oi.float() + scale * b_or @ a_ri).to(weight_oi.dtype)
    with new_folder(folder) as new:
        for path in base.glob("*.json"):
            shutil.copyfile(path, new / path.name)
        save_file(weights, new / _WEIGHTS, metadata={"format": "pt"})
