"""Which boxes rollouts are played in, and why: tried once, and said with the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from harness.errors import HostError
from harness.records import ImageRef, record
from harness.sandbox.base import BoxLimits, Sandbox, SandboxUnavailable
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.remote import BoxesOutside
from harness.variables import SANDBOX_VARIABLE


class BoxKind(StrEnum):
    """What a box is made of."""

    AUTO = "auto"  # bubblewrap where it works, else memory
    BUBBLEWRAP = "bubblewrap"
    POOL = "pool"  # containers
    MEMORY = "memory"  # no processes: the few commands that a template author writes


@record
class Boxes:
    """Boxes to be had.

    Attributes:
        kind: what they are; never `BoxKind.AUTO`.
        make: returns a box that has not been entered.
        note: what a reader of the result should know of the choice.
    """

    kind: BoxKind
    make: Callable[[], Sandbox]
    note: str


@contextmanager
def open_boxes(
    kind: BoxKind,
    limits: BoxLimits = BoxLimits(),  # noqa: B008 - frozen
    image: ImageRef | None = None,
) -> Iterator[Boxes]:
    """Have boxes of `kind`; what they share lasts as long as the block.

    Args:
        kind: which.
        limits: of each box.
        image: of the containers; it must be in the engine.

    Raises:
        SandboxUnavailable: boxes of the kind that is asked for do not work here.
        HostError: containers without an image.
    """
    match kind:
        case BoxKind.AUTO:
            try:
                boxes = _bubblewrap(_maker(limits))
            except SandboxUnavailable as error:
                boxes = _memory(f"bubblewrap does not work here: {error}")
            yield boxes
        case BoxKind.BUBBLEWRAP:
            yield _bubblewrap(_maker(limits))
        case BoxKind.MEMORY:
            yield _memory("as asked for")
        case BoxKind.POOL:
            if image is None:
                message = "boxes that are containers need an image"
                raise HostError(message, "harness build cpu")
            with ContainerPool(image, limits) as pool:
                note = f"commands run in containers of {image.name} {image.digest}"
                yield Boxes(kind=BoxKind.POOL, make=pool.box, note=note)


def _maker(limits: BoxLimits) -> Bubblewrap | BoxesOutside:
    """Return who makes boxes of bubblewrap here: in a container, the harness outside of it."""
    place = os.environ.get(SANDBOX_VARIABLE)
    return BoxesOutside(Path(place), limits) if place else Bubblewrap(limits)


def _bubblewrap(maker: Bubblewrap | BoxesOutside) -> Boxes:
    with maker.box():  # making one tries a command
        note = "commands run in boxes of bubblewrap"
    if isinstance(maker, BoxesOutside):
        note += ", outside of the run's container"
    return Boxes(kind=BoxKind.BUBBLEWRAP, make=maker.box, note=note)


def _memory(why: str) -> Boxes:
    note = f"commands run in boxes without processes, which know few of them ({why})"
    return Boxes(kind=BoxKind.MEMORY, make=MemorySandbox, note=note)
