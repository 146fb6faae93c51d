"""Which sandboxes a run gets: those its spec asks for, tried once, and named in its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import first_line
from harness.records import ImageRef, SandboxKind, SandboxSpec, record
from harness.sandbox.base import Sandbox, SandboxUnavailable
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import SandboxLimits
from harness.variables import SANDBOX_VARIABLE

if TYPE_CHECKING:  # loaded once chosen, below: a run in memory needs none of them
    from harness.sandbox.bubblewrap import Bubblewrap
    from harness.sandbox.container_pool import ContainerPool

WITH_PROCESSES = (
    SandboxKind.BUBBLEWRAP,
    SandboxKind.CONTAINERS,
)  # `auto` takes the first that works


@record
class Sandboxes:
    """The sandboxes of a run.

    Attributes:
        kind: what they are; never `SandboxKind.AUTO`.
        make: returns a sandbox that has not been entered.
        note: what a reader of the result should know of the choice.
    """

    kind: SandboxKind
    make: Callable[[], Sandbox]
    note: str


@contextmanager
def open_sandboxes(
    spec: SandboxSpec,
    limits: SandboxLimits = SandboxLimits(),  # noqa: B008 - frozen
) -> Iterator[Sandboxes]:
    """Give the sandboxes that `spec` asks for; what they share lasts as long as the block.

    A run in a container asks the harness outside of it for them.

    Raises:
        SandboxUnavailable: they do not work here; says why and what to type.
    """
    with ExitStack() as stack:
        yield _opened(spec, limits, stack)


def _opened(spec: SandboxSpec, limits: SandboxLimits, stack: ExitStack) -> Sandboxes:
    if spec.kind is SandboxKind.MEMORY:
        return _memory(limits, "as asked for")
    socket = os.environ.get(SANDBOX_VARIABLE)
    try:
        if socket:
            return _remote(Path(socket), spec, limits)
        kind = working_kind(spec)
        factory = stack.enter_context(open_factory(kind, limits, spec.image))
        return Sandboxes(kind=kind, make=factory.make, note=_note(kind, spec.image))
    except SandboxUnavailable as error:
        if not spec.may_use_memory:
            raise
        return _memory(limits, first_line(error))


def working_kind(spec: SandboxSpec) -> SandboxKind:
    """Return the kind with processes that `spec` gets on this machine, by making one of it.

    Raises:
        SandboxUnavailable: none that it allows works; says why and what to type.
    """
    allowed = WITH_PROCESSES if spec.kind is SandboxKind.AUTO else (spec.kind,)
    problems: dict[SandboxKind, SandboxUnavailable] = {}
    for kind in allowed:
        try:
            with open_factory(kind, SandboxLimits(), spec.image) as factory, factory.make():
                return kind
        except SandboxUnavailable as error:
            problems[kind] = error
    if len(problems) == 1:
        raise problems[spec.kind]
    causes = "; ".join(f"{kind}: {error.message}" for kind, error in problems.items())
    remedy = next((error.remedy for error in problems.values() if error.remedy), "harness doctor")
    message = f"no sandbox works here: {causes}"
    raise SandboxUnavailable(message, remedy)


@contextmanager
def open_factory(
    kind: SandboxKind,
    limits: SandboxLimits,
    image: ImageRef | None,
    *,
    num_spare: int = 4,
    owner: str | None = None,
) -> Iterator[Bubblewrap | ContainerPool]:
    """Give what makes sandboxes of `kind`, one with processes, on this machine.

    Args:
        kind: which.
        limits: of each sandbox.
        image: of containers.
        num_spare: how many unused containers are kept.
        owner: the run that containers belong to; None for this process's.

    Raises:
        SandboxUnavailable: there is no engine, or no image.
    """
    if kind is SandboxKind.BUBBLEWRAP:
        from harness.sandbox.bubblewrap import Bubblewrap  # noqa: PLC0415 - once chosen

        yield Bubblewrap(limits)
        return
    if image is None:
        message = "the image of sandboxes has not been built for this machine"
        raise SandboxUnavailable(message, "harness build sandbox")
    from harness.sandbox.container_pool import ContainerPool  # noqa: PLC0415 - once chosen

    with ContainerPool(image, limits, num_spare=num_spare, owner=owner) as pool:
        yield pool


def _remote(socket: Path, spec: SandboxSpec, limits: SandboxLimits) -> Sandboxes:
    from harness.sandbox.remote import RemoteSandboxFactory  # noqa: PLC0415 - once chosen

    factory = RemoteSandboxFactory(socket, limits)
    with factory.make():  # the server runs a command in each
        kind = SandboxKind(factory.kind)
    note = f"{_note(kind, spec.image)}, outside of the run's container"
    return Sandboxes(kind=kind, make=factory.make, note=note)


def _note(kind: SandboxKind, image: ImageRef | None) -> str:
    if kind is SandboxKind.BUBBLEWRAP:
        return "commands run in bubblewrap sandboxes"
    assert image is not None
    return f"commands run in containers of image {image.name} ({image.digest})"


def _memory(limits: SandboxLimits, why: str) -> Sandboxes:
    note = f"commands run in memory, without processes: few commands are known ({why})"
    return Sandboxes(kind=SandboxKind.MEMORY, make=partial(MemorySandbox, limits), note=note)
