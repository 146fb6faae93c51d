"""Runs in a container: the locked image, nothing writable but the run's folder, no network.

The attach connection is the container's standard input. When this process dies, however it dies,
the engine sees the connection close and closes that input; the workload, which reads it, ends its
process group, and with it the container. Containers whose program does not read it are found by
their labels (`DockerRuntime.reap`). So containers are never removed by the engine itself, which
would also take the exit code and the cause with them.
"""

from __future__ import annotations

import os
import resource
import selectors
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import harness
from harness.errors import HostError
from harness.records import ImageRef, RunOutcome, RunSpec, Status, Usage
from harness.runtime import engine
from harness.runtime.base import (
    SPEC_FILE,
    STDERR_FILE,
    STDOUT_FILE,
    Ending,
    Launch,
    Leftover,
    Stop,
    judge,
)
from harness.runtime.environ import container_environment, run_environment
from harness.runtime.frames import Frames
from harness.runtime.host import probe_host
from harness.runtime.logs import BoundedLog
from harness.runtime.memory import Breach, MemoryWatchdog, floor_gib
from harness.runtime.owner import Owner, parse, this_process
from harness.runtime.watch import Watch, host_problems
from harness.workloads.context import EVIDENCE_VARIABLE

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

RUN_LABEL = "harness.run"
OWNER_LABEL = "harness.owner"
DEADLINE_LABEL = "harness.deadline"
RUN_DIR = "/harness/run"
SOURCE_DIR = "/harness/source"
EVIDENCE_DIR = "/harness/evidence"
_SOURCE = Path(harness.__file__).resolve().parent
_NOBODY = 65534  # what root runs as in a container
_NUM_FILES = 65536  # data loaders with many workers need more than the usual 1024
_NUM_PROCESSES = 4096
_TMP_BYTES = 4 * 2**30
_GIB = 2**30
_KIB_PER_GIB = 2**20
_GRACE_S = 60.0  # what starting and removing may add to a run's time-out
_CHUNK_BYTES = 64 * 2**10
_INIT_FAILED = "[FATAL tini"  # the container's init found no program to start


class DockerRuntime:
    """Runs a workload in a container of the local Docker engine.

    Args:
        image: the locked image.
    """

    name = "docker"

    def __init__(self, image: ImageRef) -> None:
        self.image = image

    def __enter__(self) -> Self:
        self._floor_gib = floor_gib(probe_host())
        self._stack = ExitStack()
        self._client = self._stack.enter_context(engine.connected())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def problems(self, spec: RunSpec) -> Iterator[HostError]:
        """Yield everything that keeps this machine from executing `spec`; starts nothing."""
        yield from host_problems(spec.limits, probe_host())
        try:
            with engine.connected() as client, engine.explained(self.image.name):
                client.images.get(self.image.digest)
        except HostError as error:
            yield error

    def run(self, launch: Launch) -> RunOutcome:
        """Execute one run to its end, its time-out or its memory limit."""
        began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        with (
            BoundedLog(launch.run_dir / STDOUT_FILE) as stdout,
            BoundedLog(launch.run_dir / STDERR_FILE) as stderr,
            _lent(launch.run_dir) as user,
            _Container(self._client, self.image, launch, user) as container,
        ):
            try:
                ending = container.to_its_end(self._floor_gib, stdout, stderr)
                status, cause = judge(ending, launch.spec, stderr.tail())
                exit_code = ending.exit_code
            except HostError as error:  # the engine or the image; the program is not to blame
                status, cause, exit_code = Status.HOST_FAILED, str(error), None
        return RunOutcome(
            status=status,
            runtime=self.name,
            device="",
            usage=Usage(wall_s=time.monotonic() - began, max_rss_gib=container.peak_gib),
            exit_code=exit_code,
            cause=cause,
            log_tail=() if status is Status.FINISHED else stderr.tail(),
            started_at=started_at,
        )

    def reap(self) -> tuple[Leftover, ...]:
        """Remove the containers that runs of dead owners left behind."""
        with engine.explained():
            found = self._client.containers.list(all=True, filters={"label": OWNER_LABEL})
            abandoned = [container for container in found if _is_abandoned(container)]
            for container in abandoned:
                container.remove(force=True, v=True)
        return tuple(
            Leftover(what=f"container {container.name}", run_id=container.labels[RUN_LABEL])
            for container in abandoned
        )


