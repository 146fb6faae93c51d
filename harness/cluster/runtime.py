"""Runs on the nodes of a cluster, for a driver that plans and stores as for its own machine.

Each run is one task of Ray, which alone decides where and when. What the run writes comes back as
it is written, into the folder that the store staged, so that whoever watches the driver's store
watches every node, and the store commits as always.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import harness
from harness.artefacts import ArtefactStore
from harness.cluster import images, probe
from harness.cluster.alike import differences
from harness.cluster.connection import Cluster, NodeWork
from harness.cluster.depot import Depot
from harness.cluster.node import problems, source_digest
from harness.cluster.parts import (
    Lender,
    LentImage,
    Needs,
    Node,
    NodeFacts,
    NodeTask,
    PartKind,
    RunPart,
    SurveyedNode,
)
from harness.errors import HostError, first_line
from harness.reading import read_json
from harness.records import Profile, RunOutcome, RunSpec, Status, Usage, from_json, to_json
from harness.results.code import code_state
from harness.results.store import SEGMENT_FILE
from harness.runtime.base import Launch, Leftover, NodeLostError, Runtime
from harness.runtime.environ import container_environment
from harness.runtime.host import Host
from harness.runtime.models import models_folder
from harness.session.project import cache_folder
from harness.telemetry.log import TELEMETRY_FILE
from harness.workloads.api.steps import EARLIER_FILE, EarlierSegments

_LOOK_S = 0.5
_MOST_LOST = 5  # nodes that one run may take with it, before it is the run that is to blame
_LEAST_DISK_GIB = 1.0
_BYTES_PER_GIB = 2**30
_GB10 = "GB10"


class ClusterRuntime:
    """Does each run on a node, by the runtime that does it there.

    Args:
        inner: that runtime, not entered.
        cluster: where; it is entered when it is first needed.
        models: published models that the runs read.

    Attributes:
        inner: as given.
        per_node: how many runs a node may do side by side.
        probes: whether each node probes itself around its runs.
    """

    is_here = False

    def __init__(
        self,
        inner: Runtime,
        cluster: Cluster,
        *,
        models: Sequence[str] = (),
    ) -> None:
        self.name = inner.name
        self.inner, self._models = inner, tuple(models)
        self.per_node = 1
        self.probes = False
        self._unconnected: Cluster = cluster
        self._seen: dict[str, SurveyedNode] = {}  # by Ray's id
        self._lost: Counter[str] = Counter()
        self._lender: tuple[tuple[Path | None, ...], Lender] | None = None
        self._lent_images: dict[object, tuple[LentImage, ...]] = {}

    def __enter__(self) -> Self:
        _ = self.cluster
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if "cluster" in self.__dict__:
            del self.__dict__["cluster"]
            self._unconnected.__exit__(kind, error, trace)

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster, connected; leaving the runtime disconnects."""
        return self._unconnected.__enter__()

    # --- what the nodes are -----------------------------------------------------------------------

    @property
    def seen(self) -> tuple[SurveyedNode, ...]:
        """Every node that is alive, and what it says of itself, asked once."""
        nodes = self.cluster.nodes()
        if new := [node for node in nodes if node.id not in self._seen]:
            answers = self.cluster.ask(new, probe.probe)
            nodes = self.cluster.nodes()  # one of them may have died meanwhile
            self._seen.update(
                (node.id, _surveyed(node, answer))
                for node, answer in zip(new, answers, strict=True)
                if node.id in {each.id for each in nodes}
            )
            nodes = tuple(node for node in nodes if node.id in self._seen)
        return tuple(self._seen[node.id] for node in nodes)

    @property
    def facts(self) -> Mapping[str, NodeFacts]:
        """What the nodes are that could say it, by name; of those that have gone too."""
        return {e.node.name: e.facts for e in self._seen.values() if e.facts is not None}

    def host(self, spec: RunSpec) -> Host | None:
        """Return the machine that runs are at work on, as all are alike; None: there is none."""
        return next((each.facts.host for each in self.fitting(spec) if each.facts), None)

    def _joined(self, node_id: str) -> str:
        """Return the name of a node that has begun a run; one that has just come is looked at.

        Raises:
            HostError: it is not as the others are.
        """
        if node_id not in self._seen:
            _ = self.seen
        new = self._seen[node_id]
        if new.facts is None:
            raise _at(new.node, new.problem)
        first = next(each for each in self._seen.values() if each.facts is not None)
        assert first.facts is not None
        if found := differences({first.node.name: first.facts, new.node.name: new.facts}):
            raise _at(new.node, (f"differs from the others: {found}", "ray stop  # on it"))
        return new.node.name

    def fitting(self, spec: RunSpec) -> tuple[SurveyedNode, ...]:
        """Return the nodes that have what a run needs, whatever else they are."""
        return tuple(each for each in self.seen if each.node.has(self.needs(spec, each.node)))

    def needs(self, spec: RunSpec, node: Node | None = None) -> Needs:
        """Return what a run keeps for itself.

        Its share of a node's cores is all of them where one run at a time is done there. All nodes
        that do runs are alike, so any of them tells how many that are.
        """
        limits = spec.limits
        if node is None:
            node = self.fitting(spec)[0].node
        cpus = node.resources.get("CPU", 0.0) / self.per_node
        return Needs(
            cpus=float(int(cpus)) if cpus >= 1 else max(round(cpus - 5e-5, 4), 1e-4),
            gpus=limits.gpus,
            memory_bytes=int(limits.memory_gib * _BYTES_PER_GIB) if limits.memory_gib else None,
            accelerator=_GB10 if spec.profile is Profile.SPARK and limits.gpus else None,
        )

    def problems(self, spec: RunSpec) -> Iterator[HostError]:
        """Yield everything that keeps the cluster from `spec`, each with its node."""
        fitting = self.fitting(spec)
        if not fitting:
            yield self._fits_none(spec)
            return
        if wrong := [each for each in fitting if each.facts is None]:
            yield from (_at(each.node, each.problem) for each in wrong)
            return
        if len(fitting) < spec.limits.nodes:
            names = ", ".join(each.node.name for each in fitting)
            message = f"a run needs {spec.limits.nodes} nodes (limits.nodes), and fits on {names}"
            yield HostError(message, "ray start --address=HEAD:6379  # on another one")
            return
        known = [(each.node, each.facts) for each in fitting if each.facts is not None]
        for node, facts in known:
            if facts.disk_free_gib < _LEAST_DISK_GIB:
                free = f"{facts.disk_free_gib:.2g} GiB free in {facts.folder}"
                yield _at(
                    node, (f"the disk is full: {free}", f"ssh {node.address} df -h {facts.folder}")
                )
        if found := differences({node.name: facts for node, facts in known}):
            remedy = "make them alike, or take one out: `ray stop` on it"
            yield HostError(
                f"the nodes differ, and their figures are not averaged: {found}", remedy
            )
        lent = (self._images(spec), self._models_gib())
        answers = self.cluster.ask([node for node, _ in known], problems, self.inner, spec, *lent)
        for (node, _), answer in zip(known, answers, strict=True):
            unheard = [(first_line(answer), f"ray status  # {node.name}")]
            said = unheard if isinstance(answer, Exception) else answer
            yield from (_at(node, each) for each in said)

    def _fits_none(self, spec: RunSpec) -> HostError:
        has = "; ".join(
            f"{each.node.name} has {_amounts(each.node.resources)}" for each in self.seen
        )
        any_node = Node(id="", name="", address="", resources={"CPU": self.per_node})
        wanted = self.needs(spec, any_node).resources
        message = f"a run needs {_amounts(wanted)}, which no node has: {has or 'there is none'}"
        options = [f"--num-gpus={spec.limits.gpus}"] if spec.limits.gpus else []
        options += [f"--memory={wanted['memory']:.0f}"] if "memory" in wanted else []
        return HostError(message, " ".join(["ray start --address=HEAD:6379", *options]))

    # --- runs -------------------------------------------------------------------------------------

    def run(self, launch: Launch) -> RunOutcome:
        """Execute one run on a node, to its end or until a limit stops it.

        Raises:
            NodeLostError: the node has gone; what the run had done so far is here.
            HostError: the node cannot do it, or no node is left that can.
        """
        story = _Story(launch, self._joined)
        fitting = {each.node.name: each.node for each in self.fitting(launch.spec)}
        if not fitting:
            raise self._fits_none(launch.spec)
        needs = self.needs(launch.spec, next(iter(fitting.values())))
        work = self.cluster.start(self._task(launch), needs, fitting.get(launch.node))
        try:
            self._follow(work, story, launch, needs)
        except NodeLostError as error:
            self._lost[launch.spec.run_id] += 1
            where = f"node {story.node or '(before it began)'} is lost: {error.message}"
            if self._lost[launch.spec.run_id] < _MOST_LOST:
                raise NodeLostError(where) from None
            return RunOutcome(
                status=Status.HOST_FAILED,
                runtime=self.name,
                device="",
                usage=Usage(wall_s=0.0),
                cause=f"{where}, the {_MOST_LOST}th time",
                node=story.node,
            )
        except BaseException:
            work.cancel()
            raise
        assert story.outcome is not None
        return story.outcome

    def _follow(self, work: NodeWork, story: _Story, launch: Launch, needs: Needs) -> None:
        while story.outcome is None:
            part = work.next(_LOOK_S)
            if launch.stop is not None and launch.stop.is_set():
                raise KeyboardInterrupt
            if part is not None:
                story.take(part)
            elif not story.node and not any(node.has(needs) for node in self.cluster.nodes()):
                raise self._fits_none(launch.spec)

    def _task(self, launch: Launch) -> NodeTask:
        files = {
            path.name: path.read_bytes()
            for path in launch.run_dir.iterdir()
            if path.is_file() and path.name not in {SEGMENT_FILE, TELEMETRY_FILE}
        }
        keys: list[str] = []
        if launch.artefacts_dir is not None:
            keys = ArtefactStore(launch.artefacts_dir).keys()
        if keys:
            said = read_json(files.get(EARLIER_FILE, b"{}"))
            earlier = from_json(EarlierSegments, {**said, "elsewhere": keys})
            files[EARLIER_FILE] = json.dumps(to_json(earlier)).encode()
        lent = self._images(launch.spec)
        reads = keys or launch.spec.evidence or self._models or lent
        return NodeTask(
            runtime=self.inner,
            spec=launch.spec,
            files=files,
            program=launch.program,
            label=launch.label,
            environment=container_environment(),
            models=self._models,
            images=lent,
            probes=self.probes,
            depot=self._lent(launch) if reads else None,
        )

    def _images(self, spec: RunSpec) -> tuple[LentImage, ...]:
        """Return the images of a run that the engine here has; asked once for all alike."""
        key = (spec.image, spec.sandbox)
        if key not in self._lent_images:
            self._lent_images[key] = images.lent(spec)
        return self._lent_images[key]

    def _models_gib(self) -> dict[str, float]:
        """Return the sizes of the published models that the runs read, as they are here."""
        folders = {
            name: models_folder(cache_folder()) / name.partition("@")[0] for name in self._models
        }
        return {
            name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            / _BYTES_PER_GIB
            for name, folder in folders.items()
        }

    def _lent(self, launch: Launch) -> Lender:
        """Return the depot of the launch's folders, started once."""
        assert launch.artefacts_dir is not None
        depot = Depot(launch.evidence_dir, launch.models_dir, launch.artefacts_dir)
        if self._lender is None or self._lender[0] != depot.arguments:
            self._lender = (depot.arguments, self.cluster.lend(depot))
        return self._lender[1]

    def reap(self) -> tuple[Leftover, ...]:
        """Return nothing: each node ends its own leftovers before it does anything."""
        return ()


