"""A Ray cluster, as far as the harness asks anything of it: nodes, tasks, and their ends.

Everything of Ray is behind `Cluster`; a test, or a simulation of many nodes, has one of its own.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

from harness.cluster import probe
from harness.cluster.depot import Depot
from harness.cluster.node import execute
from harness.cluster.parts import Lender, Needs, Node, NodeTask, RunPart
from harness.errors import HostError, first_line
from harness.runtime.base import NodeLostError

_CONNECT_S = 5.0
_FRESH_S = 1.0
_GONE_S = 60.0  # Ray misses five heartbeats, three seconds apart, before it gives a node up
_ASK_S = 300.0  # a node's first worker has its Python to start
_AHEAD = 16  # parts that a node may be ahead of the driver
PORT = 6379
START_HEAD = f"ray start --head --node-name=NAME --node-ip-address=ADDRESS --port={PORT}"


class NodeWork(Protocol):
    """A run at a node, or waiting for one."""

    def next(self, within_s: float) -> RunPart | None:
        """Return the next part of it; None where none comes within the time.

        Raises:
            NodeLostError: its node, or its worker there, has gone.
        """
        ...

    def cancel(self) -> None:
        """End it, and wait a little until it has."""
        ...


class Cluster(Protocol):
    """Nodes that do runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes that are alive."""
        ...

    def ask(
        self, nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any
    ) -> list[Any]:
        """Return what a function says on each node; of a node that cannot say, the exception."""
        ...

    def start(self, task: NodeTask, needs: Needs, node: Node | None) -> NodeWork:
        """Begin a run where there is room, or on one node."""
        ...

    def here(self) -> Node:
        """Return the node that this process is at."""
        ...

    def lend(self, depot: Depot) -> Lender:
        """Let nodes ask a depot that is beside this process."""
        ...


class RayCluster:
    """The cluster at an address.

    Args:
        address: ``HOST:PORT``, or ``auto`` for the one that this machine is a node of.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._nodes: tuple[float, tuple[Node, ...]] = (-math.inf, ())  # when asked, and the answer

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # noqa: PLC0415 - an extra, and a second to load
            import ray.cloudpickle  # noqa: PLC0415
        except ImportError:
            message = "--runtime ray needs Ray, which this Python does not have"
            raise HostError(message, "nox -s cluster  # makes .nox/env-ray") from None
        self._ray = ray
        logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of tokens and handlers
        self._require_answer()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self._connect()
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray's would end us without our last words
        ray.cloudpickle.register_pickle_by_value(probe)  # a node may have another harness, or none
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def _require_answer(self) -> None:
        """Refuse an address where nobody listens: Ray itself would wait for minutes."""
        if self._address == "auto":
            return
        host, _, port = self._address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), _CONNECT_S):
                return
        except (OSError, ValueError, OverflowError) as error:
            message = f"no Ray cluster answers at {self._address}: {error}"
            raise HostError(message, START_HEAD) from None

    def _connect(self) -> None:
        try:
            self._ray.init(
                address=self._address,
                log_to_driver=False,
                configure_logging=False,
                namespace="harness",
            )
        except ConnectionError as error:
            if self._address == "auto":
                message = f"no Ray cluster answers at auto: {first_line(error)}"
                raise HostError(message, START_HEAD) from None
            # somebody listens there; Ray says of a wrong token only that it did not connect
            _refuse_token(f"what listens at {self._address} is no Ray cluster, or")
        except self._ray.exceptions.AuthenticationError:
            _refuse_token(f"the cluster at {self._address}")
        except RuntimeError as error:
            # of another Ray or Python there, with both versions
            words = " ".join(str(error).split())
            remedy = "install the same Python and requirements/ray.txt on every node"
            message = f"the cluster at {self._address}: {words}"
            raise HostError(message, remedy) from None

    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes that are alive; every run asks, and Ray is asked once a second."""
        asked_s, known = self._nodes
        if time.monotonic() - asked_s < _FRESH_S:
            return known
        found = [
            Node(
                id=each["NodeID"],
                name=each["NodeName"],
                address=each["NodeManagerAddress"],
                resources=each["Resources"],
            )
            for each in self._ray.nodes()
            if each["Alive"]
        ]
        alive = tuple(sorted(found, key=lambda node: node.name))
        self._nodes = (time.monotonic(), alive)
        return alive

    def ask(
        self, nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any
    ) -> list[Any]:
        """Return what a function says on each node; of a node that cannot say, the exception.

        Ray lists a node that has died for some seconds more; such a one is waited for until it is
        listed no longer.
        """
        remote = self._ray.remote(num_cpus=0, max_retries=0)(function)
        asked = [remote.options(**self._on(node)).remote(*arguments) for node in nodes]
        ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=_ASK_S)
        errors, answers = self._ray.exceptions, list[Any]()
        for node, each in zip(nodes, asked, strict=True):
            try:
                if each not in ready:
                    message = f"does not answer within {_ASK_S:g} s"
                    raise TimeoutError(message)  # noqa: TRY301 - one way out for all that fail
                answers.append(self._ray.get(each))
            except (errors.TaskUnschedulableError, errors.NodeDiedError) as error:
                self._await_end(node)
                answers.append(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the node has it
                answers.append(error)
        return answers

    def _await_end(self, node: Node) -> None:
        deadline = time.monotonic() + _GONE_S
        while time.monotonic() < deadline:
            self._nodes = (-math.inf, ())
            if node.id not in {each.id for each in self.nodes()}:
                return
            time.sleep(_FRESH_S)

    def start(self, task: NodeTask, needs: Needs, node: Node | None) -> NodeWork:
        """Begin a run where there is room, or on one node."""
        options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus}
        if needs.memory_bytes:
            options["memory"] = needs.memory_bytes
        if needs.accelerator:
            options["accelerator_type"] = needs.accelerator
        remote = self._ray.remote(
            max_retries=0,  # what is lost goes on from its last step, which Ray cannot know
            num_returns="streaming",
            _generator_backpressure_num_objects=_AHEAD,
        )(_execute)
        return _RayWork(
            self._ray, remote.options(**options, **(self._on(node) if node else {})).remote(task)
        )

    def here(self) -> Node:
        """Return the node that this process is at."""
        own = self._ray.get_runtime_context().get_node_id()
        return next(node for node in self.nodes() if node.id == own)

    def lend(self, depot: Depot) -> Lender:
        """Start an actor beside this process that answers for a depot; it ends with us."""
        actor = self._ray.remote(num_cpus=0, max_concurrency=8)(Depot)
        handle = actor.options(**self._on(self.here())).remote(*depot.arguments)
        return _RayLender(handle)

    def _on(self, node: Node) -> dict[str, Any]:
        from ray.util.scheduling_strategies import (  # noqa: PLC0415 - as Ray itself
            NodeAffinitySchedulingStrategy,
        )

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False)}


def _execute(task: NodeTask) -> Iterator[RunPart]:
    """Do one run on the node that Ray has chosen."""
    import ray  # noqa: PLC0415 - an extra

    yield from execute(task, ray.get_runtime_context().get_node_id())


class _RayLender:
    """On a node: asks the depot's actor."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __call__(self, question: str, *arguments: str) -> Iterator[bytes]:
        import ray  # noqa: PLC0415 - an extra
        import ray.exceptions  # noqa: PLC0415

        try:
            asked = self._handle.lend.options(
                num_returns="streaming", _generator_backpressure_num_objects=_AHEAD
            ).remote(question, *arguments)
            for part in asked:
                yield ray.get(part)
        except ray.exceptions.RayError as error:
            cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
            wanted = " ".join((question, *arguments))
            message = f"the driver cannot lend {wanted}: {first_line(cause)}"
            raise HostError(message, getattr(cause, "remedy", "")) from None


