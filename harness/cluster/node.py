"""On a node of a cluster: one run, done by the runtime that does it on any machine.

The node's worker process starts the run, as a harness does on its own machine, and holds its
lifeline: whatever ends the worker ends the run. What it writes goes to the driver as it comes. What
it reads and the image of its container are looked for here, and fetched from the driver by their
sha256 where they are missing.

::

    <cache>/node/runs/<run id>.<owner>/    a run at work; of a dead owner it is removed
    <cache>/node/artefacts/                finished steps, those of the driver's that were asked for
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import harness
from harness import atomic
from harness.artefacts import ArtefactStore
from harness.cluster import images
from harness.cluster.parts import (
    CHUNK_BYTES,
    Lender,
    LentImage,
    NodeFacts,
    NodeTask,
    PartKind,
    RunPart,
)
from harness.errors import HostError, InputError
from harness.reading import read_json
from harness.records import HostLog, HostProbe, RunOutcome, RunSpec, to_json
from harness.results.archive import sha256
from harness.results.interpreter import this_interpreter
from harness.results.store import HOST_PROBE_FILE
from harness.runtime.base import Launch, Runtime
from harness.runtime.environ import set_arithmetic
from harness.runtime.evidence import EvidenceState, evidence_folder, statuses
from harness.runtime.host import probe_host
from harness.runtime.host_probe import HostProber
from harness.runtime.models import model_problems, models_folder, room_problem
from harness.runtime.owner import boot_id, parse, this_process
from harness.scenario.schema import EvidenceFile
from harness.session.project import cache_folder, compiled_folder
from harness.telemetry.log import TELEMETRY_FILE
from harness.telemetry.sampler import TelemetrySampler
from harness.workloads.api.emit import EVENTS_FILE
from harness.workloads.api.steps import WANTED

_LOOK_S = 0.5  # between two looks at what a run has written
_ALONE_S = 120.0  # a run is ended when the driver has taken nothing for so long
_BESIDE_FILE = ".beside"
_BYTES_PER_GIB = 2**30
_probers: dict[str, HostProber] = {}  # by node; a worker is at one and does many runs


def folder() -> Path:
    """Return where this node does its runs."""
    return cache_folder() / "node"


@cache
def source_digest() -> str:
    """Return the sha256 over the source of the harness that runs here."""
    root, total = Path(harness.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root)}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def facts() -> NodeFacts:
    """Return what this node is."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    return NodeFacts(
        host=probe_host(),
        interpreter=this_interpreter(),
        source=source_digest(),
        disk_free_gib=shutil.disk_usage(place).free / _BYTES_PER_GIB,
        folder=str(place),
    )


def problems(
    runtime: Runtime,
    spec: RunSpec,
    lent: Sequence[LentImage] = (),
    models_gib: Mapping[str, float] = MappingProxyType({}),
) -> list[tuple[str, str]]:
    """Return what keeps this node from a run: message and next command each.

    What dead owners have left here is ended on the way.

    Args:
        runtime: that will do it.
        spec: the run.
        lent: images that are fetched before it where the node lacks them.
        models_gib: published models that are, with their sizes.
    """
    try:
        found = [*images.problems(runtime, spec, lent), *_no_room(models_gib)]
        if not found:
            with runtime:
                runtime.reap()
    except HostError as error:
        found = [error]
    return [(error.message, error.remedy) for error in found]


def execute(task: NodeTask, node_id: str, root: Path | None = None) -> Iterator[RunPart]:
    """Do one run, and yield what it writes; the last part is its outcome, or why there is none.

    Args:
        task: the run.
        node_id: of this node.
        root: where it does its runs; None for `folder`.
    """
    root = root or folder()
    set_arithmetic(task.environment)
    try:
        with _place(task, root) as run_dir:
            yield RunPart(kind=PartKind.BEGAN, value=(node_id, boot_id()))
            launch = _launch(task, root, run_dir)
            prober = _probers.setdefault(node_id, HostProber()) if task.probes else None
            attempt = _Attempt(task, launch, prober)
            yield from attempt.parts()
            beside = (run_dir / _BESIDE_FILE).read_text(encoding="ascii").split()
            outcome = replace(
                attempt.outcome(),
                shared_with=max(map(int, beside)),
                host=HostLog(probes=attempt.probes_after),
            )
            yield RunPart(kind=PartKind.ENDED, value=outcome)
    except HostError as error:
        yield RunPart(kind=PartKind.REFUSED, value=(error.message, error.remedy))
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise
        refused = atomic.unwritable(root, error)
        yield RunPart(kind=PartKind.REFUSED, value=(refused.message, refused.remedy))


