"""Whether a configuration can fit into memory, before it is tried."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.errors import HostError
from harness.probes.reading import NotSupported, read_meminfo
from harness.workloads.models.memory import GIB
from harness.workloads.models.peak_memory import peak_bytes
from harness.workloads.training.pretrain_params import EnvelopeParams


def predicted_gib(cell: EnvelopeParams) -> float:
    """Return the peak by the memory law, GiB: a lower bound, as allocators hold more than it."""
    precision, dropout = cell.conditions.precision, cell.dropout > 0
    return peak_bytes(cell.shape, cell.tokens_per_step, precision, dropout=dropout) / GIB


def available_gib(device: torch.device, limit_gib: float | None) -> float:
    """Return what there is, GiB: the least of what is free and what this run may use.

    Raises:
        HostError: this machine does not tell.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what the allocator holds in reserve is free to it
        free_gib = torch.cuda.mem_get_info(device)[0] / GIB
    else:
        read = read_meminfo(Path("/"))["MemAvailable"]
        if isinstance(read, NotSupported):
            raise HostError(read.reason, "harness doctor")
        free_gib = read
    return free_gib if limit_gib is None else min(free_gib, limit_gib)