def _is_abandoned(container: Container) -> bool:
    """Say whether nobody waits for this container any more.

    An owner of this boot and pid namespace can be looked up. Of any other, a container that has
    ended is waited for by nobody after its deadline, and none may run past it.
    """
    owner = parse(container.labels[OWNER_LABEL])
    if owner is not None and owner.is_here:
        return owner.is_dead
    return time.time() > float(container.labels[DEADLINE_LABEL])


@contextmanager
def _lent(run_dir: Path) -> Iterator[str]:
    """Give the user a container runs as, who owns the run's folder meanwhile; never root."""
    if os.getuid() != 0:
        yield f"{os.getuid()}:{os.getgid()}"
        return
    _give(run_dir, _NOBODY, _NOBODY)
    try:
        yield f"{_NOBODY}:{_NOBODY}"
    finally:
        _give(run_dir, os.getuid(), os.getgid())


def _give(folder: Path, user: int, group: int) -> None:
    """Change the owner of a folder and all in it; links are never followed."""
    for place, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.lchown(Path(place) / name, user, group)


class _Container:
    """The container of one run, attached and started; leaving the context removes it."""

    def __init__(self, client: DockerClient, image: ImageRef, launch: Launch, user: str) -> None:
        self._client = client
        self._image = image
        self._launch = launch
        self._user = user
        self.peak_gib: float | None = None

    def __enter__(self) -> Self:
        options = container_options(self._launch, self._image, this_process(), self._user)
        with engine.explained(self._image.name):
            self._container = self._client.containers.create(**options)
            try:
                self._attach()
                self._container.start()
                self._container.reload()
            except BaseException:
                self._remove()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def to_its_end(self, floor_gib: float, stdout: BoundedLog, stderr: BoundedLog) -> Ending:
        """Keep the logs until the program has ended or must be stopped, and say how it ended.

        Raises:
            HostError: the engine went away, or the image has no Python.
        """
        with MemoryWatchdog(floor_gib, self.kill) as watchdog:
            stop = self._follow(stdout, stderr)
        ending = self._finish(stop, watchdog.breach)
        if failed := [line for line in stderr.tail() if line.startswith(_INIT_FAILED)]:
            message = f"image {self._image.name} cannot start Python: {failed[0]}"
            raise HostError(message, f"harness build {self._image.name}")
        return ending

    def kill(self, _: Breach) -> None:
        """End the container; called from the watchdog's thread while `follow` waits."""
        with engine.explained():
            self._kill()

    def _follow(self, stdout: BoundedLog, stderr: BoundedLog) -> Stop | None:
        """Keep the logs until the program ends; return why it must be stopped, if it must."""
        frames = Frames({Frames.STDOUT: stdout.write, Frames.STDERR: stderr.write})
        watch = Watch(self._launch.spec.limits, each_look=self._look)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while True:
                if selector.select(watch.wait_s()):
                    chunk = self._read()
                    if not chunk:
                        return None
                    frames.feed(chunk)
                if stop := watch.reason():
                    return stop

    def _finish(self, stop: Stop | None, breach: Breach | None) -> Ending:
        """End the program if it must be stopped, and say how it ended."""
        with engine.explained(self._image.name):
            if stop is not None:
                self._kill()
            code = self._container.wait(timeout=engine.TIMEOUT_S)["StatusCode"]
            self._container.reload()
        killed = bool(self._container.attrs["State"]["OOMKilled"])
        return Ending(exit_code=code, stop=stop, breach=breach, killed_for_memory=killed)

    def _attach(self) -> None:
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._socket = self._client.api.attach_socket(str(self._container.id), params=streams)

    def _read(self) -> bytes:
        try:
            return os.read(self._socket.fileno(), _CHUNK_BYTES)
        except ConnectionError:  # the engine went away; `finish` will say so
            return b""

    def _kill(self) -> None:
        import docker.errors  # noqa: PLC0415 - planning must not load the Docker client

        try:
            self._container.kill()
        except docker.errors.APIError as error:
            if error.status_code != 409:  # noqa: PLR2004 - it has just ended by itself
                raise

    def _look(self) -> None:
        """Read the peak of the program's memory, which is gone once it has ended."""
        self.peak_gib = _peak_gib(self._container.attrs["State"]["Pid"]) or self.peak_gib

    def _remove(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()
        with suppress(HostError), engine.explained():  # `reap` finds what cannot be removed now
            self._container.remove(force=True, v=True)


def container_options(launch: Launch, image: ImageRef, owner: Owner, user: str) -> dict[str, Any]:
    """Return what the engine is told of a run's container, as arguments of ``create``."""
    from docker.types import LogConfig, Ulimit  # noqa: PLC0415 - as above

    spec = launch.spec
    memory = f"{round(spec.limits.memory_gib * _GIB)}b" if spec.limits.memory_gib else None
    return {
        "image": image.digest,
        "name": f"harness-{spec.run_id}",  # a second harness cannot execute the same run
        "command": ["python3", *launch.arguments],
        "working_dir": RUN_DIR,
        "environment": _environment(launch),
        "labels": _labels(spec, owner),
        "user": user,
        "stdin_open": True,  # and closed with the one connection that attaches, see above
        "init": True,  # reaps orphans, and lets SIGKILL end the program's group
        "mounts": _mounts(launch),
        "read_only": True,
        "tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,size={_TMP_BYTES},mode=1777"},  # noqa: S108 - compiled kernels are loaded from it
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "network_mode": "host" if spec.limits.network else "none",  # services listen on loopback
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


def _environment(launch: Launch) -> dict[str, str]:
    given = {
        **container_environment(),
        **run_environment(SOURCE_DIR),
        "HOME": "/tmp",  # noqa: S108 - the only other writable place
        "USER": "harness",  # the user has no entry in the image's passwd
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if launch.evidence_dir is not None:
        given[EVIDENCE_VARIABLE] = EVIDENCE_DIR
    return {**given, **launch.env}


def _labels(spec: RunSpec, owner: Owner) -> dict[str, str]:
    return {
        RUN_LABEL: spec.run_id,
        OWNER_LABEL: owner.token,
        DEADLINE_LABEL: f"{time.time() + spec.limits.timeout_s + _GRACE_S:.0f}",
    }


def _mounts(launch: Launch) -> list[Any]:
    """Everything read-only but the run's folder; in it the spec is read-only as well."""
    from docker.types import Mount  # noqa: PLC0415 - as above

    shown = [
        (launch.run_dir.resolve(), RUN_DIR, False),
        (launch.run_dir.resolve() / SPEC_FILE, f"{RUN_DIR}/{SPEC_FILE}", True),
        (_SOURCE, f"{SOURCE_DIR}/{_SOURCE.name}", True),
    ]
    if launch.evidence_dir is not None:
        shown.append((launch.evidence_dir.resolve(), EVIDENCE_DIR, True))
    return [
        Mount(target=target, source=str(source), type="bind", read_only=read_only)
        for source, target, read_only in shown
    ]


def _devices(spec: RunSpec) -> list[Any] | None:
    from docker.types import DeviceRequest  # noqa: PLC0415 - as above

    if not spec.limits.gpus:
        return None
    return [DeviceRequest(count=spec.limits.gpus, capabilities=[["gpu"]])]


def _num_files() -> int:
    """Return the limit of open files; the engine refuses more than its own hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _NUM_FILES if hard == resource.RLIM_INFINITY else min(_NUM_FILES, hard)


def _peak_gib(init_pid: int) -> float | None:
    """Return the peak resident memory of the program under a container's init, GiB.

    None where it cannot be seen: it has ended, or the engine is on another machine.
    """
    try:
        child = Path(f"/proc/{init_pid}/task/{init_pid}/children").read_text(encoding="ascii")
        status = Path(f"/proc/{child.split()[0]}/status").read_text(encoding="utf-8")
    except (OSError, IndexError):
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(line.split()[1]) / _KIB_PER_GIB if line else None