class _Story:
    """What has come of a run so far, written into its folder here.

    Attributes:
        node: where it is at work; empty before it has begun.
        outcome: how it ended; None before.
    """

    def __init__(self, launch: Launch, joined: Callable[[str], str]) -> None:
        self._launch, self._joined = launch, joined
        self.node = ""
        self.outcome: RunOutcome | None = None

    def take(self, part: RunPart) -> None:
        """Take the next part.

        Raises:
            HostError: the node cannot do it.
        """
        match part.kind:
            case PartKind.BEGAN:
                node_id, boot_id = part.value
                self.node = self._joined(node_id)
                if self._launch.placed is not None:
                    self._launch.placed(self.node, boot_id)
            case PartKind.ADDED:
                with _below(self._launch.run_dir, part.name).open("ab") as file:
                    file.write(part.content)
            case PartKind.STEP:
                with self._archive(part.name).open("ab") as file:
                    file.write(part.content)
            case PartKind.STEP_END:
                assert self._launch.artefacts_dir is not None
                ArtefactStore(self._launch.artefacts_dir).take_in(self._archive(part.name))
                self._archive(part.name).unlink()
            case PartKind.ENDED:
                self.outcome = replace(part.value, node=self.node)
            case PartKind.REFUSED:
                message, remedy = part.value
                said = f"node {self.node}: {message}"
                raise HostError(said, remedy)

    def _archive(self, key: str) -> Path:
        return _below(self._launch.run_dir, f".{key}.tar")


