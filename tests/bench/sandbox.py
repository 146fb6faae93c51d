"""``python -m tests.bench.sandbox``: what a sandbox for an agent's commands costs, and print it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tabulate import tabulate

from harness.errors import HostError
from harness.records import ImageRef, Profile, RunSpec, SandboxKind, SandboxSpec
from harness.runtime.images import built
from harness.runtime.sandbox_server import SOCKET, serve_sandboxes
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.remote import RemoteSandboxFactory
from harness.sandbox.supervised import SupervisedSandbox
from harness.scenario.images import SANDBOX_IMAGE
from tests.bench.cost import Cost

SEED = {
    f"notes/{number}.txt": b"text\n" * 100 for number in range(20)
}  # as the seeds of article 32
COMMANDS = {"a trivial command": ":", "a program": "ls -la", "Python": "python3 -c pass"}

CONTAINERS = Path(__file__).parents[2] / "containers"
RUN = RunSpec(
    scenario="none",
    profile=Profile.CPU,
    workload="noop",
    params={},
    sandbox=SandboxSpec(kind=SandboxKind.BUBBLEWRAP),
)

Row = tuple[str, str, Cost]


def main() -> None:
    """Measure every factory of sandboxes that works on this machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sandbox", description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="samples for each row")
    parser.add_argument("--image", help="digest of the containers' image (default: the locked one)")
    given = parser.parse_args()
    rows: list[Row] = []
    for name, made in (
        ("bubblewrap", _bubblewrap),
        ("bubblewrap, remote", _remote),
        ("containers", partial(_containers, given.image)),
    ):
        try:
            with made() as factory:
                rows += _rows(name, factory.make, given.times)
        except HostError as error:
            print(f"{name}: not measured: {error}")
    figures = [
        [name, what, *(1000 * s for s in (cost.median_s, cost.lowest_s, cost.highest_s))]
        for name, what, cost in rows
    ]
    print(tabulate(figures, ("sandbox", "ms", "median", "lowest", "highest"), floatfmt=".1f"))


@contextmanager
def _bubblewrap() -> Iterator[Bubblewrap]:
    yield Bubblewrap()


@contextmanager
def _remote() -> Iterator[RemoteSandboxFactory]:
    with serve_sandboxes(RUN) as folder:
        assert folder is not None
        yield RemoteSandboxFactory(folder / SOCKET)


@contextmanager
def _containers(digest: str | None) -> Iterator[ContainerPool]:
    image = (
        ImageRef(name=SANDBOX_IMAGE, digest=digest) if digest else built(CONTAINERS, SANDBOX_IMAGE)
    )
    with ContainerPool(image) as pool:
        yield pool


def _rows(name: str, new_sandbox: Callable[[], SupervisedSandbox], times: int) -> Iterator[Row]:
    with ExitStack() as first:  # a pool's first sandbox is a new container
        yield name, "the first sandbox", _cost(lambda: first.enter_context(new_sandbox()), 1)
    yield (
        name,
        "a later sandbox, and its end",
        _cost(lambda: _use(new_sandbox()), max(times // 5, 1)),
    )
    with new_sandbox() as sandbox:
        sandbox.materialise(SEED)
        for what, command in COMMANDS.items():
            yield name, what, _cost(partial(sandbox.run, command), times)
        yield name, "reset to 20 files", _cost(sandbox.reset, times)
        yield name, "list 20 files", _cost(sandbox.list, times)
        yield name, "read 20 files", _cost(sandbox.snapshot, times)


def _use(sandbox: SupervisedSandbox) -> None:
    with sandbox:
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