def _refuse_token(who: str) -> NoReturn:
    message = f"{who} wants a token that is not ours"
    remedy = "export RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from the head"
    raise HostError(message, remedy) from None


class _RayWork:
    """A task of Ray that yields the parts of a run."""

    def __init__(self, ray: Any, parts: Any) -> None:
        self._ray, self._parts = ray, parts

    def next(self, within_s: float) -> RunPart | None:
        """Return the next part; None where none comes within the time."""
        errors = self._ray.exceptions
        try:
            ready, _ = self._ray.wait([self._parts], timeout=within_s)
            if not ready:
                return None
            part: RunPart = self._ray.get(next(self._parts))
        except errors.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, Exception) else error from None
        except (
            *(errors.NodeDiedError, errors.WorkerCrashedError, errors.OutOfMemoryError),
            *(errors.ObjectLostError, errors.TaskUnschedulableError, errors.RaySystemError),
        ) as error:
            raise NodeLostError(_said(error)) from None
        return part

    def cancel(self) -> None:
        """End it, and wait a little until it has."""
        with suppress(Exception):  # whatever it says, it need not be right any more
            self._ray.cancel(self._parts)
            for _ in range(2 * _AHEAD):
                if self.next(_CONNECT_S) is None:
                    break


def _said(error: Exception) -> str:
    """Return what Ray says of an end, in a line."""
    line = first_line(error).split(". ")[0].strip()
    return line or type(error).__name__
