"""What goes between the driver and a node: a run to do, and what it writes, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any, Protocol

from harness.records import ImageRef, RunSpec, record
from harness.results.interpreter import Interpreter
from harness.runtime.base import Runtime
from harness.runtime.host import Host

CHUNK_BYTES = 4 * 2**20


class PartKind(StrEnum):
    """What a part of a run's story is."""

    BEGAN = "began"  # value: Ray's id of the node, and its boot id
    ADDED = "added"  # content: what a file has grown by
    STEP = "step"  # content: of the archive of a finished step, whose key is the name
    STEP_END = "step end"  # its archive is whole
    ENDED = "ended"  # value: the outcome
    REFUSED = "refused"  # value: message and remedy, as the node cannot do it


@record
class RunPart:
    """A part of what a run writes.

    Attributes:
        name: a file of the run's folder, or the key of a step.
    """

    kind: PartKind
    name: str = ""
    content: bytes = b""
    value: Any = None


@record
class LentImage:
    """An image that the driver's engine has.

    Attributes:
        platform: that it is for, such as ``linux/arm64``.
    """

    image: ImageRef
    size_bytes: int
    platform: str


@record
class NodeTask:
    """One run, ready to be done on a node.

    Attributes:
        runtime: does it there, as on any machine; not entered.
        files: name -> content, of the run's folder before it begins.
        program: as `Launch.program`.
        environment: the driver's variables that decide arithmetic.
        models: published models that it reads.
        images: of containers, those that the driver has.
        probes: whether the node probes itself around it.
        depot: lends what the node lacks; None where the run reads nothing.
    """

    runtime: Runtime
    spec: RunSpec
    files: Mapping[str, bytes]
    program: tuple[str, ...] | None
    label: str
    environment: Mapping[str, str]
    models: Sequence[str] = ()
    images: Sequence[LentImage] = ()
    probes: bool = False
    depot: Lender | None = None


class Lender(Protocol):
    """Where a node gets what it lacks; `harness.cluster.depot` answers."""

    def __call__(self, question: str, *arguments: str) -> Iterator[bytes]:
        """Yield the answer in chunks, as `harness.cluster.depot.Depot.lend`."""
        ...


@record
class Needs:
    """What a run keeps for itself of a node, in Ray's words.

    Attributes:
        accelerator: the type of GPU, as Ray finds it; None for any.
    """

    cpus: float
    gpus: int = 0
    memory_bytes: int | None = None
    accelerator: str | None = None

    @property
    def resources(self) -> dict[str, float]:
        """Ray's names and amounts."""
        found: dict[str, float] = {"CPU": self.cpus, "GPU": self.gpus}
        found["memory"] = self.memory_bytes or 0
        if self.accelerator:
            found[f"accelerator_type:{self.accelerator}"] = ACCELERATOR_SHARE
        return {name: amount for name, amount in found.items() if amount}


ACCELERATOR_SHARE = 0.001  # of a node's one: what Ray itself asks for a task of that type


@record
class Node:
    """A node that is alive, as Ray knows it.

    Attributes:
        id: Ray's, another one after each start.
        name: given to ``ray start --node-name``, else its address.
    """

    id: str
    name: str
    address: str
    resources: Mapping[str, float]

    def has(self, needs: Needs) -> bool:
        """Return whether a run could be at work here if nothing else were."""
        return all(
            self.resources.get(name, 0.0) >= amount for name, amount in needs.resources.items()
        )


@record
class NodeFacts:
    """What a node says of itself before anything starts there.

    Attributes:
        source: digest of the harness's source there.
        disk_free_gib: where runs are at work.
        folder: where that is.
    """

    host: Host
    interpreter: Interpreter
    source: str
    disk_free_gib: float
    folder: str


@record
class SurveyedNode:
    """A node, and what it says of itself.

    Attributes:
        facts: None where it cannot say any.
        problem: why it cannot; and the next command to type.
    """

    node: Node
    facts: NodeFacts | None
    problem: tuple[str, str] = ("", "")
    problems: tuple[tuple[str, str], ...] = field(default=())
