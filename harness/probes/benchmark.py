"""Measure what this machine can do now: ``python -m harness.probes.benchmark KIND SECONDS OUT``.

A matrix product, a product of a matrix and a vector, and a copy, each for a share of the time. It
is a program of its own, started before a run and after it has ended: it shares no process, no
allocator and no random numbers with what it is to judge. KIND is ``cuda`` or ``cpu``; a GPU is
computed on with torch, the processor with torch or numpy.

The product with a vector stands for decoding: it is bound by memory and by how the GPU reads it. A
GB10 is known that lost two thirds of it while its clock and its copies stayed as they were.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from harness import atomic
from harness.probes.cpu import busy_s, fastest_clock_mhz
from harness.probes.reading import NotSupported, Reasons
from harness.records import record, to_json

_ROOT = Path("/")
_SHARES = {"matmul": 0.4, "matvec": 0.4, "copy": 0.2}
_BATCH_S = 0.05  # between two looks at the clock; a launch of a kernel costs some 1e-5
_TERA, _GIGA = 1e12, 1e9


@record
class Benchmark:
    """What the program has measured; None where it could not.

    Attributes:
        device: the GPU's name; empty on the processor.
        threads: of the processor; None on a GPU.
        began_s: on the monotonic clock, which all processes of a machine share.
        matmul_ended_s: likewise.
        ended_s: likewise.
        cpu_clock_mhz: the highest that was seen of any core.
        other_cores: how many cores others kept busy meanwhile.
        absent: field -> why it is None.
    """

    device: str
    threads: int | None
    matmul_tflop_s: float | None
    matvec_gb_s: float | None
    copy_gb_s: float | None
    began_s: float
    matmul_ended_s: float
    ended_s: float
    cpu_clock_mhz: float | None
    other_cores: float | None
    absent: Mapping[str, str]


@record
class Work:
    """Something to do again and again.

    Attributes:
        once: does it, or hands it to the GPU.
        amount: of FLOP or bytes.
    """

    once: Callable[[], object]
    amount: float


@record
class Computer:
    """What does the work.

    Attributes:
        work: by the name of its share of the time.
        wait: until what was handed out is done.
    """

    device: str
    threads: int | None
    work: Mapping[str, Work]
    wait: Callable[[], object]


def rate(computer: Computer, work: Work, seconds: float) -> float:
    """Return the median rate of some work over `seconds`, in its amount a second.

    The median over short batches: one that was interrupted changes nothing.
    """
    work.once()  # what is made or compiled the first time is no part of it
    computer.wait()
    began = time.perf_counter()
    work.once()
    computer.wait()
    batch = max(1, round(_BATCH_S / max(time.perf_counter() - began, 1e-9)))
    rates: list[float] = []
    while not rates or time.perf_counter() - began < seconds:
        at = time.perf_counter()
        for _ in range(batch):
            work.once()
        computer.wait()
        rates.append(batch * work.amount / (time.perf_counter() - at))
    return median(rates)


def open_computer(kind: str) -> Computer | NotSupported:
    """Return what can compute here on ``cuda`` or ``cpu``, or why nothing can."""
    if find_spec("torch") is not None:
        return _by_torch(kind)
    if kind == "cuda":
        return NotSupported(reason="torch is not installed here")
    if find_spec("numpy") is not None:
        return _by_numpy()
    return NotSupported(reason="neither torch nor numpy is installed here")


def _by_torch(kind: str) -> Computer | NotSupported:
    import torch  # noqa: PLC0415 - optional

    on_gpu = kind == "cuda"
    if on_gpu and not torch.cuda.is_available():
        return NotSupported(reason=f"torch {torch.__version__} sees no CUDA device")
    dtype = torch.bfloat16 if on_gpu else torch.float32
    # on a GPU: past its caches, and large enough for its full rate
    side, rows, columns, copied = _SIZES[on_gpu]

    def filled(*shape: int) -> Any:
        return torch.full(shape, 0.5, dtype=dtype, device=kind)

    one, other, product = (filled(side, side) for _ in range(3))
    matrix, vector, sums = filled(rows, columns), filled(columns), filled(rows)
    source, target = filled(copied), filled(copied)
    return Computer(
        device=torch.cuda.get_device_name() if on_gpu else "",
        threads=None if on_gpu else torch.get_num_threads(),
        work={
            "matmul": Work(once=lambda: torch.mm(one, other, out=product), amount=2.0 * side**3),
            "matvec": Work(
                once=lambda: torch.mv(matrix, vector, out=sums),
                amount=float(matrix.numel() * matrix.element_size()),
            ),
            "copy": Work(
                once=lambda: target.copy_(source),
                amount=2.0 * source.numel() * source.element_size(),
            ),
        },
        wait=torch.cuda.synchronize if on_gpu else lambda: None,
    )


def _by_numpy() -> Computer:
    import numpy as np  # noqa: PLC0415 - optional

    side, rows, columns, copied = _SIZES[False]
    one, other, product = (np.full((side, side), 0.5, np.float32) for _ in range(3))
    matrix, vector = np.full((rows, columns), 0.5, np.float32), np.full(columns, 0.5, np.float32)
    sums, source, target = (np.full(n, 0.5, np.float32) for n in (rows, copied, copied))
    return Computer(
        device="",
        threads=None,  # its library does not tell
        work={
            "matmul": Work(once=lambda: np.matmul(one, other, out=product), amount=2.0 * side**3),
            "matvec": Work(
                once=lambda: np.matmul(matrix, vector, out=sums), amount=float(matrix.nbytes)
            ),
            "copy": Work(once=lambda: np.copyto(target, source), amount=2.0 * source.nbytes),
        },
        wait=lambda: None,
    )


# whether on a GPU -> side of the square matrices; rows and columns of the other; length of a copy
_SIZES = {True: (8192, 32_768, 16_384, 2**28), False: (1024, 8192, 8192, 2**25)}


def benchmark(kind: str, seconds: float) -> Benchmark:
    """Return what the machine does in `seconds`, without the time that making the data takes."""
    computer, why = open_computer(kind), Reasons()
    clock, busy = fastest_clock_mhz(_ROOT), busy_s(_ROOT)
    own, began_s = _own_s(), time.monotonic()
    ends: dict[str, float] = {}
    found: dict[str, float | NotSupported] = {}
    for name, share in _SHARES.items():
        if isinstance(computer, NotSupported):
            found[name] = computer
        else:
            found[name] = rate(computer, computer.work[name], share * seconds)
        ends[name] = time.monotonic()
        now = fastest_clock_mhz(_ROOT)
        if isinstance(clock, NotSupported) or (not isinstance(now, NotSupported) and now > clock):
            clock = now
    ended_s = time.monotonic()
    later, own = busy_s(_ROOT), _own_s() - own
    if isinstance(later, NotSupported) or isinstance(busy, NotSupported):
        others: float | NotSupported = later if isinstance(later, NotSupported) else 0.0
    else:
        others = max(0.0, later - busy - own) / max(ended_s - began_s, 1e-9)
    scale = {"matmul": _TERA, "matvec": _GIGA, "copy": _GIGA}
    scaled = {
        name: value if isinstance(value, NotSupported) else value / scale[name]
        for name, value in found.items()
    }
    return Benchmark(
        device="" if isinstance(computer, NotSupported) else computer.device,
        threads=None if isinstance(computer, NotSupported) else computer.threads,
        matmul_tflop_s=why.known("matmul_tflop_s", scaled["matmul"]),
        matvec_gb_s=why.known("matvec_gb_s", scaled["matvec"]),
        copy_gb_s=why.known("copy_gb_s", scaled["copy"]),
        began_s=began_s,
        matmul_ended_s=ends["matmul"],
        ended_s=ended_s,
        cpu_clock_mhz=why.known("cpu_clock_mhz", clock),
        other_cores=why.known("other_cores", others),
        absent=why,
    )


def _own_s() -> float:
    """Return the processor time of this process, all its threads together, seconds."""
    return time.process_time()


def main(arguments: list[str]) -> None:
    """Write what was measured into a file, whole or not at all."""
    kind, seconds, out = arguments[0], float(arguments[1]), Path(arguments[2])
    atomic.write_text(out, json.dumps(to_json(benchmark(kind, seconds))))
    os._exit(0)  # torch's own end takes a second


if __name__ == "__main__":
    main(sys.argv[1:])