@contextmanager
def _place(task: NodeTask, root: Path) -> Iterator[Path]:
    """Give a run its folder; say in those of others at work here that they share the machine."""
    runs = root / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    place = runs / f"{task.spec.run_id}.{this_process().token}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()  # before the others are looked at: of two that begin at once, one sees the other
    others = []
    for path in runs.iterdir():
        owner = parse(path.name.partition(".")[2])
        if owner is None or owner.is_dead:
            shutil.rmtree(path, ignore_errors=True)
        elif path != place:
            others.append(path)
    try:
        for name, content in task.files.items():
            (place / name).write_bytes(content)
        for path in (place, *others):
            with suppress(FileNotFoundError), (path / _BESIDE_FILE).open("a") as file:
                file.write(f"{len(others)}\n")
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _launch(task: NodeTask, root: Path, run_dir: Path) -> Launch:
    artefacts = ArtefactStore(root / "artefacts")
    artefacts.make_folder()
    if task.images:
        assert task.depot is not None, "a run that reads anything is lent it"
        images.fetch(task.spec, task.images, task.depot, root)
    return Launch(
        spec=task.spec,
        run_dir=run_dir,
        evidence_dir=_evidence(task) if task.spec.evidence else None,
        models_dir=_models(task) if task.models else None,
        artefacts_dir=artefacts.root,
        compiled_dir=compiled_folder() if task.spec.limits.gpus else None,
        program=task.program,
        label=task.label,
        stop=threading.Event(),
    )


class _Attempt:
    """A run at work in a thread of its own, while this one tells the driver of it.

    Attributes:
        probes_after: what the machine could do after it; those before it go the way of its files.
    """

    def __init__(self, task: NodeTask, launch: Launch, prober: HostProber | None) -> None:
        self._task, self._launch, self._prober = task, launch, prober
        self.probes_after: tuple[HostProbe, ...] = ()
        self._result: RunOutcome | BaseException | None = None
        self._done = threading.Event()
        self._sent: dict[str, int] = {name: len(text) for name, text in task.files.items()}
        self._seen_events = b""
        assert launch.artefacts_dir is not None
        self._artefacts = ArtefactStore(launch.artefacts_dir)

    def parts(self) -> Iterator[RunPart]:
        """Yield what the run writes until it has ended."""
        assert self._launch.stop is not None
        thread = threading.Thread(target=self._run, name="run")
        thread.start()
        try:
            over = False
            while not over:
                over = self._done.wait(_LOOK_S)
                self._serve()
                alone = threading.Timer(_ALONE_S, self._launch.stop.set)
                alone.daemon = True
                alone.start()  # a part that is not taken holds this thread
                try:
                    yield from self._news(whole=over)
                finally:
                    alone.cancel()
        finally:
            self._launch.stop.set()
            thread.join()

    def outcome(self) -> RunOutcome:
        """Return how it ended."""
        if isinstance(self._result, BaseException):
            raise self._result
        assert self._result is not None
        return self._result

    def _run(self) -> None:
        try:
            with self._task.runtime as runtime:
                runtime.reap()
                if self._prober:
                    before = self._prober.before(self._launch, runtime)
                    place = self._launch.run_dir / HOST_PROBE_FILE
                    atomic.write_text(place, json.dumps(to_json(before)))
                with TelemetrySampler(self._launch.run_dir / TELEMETRY_FILE):
                    self._result = runtime.run(self._launch)
                if self._prober:
                    self.probes_after = self._prober.after(self._launch, runtime)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for it
            self._result = error
        finally:
            self._done.set()

    def _news(self, *, whole: bool) -> Iterator[RunPart]:
        """Yield what the files have grown by; of a run that has ended, every file."""
        run_dir = self._launch.run_dir
        paths = run_dir.rglob("*") if whole else run_dir.glob("*")
        for path in sorted(paths):
            name = str(path.relative_to(run_dir))
            if not path.is_file() or path.is_symlink() or name.startswith("."):
                continue
            is_whole = whole or name == HOST_PROBE_FILE
            if not (is_whole or path.suffix in {".jsonl", ".csv", ".log"}):
                continue
            if name in self._task.files:
                continue
            yield from self._grown(path, name)
        yield from self._steps()

    def _grown(self, path: Path, name: str) -> Iterator[RunPart]:
        with path.open("rb") as file:
            at = self._sent.get(name, 0)
            file.seek(at)
            while chunk := file.read(CHUNK_BYTES):
                yield RunPart(kind=PartKind.ADDED, name=name, content=chunk)
                self._sent[name] = at = at + len(chunk)
                if name == EVENTS_FILE:
                    self._seen_events += chunk
        if name not in self._sent:  # an empty one
            self._sent[name] = 0
            yield RunPart(kind=PartKind.ADDED, name=name)

    def _steps(self) -> Iterator[RunPart]:
        """Yield the steps that the run has just made: with them another node goes on."""
        *lines, self._seen_events = self._seen_events.split(b"\n")
        for line in lines:
            if b'"stored"' not in line:
                continue
            event = read_json(line)
            if event["kind"] != "stored" or not event["payload"]["made_now"]:
                continue
            key = event["payload"]["key"]
            archive = self._launch.run_dir / f".{key}.tar"
            self._artefacts.export([key], archive)
            for chunk in chunks_of(archive):
                yield RunPart(kind=PartKind.STEP, name=key, content=chunk)
            archive.unlink()
            yield RunPart(kind=PartKind.STEP_END, name=key)

    def _serve(self) -> None:
        """Fetch the driver's finished steps that the run waits for."""
        for wanted in (self._launch.run_dir / WANTED).glob("*"):
            archive = self._launch.run_dir / f".{wanted.name}.tar"
            try:
                _fetch(self._task.depot, archive, "step", wanted.name)
                self._artefacts.take_in(archive)
            except (HostError, InputError) as error:  # the run makes it, as it makes a damaged one
                print(error)
            archive.unlink(missing_ok=True)
            wanted.unlink()


