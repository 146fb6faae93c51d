"""Whether a configuration can fit into memory, before it is tried."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.workloads.models.peak_memory import peak_bytes
from harness.workloads.training.pretrain_params import EnvelopeParams

_BYTES_PER_GIB = 1024.0**3
_KIB_PER_GIB = 1024.0**2


def predicted_gib(cell: EnvelopeParams) -> float:
    """Return the peak by the memory law, GiB: a lower bound, as allocators hold more than it."""
    precision, dropout = cell.conditions.precision, cell.dropout > 0
    return peak_bytes(cell.shape, cell.tokens_per_step, precision, dropout=dropout) / _BYTES_PER_GIB


def available_gib(device: torch.device, limit_gib: float | None) -> float:
    """Return what there is, GiB: the least of what is free and what this run may use."""
    free_gib = _free_gib(device)
    return free_gib if limit_gib is None else min(free_gib, limit_gib)


def _free_gib(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what the allocator holds in reserve is free to it
        free_bytes, _ = torch.cuda.mem_get_info(device)
        return free_bytes / _BYTES_PER_GIB
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    (available,) = (line for line in lines if line.startswith("MemAvailable:"))
    return int(available.split()[1]) / _KIB_PER_GIB
