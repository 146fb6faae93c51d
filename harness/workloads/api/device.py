"""What a workload computes on: the device, its name, and the memory that is free.

Loads torch only when it is asked.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HostError
from harness.probes.reading import NotSupported, read_meminfo
from harness.records import record

if TYPE_CHECKING:
    import torch

_GIB = 1024**3
_UNIFIED = 0.9  # of the host's memory: a GPU that sees as much has none of its own


@record
class FreeMemory:
    """What a machine has free, bytes.

    Attributes:
        host: of the processors.
        gpu: of the GPU; None where there is none.
        unified: both are one.
    """

    host: int
    gpu: int | None
    unified: bool


def free_memory() -> FreeMemory:
    """Return what is free now.

    Raises:
        HostError: the kernel does not tell.
    """
    import torch  # noqa: PLC0415 - see above

    total_gib, available_gib = read_meminfo(Path("/")).values()
    if isinstance(total_gib, NotSupported) or isinstance(available_gib, NotSupported):
        message = "the kernel does not tell how much memory is free"
        raise HostError(message, "harness doctor")
    host = int(available_gib * _GIB)
    if not torch.cuda.is_available():
        return FreeMemory(host=host, gpu=None, unified=False)
    torch.cuda.empty_cache()  # what torch's allocator holds in reserve is free to it
    free, total = torch.cuda.mem_get_info()
    return FreeMemory(host=host, gpu=free, unified=total > _UNIFIED * total_gib * _GIB)


def torch_device(kind: str | None, num_threads: int | None = None) -> torch.device:
    """Return a device.

    Args:
        kind: ``cpu`` or ``cuda``; None for CUDA where there is some.
        num_threads: of torch on the CPU; None for as many as it has.

    Raises:
        HostError: torch sees no such device.
    """
    import torch  # noqa: PLC0415 - see above

    kind = kind or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cpu":
        if num_threads is not None:
            torch.set_num_threads(num_threads)
    elif not torch.cuda.is_available():
        message = f"torch {torch.__version__} sees no CUDA device"
        raise HostError(message, "harness doctor")
    return torch.device(kind)


def device_name(kind: str | None = None) -> str:
    """Return the GPU's name for ``cuda``, the processor's for ``cpu``.

    Without a kind it is the GPU where torch sees one.
    """
    import torch  # noqa: PLC0415 - see above

    is_gpu = torch.cuda.is_available() if kind is None else kind == "cuda"
    return torch.cuda.get_device_name() if is_gpu else cpu_model()


def cpu_model() -> str:
    """Return the processor's model as the kernel names it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()