def _below(root: Path, name: str) -> Path:
    """Return the place of a file that a node names; what a run says is data."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        message = f"a node names a file outside of its run: {name!r}"
        raise HostError(message)
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _surveyed(node: Node, answer: object) -> SurveyedNode:
    """Return what a node said, where it runs the same harness as this process."""
    if isinstance(answer, Exception):
        return SurveyedNode(
            node=node, facts=None, problem=(first_line(answer), f"ray status  # {node.name}")
        )
    assert isinstance(answer, dict)
    if why := answer.get("absent"):
        message = f"its Python has no harness, or not all that it needs: {why}"
        # the session makes the environment that has all of it
        remedy = f"nox -s cluster  # on {node.name}, then `ray stop` and start it from .nox/env-ray"
        return SurveyedNode(node=node, facts=None, problem=(message, remedy))
    if answer["source"] != source_digest():
        message = "its harness is of another source than this one"
        code = code_state(Path(harness.__file__).parents[1])
        if code.commit is None or code.dirty:
            remedy = f"git status  # commit what differs here, and check it out on {node.name}"
        else:
            message += f", which is at commit {code.commit[:12]}"
            remedy = f"git checkout {code.commit[:12]}  # on {node.name}"
        return SurveyedNode(node=node, facts=None, problem=(message, remedy))
    return SurveyedNode(node=node, facts=from_json(NodeFacts, answer))


def _at(node: Node, said: Iterable[str]) -> HostError:
    message, remedy = said
    return HostError(f"node {node.name}: {message}", remedy)


def _amounts(resources: Mapping[str, float]) -> str:
    """Return resources in words: ``20 CPU, 1 GPU, 96 GiB memory``."""
    shown = []
    for name, amount in sorted(resources.items()):
        if name == "memory":
            shown.append(f"{amount / _BYTES_PER_GIB:.4g} GiB memory")
        elif name in {"CPU", "GPU"}:
            shown.append(f"{amount:g} {name}")
        elif name.startswith("accelerator_type:"):
            shown.append(name.partition(":")[2])
    return ", ".join(shown) or "nothing"
