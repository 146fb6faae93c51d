"""``python -m tests.attacks``: play every attack against every sandbox here, and count."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tabulate import tabulate

from harness.errors import HostError
from harness.runtime.images import built
from harness.sandbox.base import Sandbox
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.in_memory import MemorySandbox
from harness.scenario.images import SANDBOX_IMAGE
from tests.attacks.commands import ATTACKS, Attack
from tests.attacks.play import Machine, machine, play, unused

_CONTAINERS = Path(__file__).parents[2] / "containers"
_Make = Callable[[], Sandbox]


def main() -> int:
    """Print how many attacks came to what; 1 where one succeeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    given = parser.parse_args()
    attacks = [each for each in ATTACKS if given.only in each.name]
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        target = stack.enter_context(machine(folder))
        for name, make in _sandboxes(stack):
            try:
                rows.append([name, *_counts(name, make, attacks, target)])
            except HostError as error:
                print(f"{name}: not attacked: {error}")
    print(tabulate(rows, ["sandbox", "attacks", "escapes", "stalls", "state left"]))
    return int(any(any(row[2:]) for row in rows))


def _counts(
    name: str, make: _Make, attacks: list[Attack], target: Machine
) -> tuple[int, int, int, int]:
    escapes = stalls = left = 0
    before = unused(make)
    for attack in attacks:
        with make() as sandbox:
            found = play(attack, sandbox, target, before)
        escapes += bool(found.escapes)
        stalls += bool(found.stalls)
        left += bool(found.left)
        if not found.held:
            print(f"{name}: {attack.name}: {found}", flush=True)
    return len(attacks), escapes, stalls, left


def _sandboxes(stack: ExitStack) -> Iterator[tuple[str, _Make]]:
    yield "memory", MemorySandbox
    yield "bubblewrap", Bubblewrap().make
    yield "bubblewrap without groups", Bubblewrap(use_groups=False).make
    try:
        pool = stack.enter_context(ContainerPool(built(_CONTAINERS, SANDBOX_IMAGE)))
    except HostError as error:
        print(f"containers: not attacked: {error}")
    else:
        yield "containers", pool.make


if __name__ == "__main__":
    sys.exit(main())
