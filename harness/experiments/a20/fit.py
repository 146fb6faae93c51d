"""Whether a configuration can fit into memory, before it is tried."""

from __future__ import annotations

import torch

from harness.workloads.api.device import free_memory
from harness.workloads.models.memory import GIB
from harness.workloads.models.peak_memory import peak_bytes
from harness.workloads.training.pretrain_params import EnvelopeParams


def predicted_gib(cell: EnvelopeParams) -> float:
    """Return the peak by the memory law, GiB: a lower bound, as allocators hold more than it."""
    precision, dropout = cell.conditions.precision, cell.dropout > 0
    return peak_bytes(cell.shape, cell.tokens_per_step, precision, dropout=dropout) / GIB


def available_gib(device: torch.device, limit_gib: float | None) -> float:
    """Return the available memory, GiB: the smaller of free memory and this run's limit.

    Raises:
        HostError: this machine does not tell.
    """
    memory = free_memory()
    free = memory.gpu if device.type == "cuda" else memory.host
    assert free is not None
    return free / GIB if limit_gib is None else min(free / GIB, limit_gib)