def _fetch(depot: Lender | None, place: Path, question: str, *arguments: str) -> None:
    assert depot is not None, "a run that reads anything is lent it"
    with atomic.new_file(place) as temporary, temporary.open("wb") as file:
        for chunk in depot(question, *arguments):
            file.write(chunk)


def _evidence(task: NodeTask) -> Path:
    """Return the folder of the published files that a run reads, all of them here."""
    files = [EvidenceFile(file=name, sha256=sha) for name, sha in task.spec.evidence.items()]
    place = evidence_folder(cache_folder(), files)
    for each in statuses(files, place):
        if each.state is not EvidenceState.HERE:
            _fetch(task.depot, place / each.file, "evidence", each.file)
    if wrong := [e.file for e in statuses(files, place) if e.state is not EvidenceState.HERE]:
        message = f"what the driver lends of {wrong[0]} is not what was published"
        raise HostError(message, f"harness fetch {task.spec.scenario}")
    return place


def _no_room(models_gib: Mapping[str, float]) -> list[HostError]:
    """Return that the disk has no room for the models that are not here; nothing if it has."""
    place = models_folder(cache_folder())
    lacking = [model for model in models_gib if any(model_problems([model], place))]
    return [*room_problem(place, sum(models_gib[model] for model in lacking))]


_whole_models: set[str] = set()  # that this worker has looked at: they are tens of gigabytes


def _models(task: NodeTask) -> Path:
    """Return the folder of the published models that a run reads, all of them here."""
    place = models_folder(cache_folder())
    for model in task.models:
        if model in _whole_models:
            continue
        assert task.depot is not None, "a run that reads anything is lent it"
        (listed,) = task.depot("model", model)
        for path, sha in read_json(listed).items():
            file = place / model.partition("@")[0] / path
            if not file.is_file() or sha256(file) != sha:
                _fetch(task.depot, file, "model file", model, path)
        if found := [*model_problems([model], place)]:
            raise found[0]
        _whole_models.add(model)
    return place


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield a file's content."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
