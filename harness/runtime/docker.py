"""Runs in a container: the locked image, nothing writable but the run's folder, no network.

The attach connection is the container's standard input. When this process dies, however it dies,
the engine sees the connection close and closes that input; the workload, which reads it, ends its
process group, and with it the container. Containers whose program does not read it are found by
their labels (`DockerRuntime.reap`). So containers are never removed by the engine itself, which
would also take the exit code and the cause with them.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.artefacts import ArtefactStore
from harness.errors import HostError, first_line
from harness.records import RunOutcome, RunSpec, Status, Usage
from harness.runtime import engine
from harness.runtime.base import (
    STDERR_FILE,
    STDOUT_FILE,
    Ending,
    Launch,
    Leftover,
    RunStopReason,
    judge,
)
from harness.runtime.container import (
    DEADLINE_LABEL,
    OWNER_LABEL,
    RUN_LABEL,
    compiled_of,
    container_options,
    image_of,
)
from harness.runtime.frames import Frames
from harness.runtime.host import probe_host
from harness.runtime.logs import BoundedLog
from harness.runtime.memory import Breach, MemoryWatchdog, floor_gib
from harness.runtime.owner import parse, this_process
from harness.runtime.sandbox_server import sandbox_problem, serve_sandboxes
from harness.runtime.watch import RunWatch, host_problems

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_NOBODY = 65534  # what root runs as in a container
_KIB_PER_GIB = 2**20
_CHUNK_BYTES = 64 * 2**10
_GONE = frozenset({404, 409})  # the engine has removed it, or is about to: sandboxes end themselves
_INIT_FAILED = "[FATAL tini"  # the container's init found no program to start


class DockerRuntime:
    """Runs a workload in a container of the image that its spec names."""

    name = "docker"
    is_here = True

    def __enter__(self) -> Self:
        self._floor_gib = floor_gib(probe_host())
        self._stack = ExitStack()
        self._client = self._stack.enter_context(engine.connected())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def problems(self, spec: RunSpec) -> Iterator[HostError]:
        """Yield everything that keeps this machine from executing `spec`; starts nothing."""
        yield from host_problems(spec.limits, probe_host())
        if problem := sandbox_problem(spec.sandbox):
            yield problem
        if spec.image is None:
            yield HostError("the run names no image", "harness run --runtime local")
            return
        try:
            with engine.connected() as client, engine.explained(spec.image.name):
                client.images.get(spec.image.digest)
        except HostError as error:
            yield error

    def run(self, launch: Launch) -> RunOutcome:
        """Execute one run to its end or until a limit stops it."""
        began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        with (
            BoundedLog(launch.run_dir / STDOUT_FILE) as stdout,
            BoundedLog(launch.run_dir / STDERR_FILE) as stderr,
            _lent(launch) as user,
            serve_sandboxes(launch.spec) as sandboxes,
            _Container(self._client, launch, user, sandboxes) as container,
        ):
            try:
                ending = container.to_its_end(self._floor_gib, stdout, stderr)
                status, cause = judge(ending, launch.spec, stderr.tail())
                exit_code = ending.exit_code
            except HostError as error:  # the engine or the image; the program is not to blame
                cause = first_line(error)
                status, exit_code = Status.HOST_FAILED, None
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
                _remove(container)
        return tuple(
            Leftover(what=f"container {container.name}", run_id=container.labels[RUN_LABEL])
            for container in abandoned
        )


def _remove(container: Container) -> None:
    import docker.errors  # noqa: PLC0415 - planning must not load the Docker client

    try:
        container.remove(force=True, v=True)
    except docker.errors.APIError as error:
        if error.status_code not in _GONE:
            raise


def _is_abandoned(container: Container) -> bool:
    """Return whether no harness waits for this container any more.

    An owner of this boot and pid namespace can be looked up. Of any other, a container that has
    ended is waited for by nobody after its deadline, and none may run past it.
    """
    owner = parse(container.labels[OWNER_LABEL])
    if owner is not None and owner.is_here:
        return owner.is_dead
    return time.time() > float(container.labels[DEADLINE_LABEL])


@contextmanager
def _lent(launch: Launch) -> Iterator[str]:
    """Return the container's user, who owns the run's folder meanwhile; never root.

    The store of finished steps is that user's from now on, and so is what compilers keep; what is
    in them stays its makers'.
    """
    compiled = compiled_of(launch)
    if compiled is not None:
        compiled.mkdir(parents=True, exist_ok=True)
    if os.getuid() != 0:
        yield f"{os.getuid()}:{os.getgid()}"
        return
    run_dir = launch.run_dir
    if launch.artefacts_dir is not None:
        ArtefactStore(launch.artefacts_dir).make_folder(_NOBODY)
    if compiled is not None:
        os.chown(compiled, _NOBODY, -1)
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

    def __init__(
        self, client: DockerClient, launch: Launch, user: str, sandboxes: Path | None
    ) -> None:
        self._client = client
        self._image = image_of(launch.spec)
        self._launch = launch
        self._user = user
        self._sandboxes = sandboxes
        self.peak_gib: float | None = None
        self._attachment = ExitStack()

    def __enter__(self) -> Self:
        options = container_options(self._launch, this_process(), self._user, self._sandboxes)
        with engine.explained(self._image.name):
            self._container = self._client.containers.create(**options)
            try:
                streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                connection = self._client.api.attach_socket(str(self._container.id), params=streams)
                self._descriptor = connection.fileno()
                # only the response, which the client hides in there, closes the connection
                self._attachment.callback(connection._response.close)  # noqa: SLF001
                self._container.start()
                self._container.reload()
            except BaseException:
                self._remove()
                raise
        return self

    def __exit__(self, *_: object) -> None:
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

    def _follow(self, stdout: BoundedLog, stderr: BoundedLog) -> RunStopReason | None:
        """Keep the logs until the program ends; return why it must be stopped, if it must."""
        frames = Frames({Frames.STDOUT: stdout.write, Frames.STDERR: stderr.write})
        watch = RunWatch(
            self._launch.spec.limits,
            self._launch.run_dir,
            artefacts_dir=self._launch.artefacts_dir,
            each_look=self._look,
            stop=self._launch.stop,
        )
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while True:
                if selector.select(watch.wait_s()):
                    chunk = self._read()
                    if not chunk:
                        return None
                    frames.feed(chunk)
                    watch.alive()
                if stop := watch.reason():
                    return stop

    def _finish(self, stop: RunStopReason | None, breach: Breach | None) -> Ending:
        """End the program if it must be stopped, and say how it ended."""
        with engine.explained(self._image.name):
            if stop is not None:
                self._kill()
            code = self._container.wait(timeout=engine.TIMEOUT_S)["StatusCode"]
            self._container.reload()
        killed = bool(self._container.attrs["State"]["OOMKilled"])
        return Ending(exit_code=code, stop=stop, breach=breach, killed_for_memory=killed)

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK_BYTES)
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
        # what cannot be removed now is found by `reap`
        with self._attachment, suppress(HostError), engine.explained():
            self._container.remove(force=True, v=True)


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
