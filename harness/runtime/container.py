"""What the engine is told of a run's container: the locked image, and everything else shut.

The root is read-only, and so is every mount but the run's own folder, the store of finished steps
and what the image's compilers keep; no capability, no new privilege, no network unless the run asks
for it, never root.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import harness
from harness.records import ImageRef, RunSpec
from harness.runtime.base import SPEC_FILE, Launch
from harness.runtime.environ import compile_caches, container_environment, run_environment
from harness.runtime.owner import Owner
from harness.runtime.sandbox_server import SOCKET
from harness.variables import (
    ARTEFACTS_VARIABLE,
    EVIDENCE_VARIABLE,
    MODELS_VARIABLE,
    SANDBOX_VARIABLE,
)

RUN_LABEL = "harness.run"
OWNER_LABEL = "harness.owner"
DEADLINE_LABEL = "harness.deadline"
RUN_DIR = "/harness/run"
SOURCE_DIR = "/harness/source"
EVIDENCE_DIR = "/harness/evidence"
MODELS_DIR = "/harness/models"
ARTEFACTS_DIR = "/harness/artefacts"
COMPILED_DIR = "/harness/compiled"
SANDBOX_DIR = "/harness/sandbox"
_SOURCE = Path(harness.__file__).resolve().parent
_NUM_FILES = 65536  # data loaders with many workers need more than the usual 1024
_NUM_PROCESSES = 4096
_TMP_BYTES = 4 * 2**30
_GIB = 2**30
_GRACE_S = 60.0  # what starting and removing may add to a run's time-out


def image_of(spec: RunSpec) -> ImageRef:
    """Return the image that a run in a container needs; `problems` has refused a spec without."""
    assert spec.image is not None
    return spec.image


def compiled_of(launch: Launch) -> Path | None:
    """Return what the compilers of a run's image keep: nothing of another image's is loaded."""
    if launch.compiled_dir is None:
        return None
    return launch.compiled_dir.resolve() / image_of(launch.spec).digest.removeprefix("sha256:")[:12]


def container_options(
    launch: Launch, owner: Owner, user: str, sandboxes: Path | None = None
) -> dict[str, Any]:
    """Return what the engine is told of a run's container, as arguments of ``create``.

    Args:
        launch: the run.
        owner: the process that starts it.
        user: whom it runs as.
        sandboxes: the folder with the socket at which it asks for sandboxes; None for none.
    """
    from docker.types import LogConfig, Ulimit  # noqa: PLC0415 - planning must not load the client

    spec = launch.spec
    memory = f"{round(spec.limits.memory_gib * _GIB)}b" if spec.limits.memory_gib else None
    return {
        "image": image_of(spec).digest,
        "name": f"harness-{spec.run_id}",  # a second harness cannot execute the same run
        "command": ["python3", *launch.arguments],
        "working_dir": RUN_DIR,
        "environment": _environment(launch, sandboxes),
        "labels": _labels(spec, owner),
        "user": user,
        "stdin_open": True,  # the lifeline, see harness.runtime.docker
        "init": True,  # reaps orphans, and lets SIGKILL end the program's group
        "mounts": _mounts(launch, sandboxes),
        "read_only": True,
        "tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,size={_TMP_BYTES},mode=1777"},  # noqa: S108 - compiled kernels are loaded from it
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "network_mode": "host" if spec.limits.network else "none",  # loopback is in both
        "ipc_mode": "private",
        "shm_size": round(spec.limits.shm_gib * _GIB),
        "mem_limit": memory,
        "memswap_limit": memory,  # no swap on top
        "pids_limit": _NUM_PROCESSES,
        "ulimits": [
            Ulimit(name="nofile", soft=_num_files(), hard=_num_files()),
            Ulimit(name="core", soft=0, hard=0),
        ],
        "device_requests": _devices(spec),
        "log_config": LogConfig(type="none"),  # the attach connection carries it, bounded
    }


def _environment(launch: Launch, sandboxes: Path | None) -> dict[str, str]:
    given = {
        **container_environment(),
        **run_environment(SOURCE_DIR),
        "HOME": "/tmp",  # noqa: S108 - the only other writable place
        "USER": "harness",  # the user has no entry in the image's passwd
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if launch.evidence_dir is not None:
        given[EVIDENCE_VARIABLE] = EVIDENCE_DIR
    if launch.models_dir is not None:
        given[MODELS_VARIABLE] = MODELS_DIR
    if launch.artefacts_dir is not None:
        given[ARTEFACTS_VARIABLE] = ARTEFACTS_DIR
    if launch.compiled_dir is not None:
        given |= compile_caches(COMPILED_DIR)
    if sandboxes is not None:
        given[SANDBOX_VARIABLE] = f"{SANDBOX_DIR}/{SOCKET}"
    return {**given, **launch.env}


def _labels(spec: RunSpec, owner: Owner) -> dict[str, str]:
    return {
        RUN_LABEL: spec.run_id,
        OWNER_LABEL: owner.token,
        DEADLINE_LABEL: f"{time.time() + spec.limits.timeout_s + _GRACE_S:.0f}",
    }


def _mounts(launch: Launch, sandboxes: Path | None) -> list[Any]:
    """Everything read-only but what a run writes; the spec in its folder is read-only as well."""
    from docker.types import Mount  # noqa: PLC0415 - planning must not load the client

    shown = [
        (launch.run_dir.resolve(), RUN_DIR, False),
        (launch.run_dir.resolve() / SPEC_FILE, f"{RUN_DIR}/{SPEC_FILE}", True),
        (_SOURCE, f"{SOURCE_DIR}/{_SOURCE.name}", True),
    ]
    if launch.evidence_dir is not None:
        shown.append((launch.evidence_dir.resolve(), EVIDENCE_DIR, True))
    if launch.models_dir is not None:
        shown.append((launch.models_dir.resolve(), MODELS_DIR, True))
    if launch.artefacts_dir is not None:
        shown.append((launch.artefacts_dir.resolve(), ARTEFACTS_DIR, False))
    if (compiled := compiled_of(launch)) is not None:
        shown.append((compiled, COMPILED_DIR, False))
    if sandboxes is not None:
        shown.append((sandboxes, SANDBOX_DIR, True))
    return [
        Mount(target=target, source=str(source), type="bind", read_only=read_only)
        for source, target, read_only in shown
    ]


def _devices(spec: RunSpec) -> list[Any] | None:
    from docker.types import DeviceRequest  # noqa: PLC0415 - planning must not load the client

    if not spec.limits.gpus:
        return None
    return [DeviceRequest(count=spec.limits.gpus, capabilities=[["gpu"]])]


def _num_files() -> int:
    """Return the limit of open files; the engine refuses more than its own hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _NUM_FILES if hard == resource.RLIM_INFINITY else min(_NUM_FILES, hard)
