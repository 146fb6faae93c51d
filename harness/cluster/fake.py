"""A cluster for tests and simulations: nodes are threads of this process, and can be killed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Self, cast

from harness.cluster.depot import Depot
from harness.cluster.node import execute, folder
from harness.cluster.parts import Lender, Needs, Node, NodeTask, PartKind, RunPart
from harness.runtime.base import NodeLostError

Execute = Callable[[NodeTask, str], Iterator[RunPart]]
_LAST = {PartKind.ENDED, PartKind.REFUSED}


@dataclass(kw_only=True)
class FakeNode:
    """A node.

    Attributes:
        busy_s: how long runs were at work on it, all together.
    """

    node: Node
    free: dict[str, float]
    alive: bool = True
    busy_s: float = 0.0
    works: list[FakeWork] = field(default_factory=list)


class FakeWork:
    """A run at a node, or waiting for one."""

    def __init__(self, task: NodeTask, needs: Needs, node: Node | None) -> None:
        self.task, self.needs, self.wanted = task, needs, node
        self.parts: queue.Queue[RunPart | Exception] = queue.Queue(maxsize=16)
        self.cancelled = threading.Event()

    def next(self, within_s: float) -> RunPart | None:
        """Return the next part; None where none comes within the time."""
        try:
            part = self.parts.get(timeout=within_s)
        except queue.Empty:
            return None
        if isinstance(part, Exception):
            raise part
        return part

    def cancel(self) -> None:
        """End it."""
        self.cancelled.set()


def on_its_own_disk(task: NodeTask, node_id: str) -> Iterator[RunPart]:
    """Do a run for real, on a node that shares no folder with the others."""
    return execute(task, node_id, folder() / node_id)


class FakeCluster:
    """Nodes of equal size, and runs that wait for room on them in the order they came.

    Args:
        names: of the nodes.
        resources: of each, in Ray's words.
        execute: does a run on a node.
        answer: stands for what nodes say: (node, function, arguments); None asks the function.
    """

    def __init__(
        self,
        names: Sequence[str],
        resources: dict[str, float] | None = None,
        execute: Execute = on_its_own_disk,
        answer: Callable[[Node, Callable[..., Any], tuple[Any, ...]], Any] | None = None,
    ) -> None:
        self._execute, self._answer = execute, answer
        self._lock = threading.Lock()
        self._waiting: list[FakeWork] = []
        self.places: dict[str, FakeNode] = {}
        for name in names:
            self.join(name, resources or {"CPU": 1.0, "memory": 2.0**40})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for place in self.places.values():
            for work in place.works:
                work.cancel()

    def join(self, name: str, resources: dict[str, float]) -> None:
        """Add a node."""
        node = Node(id=f"id-{name}", name=name, address="127.0.0.1", resources=resources)
        self.places[node.id] = FakeNode(node=node, free=dict(resources))

    def kill(self, name: str) -> None:
        """End a node, and what is at work there."""
        place = self.places[f"id-{name}"]
        place.alive = False
        for work in list(place.works):
            work.cancel()

    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes that are alive."""
        return tuple(place.node for place in self.places.values() if place.alive)

    def ask(
        self, nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any
    ) -> list[Any]:
        """Return what a function says on each node."""
        if self._answer is None:
            return [function(*arguments)] * len(nodes)
        return [self._answer(node, function, arguments) for node in nodes]

    def start(self, task: NodeTask, needs: Needs, node: Node | None) -> FakeWork:
        """Begin a run where there is room, or on one node."""
        work = FakeWork(task, needs, node)
        with self._lock:
            self._waiting.append(work)
            self._place()
        return work

    def here(self) -> Node:
        """Return the first node."""
        return self.nodes()[0]

    def lend(self, depot: Depot) -> Lender:
        """Let nodes ask a depot."""
        return depot.lend

    def _place(self) -> None:
        """Begin the runs that there is room for; the lock is held."""
        places = [each for each in self.places.values() if each.alive and any(each.free.values())]
        for work in list(self._waiting):
            if work.cancelled.is_set():
                self._waiting.remove(work)
                continue
            wanted = work.needs.resources
            for place in places:
                is_meant = work.wanted is None or work.wanted.id == place.node.id
                has_room = all(place.free.get(name, 0.0) >= each for name, each in wanted.items())
                if is_meant and has_room:
                    self._waiting.remove(work)
                    _add(place.free, wanted, -1)
                    place.works.append(work)
                    threading.Thread(target=self._do, args=(work, place), daemon=True).start()
                    break

    def _do(self, work: FakeWork, place: FakeNode) -> None:
        began = time.monotonic()
        try:
            parts = cast("Generator[RunPart, None, None]", self._execute(work.task, place.node.id))
            with closing(parts):
                for part in parts:
                    if work.cancelled.is_set():
                        break
                    if part.kind in _LAST:
                        self._left(work, place, began)
                    work.parts.put(part)
        except Exception as error:  # noqa: BLE001 - as Ray, which raises it at the driver
            work.parts.put(error)
        self._left(work, place, began)
        if work.cancelled.is_set() and not place.alive:
            while not work.parts.empty():  # what was under way is lost with it
                work.parts.get_nowait()
            work.parts.put(NodeLostError("the node has died"))

    def _left(self, work: FakeWork, place: FakeNode, began: float) -> None:
        with self._lock:
            if work in place.works:
                place.works.remove(work)
                place.busy_s += time.monotonic() - began
                _add(place.free, work.needs.resources, 1)
            self._place()


def _add(free: dict[str, float], amounts: dict[str, float], sign: int) -> None:
    for name, amount in amounts.items():
        free[name] = free.get(name, 0.0) + sign * amount
