"""The name of what a workload computes on."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_model() -> str:
    """Return the processor's model as the kernel names it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def device_name() -> str:
    """Return the name of the GPU that torch would compute on, else of the processor."""
    import torch  # noqa: PLC0415 - most that is asked of this module needs no torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_model()
