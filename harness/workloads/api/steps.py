"""Steps: the expensive parts of a run, each made once and kept as an artefact.

::

    with context.steps.step("tasks", decides={"seed": 42}, code=(__name__,)) as step:
        if step.is_new:
            write_tasks(step.folder / "tasks.jsonl", ...)
    tasks = read_tasks(step.folder / "tasks.jsonl")

What decides a step is in `decides` and `reads`, and in the code of the modules that `code` names
with all that they import. Where such a step is there already, whichever run made it, the block is
entered with `is_new` false, and the events that it wrote come again; so a run that was killed, or
another one that asks the same, goes on behind it. Figures inside a block are events of the step;
figures outside are computed each time, from what the step left.

Two runs after the same step: one makes it, the other waits and takes it. A step needs no
generator's state to be the same each time: its random numbers come from seeds that it names.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.artefacts import CARRIERS, Artefact, ArtefactStore, Cost, DamagedError, StepSpec
from harness.errors import first_line
from harness.probes.energy import energy_counter
from harness.probes.reading import NotSupported, Reasons
from harness.records import RunSpec, StepTaken, record, to_json
from harness.source import digest_of
from harness.workloads.api.emit import EventWriter
from harness.workloads.api.passes import part

# what computes; an engine names itself among what decides the steps that it answers in
_LIBRARIES = ("torch", "transformers", "peft", "numpy", "megatron-core")
_KIB_PER_GIB = 2**20
EARLIER_FILE = "earlier.json"  # written by the harness: `EarlierSegments`
WANTED = ".wanted"  # folder of a run: keys of steps that it waits for, which another machine lends
_POLL_S = 0.05
_TELL_S = 30.0  # between two lines about a wait, at most; a line is a sign of life


@record
class EarlierSegments:
    """What the harness tells an attempt of those before it.

    Attributes:
        own: keys of the steps that they finished.
        across: identity of a step -> key of one that other code made, and that is taken all the
            same, as the user asked for.
        elsewhere: keys of finished steps that another machine has, and lends when they are asked
            for by a file of that name below `WANTED`.
    """

    own: tuple[str, ...] = ()
    across: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Step:
    """One step of a run.

    Attributes:
        name: as the run calls it.
        is_new: whether it must be made.
        folder: its files; where to write them while it is new.
        facts: what is remembered beside the files, plain JSON; to be filled while it is new.
        is_whole: whether it is kept as finished once its block has ended well; else the next
            attempt makes it, and goes on with the files that `Steps.step` was told to keep.
        artefact: what it is; None while it is new, and for one that is not whole.
    """

    name: str
    is_new: bool
    folder: Path
    facts: dict[str, Any]
    is_whole: bool = True
    artefact: Artefact | None = None

    def digest(self, below: str = "") -> str:
        """Return the digest of its files, or of those below a folder, for steps that read them."""
        assert self.artefact is not None, "a step has a digest once it is finished"
        return self.artefact.digest(below)

    @property
    def wall_s(self) -> float:
        """What making it took, seconds."""
        assert self.artefact is not None, "a step has taken its time once it is finished"
        return self.artefact.cost.wall_s


class Steps:
    """The steps of one run.

    Args:
        spec: the run.
        emit: its event writer.
        root: the store of finished steps.
        earlier: attempts at this run before this one.
        out: the run's folder.

    Attributes:
        done: what the run has made or taken so far, in their order.
    """

    def __init__(
        self,
        spec: RunSpec,
        emit: EventWriter,
        root: Path,
        earlier: EarlierSegments | None = None,
        out: Path = Path(),
    ) -> None:
        self._spec, self._emit = spec, emit
        self._store = ArtefactStore(root)
        self._earlier = earlier or EarlierSegments()
        self._run = f"{spec.scenario} {spec.profile} {spec.run_id}"
        self._within = ""  # the step that is being made
        self._damaged: set[str] = set()  # keys that were said to be
        self._out, self._asked = out, set[str]()  # keys that another machine was asked for
        self.done: list[Artefact] = []

    @contextmanager
    def step(
        self,
        name: str,
        *,
        decides: Mapping[str, Any],
        code: tuple[str, ...],
        reads: Mapping[str, str] | None = None,
        portable: bool = False,
        keeps: tuple[str, ...] = (),
    ) -> Iterator[Step]:
        """Give a step, to be made where `Step.is_new`; it is kept when its block ends well.

        Args:
            name: what people call it; unique within the run.
            decides: its own params.
            code: modules that make it.
            reads: name -> digest of what it reads of other steps (`Step.digest`).
            portable: it is data that means the same wherever it was made; else the image, or the
                packages, and the device decide it too.
            keeps: files below its folder, by name or pattern, that a maker who is killed may leave
                and the next one goes on with.

        Raises:
            HostError: it is not there, and the store cannot be written to.
        """
        if self._within:
            message = f"step {name!r} begins within step {self._within!r}: steps do not nest"
            raise ValueError(message)
        asked = StepSpec(
            name=name,
            decides=to_json(decides),
            reads=reads or {},
            place={} if portable else self._place,
            source=digest_of(code, CARRIERS),
        )
        with part(name) as timed:
            found, across = self._found(asked)
            if found is None:
                with self._store.locked(asked.key, self._waiter(name)):
                    found, across = self._found(asked)  # its maker may just have finished
                    if found is None:
                        self._within = name
                        try:
                            yield from self._made(asked, code, keeps)
                        finally:
                            self._within = ""
                        return
            timed.is_new = False
            yield self._taken(found, across=across)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the files of the steps that are done."""
        return tuple(self._store.files(step.key) for step in self.done)

    def _found(self, asked: StepSpec) -> tuple[Artefact | None, bool]:
        """Return the finished step, and whether other code made it."""
        continued = self._earlier.across.get(asked.identity)
        for key, across in ((asked.key, False), (continued, True)):
            try:
                if key in self._earlier.elsewhere:
                    self._borrow(key)
                if key is not None and (found := self._store.find(key)) is not None:
                    return found, across and key != asked.key
            except DamagedError as error:
                if asked.key not in self._damaged:
                    self._damaged.add(asked.key)
                    said = f"step {asked.name!r} is made again: {first_line(error)}"
                    self._emit.note(said)
                    print(said, file=sys.stderr)
        return None, False

    def _borrow(self, key: str) -> None:
        """Wait until a step is here that another machine has; whoever watches the run fetches it.

        It is not here afterwards where that failed, and is made.
        """
        wanted = self._out / WANTED / key
        if (self._store.root / key).is_dir() or key in self._asked:
            return
        self._asked.add(key)
        wanted.parent.mkdir(exist_ok=True)
        wanted.touch()
        while wanted.exists():
            time.sleep(_POLL_S)

    def _taken(self, found: Artefact, *, across: bool) -> Step:
        self._emit.replay(self._store.events(found.key))
        self._finished(found, taken=True, across=across)
        return Step(
            name=found.name,
            is_new=False,
            folder=self._store.files(found.key),
            facts=dict(found.facts),
            artefact=found,
        )

    def _made(
        self, asked: StepSpec, code: tuple[str, ...], keeps: tuple[str, ...]
    ) -> Iterator[Step]:
        new = self._store.begin(asked.key, keeps)
        self._emit.step_begun(asked.name, asked.key, keeps=bool(keeps))
        step = Step(name=asked.name, is_new=True, folder=new / "files", facts={})
        began, began_cpu_s = time.monotonic(), _cpu_s()
        with energy_counter(_device_kind()) as energy_j:
            began_j = energy_j()
            with self._emit.copied_to(new / "events.jsonl"):
                yield step
            used_j = energy_j()
        if not step.is_whole:
            return
        why = Reasons()
        if isinstance(began_j, NotSupported):
            used_j = began_j
        elif not isinstance(used_j, NotSupported):
            used_j -= began_j
        cost = Cost(
            wall_s=round(time.monotonic() - began, 6),
            cpu_s=round(_cpu_s() - began_cpu_s, 6),
            energy_j=why.known("energy_j", used_j),
            peak_rss_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB_PER_GIB,
            absent=why,
        )
        made = self._store.finish(
            new,
            Artefact(
                spec=asked,
                code=code,
                made_by=self._run,
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
                device=self._emit.device,
                cost=cost,
                facts=step.facts,
            ),
        )
        step.artefact, step.folder = made, self._store.files(made.key)
        self._finished(made, taken=False, across=False)

    def _finished(self, artefact: Artefact, *, taken: bool, across: bool) -> None:
        is_own = artefact.made_by == self._run or artefact.key in self._earlier.own
        self.done.append(artefact)
        self._emit.step_finished(
            StepTaken(
                name=artefact.name,
                key=artefact.key,
                made_by="" if is_own else artefact.made_by,
                made_now=not taken,
                across_changes=across,
                wall_s=artefact.cost.wall_s,
            )
        )

    @cached_property
    def _place(self) -> Mapping[str, str]:
        """What computes here: the image, else the versions of packages; and on which device."""
        device = {"device": self._emit.device}
        if self._spec.image is not None:
            return {"image": self._spec.image.digest, **device}
        installed = {
            name: metadata.version(name)
            for name in _LIBRARIES
            if any(metadata.distributions(name=name))
        }
        return {**installed, **device}

    def _waiter(self, name: str) -> Callable[[], None]:
        """Return what is called while another run makes a step: a line now and then."""
        told = -float("inf")
        every_s = min(_TELL_S, self._spec.limits.stall_s / 3)

        def waiting() -> None:
            nonlocal told
            if (now := time.monotonic()) - told >= every_s:
                told = now
                said = f"waiting for another run that makes step {name!r}"
                print(said, file=sys.stderr, flush=True)

        return waiting


def _cpu_s() -> float:
    return sum(os.times()[:4])


def _device_kind() -> str:
    """Return ``cuda`` where this process computes on a GPU; nothing is loaded to find out."""
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
