"""``python -m tests.bench.sandbox``: what a box for an agent's commands costs, and print it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from tabulate import tabulate

from harness.errors import HostError
from harness.records import ImageRef, Limits
from harness.runtime.sandbox_server import SOCKET, lent_boxes
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.remote import BoxesOutside
from harness.sandbox.supervised import Box
from tests.bench.byhand import locked_image
from tests.bench.cost import Cost

SEED = {
    f"notes/{number}.txt": b"text\n" * 100 for number in range(20)
}  # as the seeds of article 32
COMMANDS = {"a trivial command": ":", "a program": "ls -la", "Python": "python3 -c pass"}

Row = tuple[str, str, Cost]


def main() -> None:
    """Measure every maker of boxes that this machine has."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sandbox", description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="samples for each row")
    parser.add_argument(
        "--image", help="digest of the pool's image (default: the locked cpu image)"
    )
    given = parser.parse_args()
    rows: list[Row] = []
    for name, made in (
        ("bubblewrap", _bubblewrap),
        ("bubblewrap outside", _outside),
        ("pool", partial(_pool, given.image)),
    ):
        try:
            with made() as maker:
                rows += _rows(name, maker.box, given.times)
        except HostError as error:
            print(f"{name}: not measured: {error}")
    figures = [
        [maker, what, *(1000 * s for s in (cost.median_s, cost.lowest_s, cost.highest_s))]
        for maker, what, cost in rows
    ]
    print(tabulate(figures, ("box", "ms", "median", "lowest", "highest"), floatfmt=".1f"))


@contextmanager
def _bubblewrap() -> Iterator[Bubblewrap]:
    yield Bubblewrap()


@contextmanager
def _outside() -> Iterator[BoxesOutside]:
    with lent_boxes(Limits(boxes=True)) as folder:
        assert folder is not None
        yield BoxesOutside(folder / SOCKET)


@contextmanager
def _pool(digest: str | None) -> Iterator[ContainerPool]:
    image = ImageRef(name="given", digest=digest) if digest else locked_image()
    with ContainerPool(image) as pool:
        yield pool


def _rows(name: str, new_box: Callable[[], Box], times: int) -> Iterator[Row]:
    with ExitStack() as first:  # of a pool the first box is a new container
        yield name, "the first box", _cost(lambda: first.enter_context(new_box()), 1)
    yield name, "a later box, and its end", _cost(lambda: _use(new_box()), max(times // 5, 1))
    with new_box() as box:
        box.materialise(SEED)
        for what, command in COMMANDS.items():
            yield name, what, _cost(partial(box.run, command), times)
        yield name, "reset to 20 files", _cost(box.reset, times)
        yield name, "list 20 files", _cost(box.list, times)
        yield name, "read 20 files", _cost(box.snapshot, times)


def _use(box: Box) -> None:
    with box:
        pass


def _cost(action: Callable[[], object], times: int) -> Cost:
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        samples.append(time.perf_counter() - began)
    return Cost(samples_s=tuple(samples))


if __name__ == "__main__":
    main()
