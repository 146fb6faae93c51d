"""Peak memory, counted: by the CUDA allocator, or on the CPU by following every storage.

Both count bytes of live tensors, so that one law holds for both; neither sees what a kernel takes
and returns within one operation on the CPU, nor memory outside torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from harness.records import Scalar
from harness.workloads.api.emit import EventWriter
from harness.workloads.models.memory import GIB


class PeakCounter(Protocol):
    """Counts while its ``with`` block runs; create the counted tensors inside it."""

    name: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def peak_bytes(self) -> int:
        """The most that was live at once, bytes."""

    @property
    def reserved_bytes(self) -> int | None:
        """The most that the allocator held at once, bytes; None where it holds no reserve."""


def peak_counter(device: torch.device) -> PeakCounter:
    """Return what counts on `device`."""
    return CudaAllocator(device) if device.type == "cuda" else LiveStorages()


def report_peak(
    emit: EventWriter, counter: PeakCounter, where: Mapping[str, Scalar] | None = None
) -> None:
    """Report the count, the counter, and the allocator's overhead."""
    emit.measured("memory.counter", counter.name, where=where)
    emit.measured("memory.peak_allocated", counter.peak_bytes / GIB, where=where)
    reserved = counter.reserved_bytes
    if reserved is None:
        absent = "this allocator keeps no reserve"
        emit.measured("memory.peak_reserved", None, where=where, absent=absent)
    else:
        emit.measured("memory.peak_reserved", reserved / GIB, where=where)


class CudaAllocator:
    """What torch's caching allocator says it handed out, and held."""

    name = "torch.cuda.max_memory_allocated"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __enter__(self) -> Self:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @property
    def peak_bytes(self) -> int:
        """The most that was allocated at once, bytes."""
        return torch.cuda.max_memory_allocated(self._device)

    @property
    def reserved_bytes(self) -> int:
        """The most that the allocator held at once, bytes."""
        return torch.cuda.max_memory_reserved(self._device)


class LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage that an operation returns until it dies.

    It sees each operation below autograd, so saved activations, gradients and optimizer state are
    counted when they are made and not counted after their last reference goes.
    """

    name = "live storages"
    reserved_bytes = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sizes: dict[int, int] = {}  # id of the storage -> bytes
        self.live_bytes = 0
        self.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and track its results."""
        returned = func(*args, **(kwargs or {}))
        for leaf in tree_iter(returned):
            if isinstance(leaf, Tensor):
                self._follow(leaf.untyped_storage())
        return returned

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)  # torch keeps the object of a storage that is alive
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        weakref.finalize(storage, self._forget, key)
        self.live_bytes += self._sizes[key]
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _forget(self, key: int) -> None:
        self.live_bytes -= self._sizes.pop(key)
