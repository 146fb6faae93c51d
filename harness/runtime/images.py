"""Building images from their recipes, and looking up what a tag or a built image is by content.

An image is used by digest only. Its recipe is a folder: a Dockerfile, and where the build needs
files that are not in the repository a program ``prepare`` that makes them. ``prepare`` runs on this
machine, with its package sources and certificates; the build itself has no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HostError, InputError, unknown
from harness.records import ImageRef, record
from harness.runtime import engine
from harness.scenario.images import (
    Lock,
    LockedImage,
    read_lock,
    this_platform,
    with_base_digest,
    with_built,
    write_lock,
)

if TYPE_CHECKING:
    from docker import DockerClient

_RECIPE_LABEL = "harness.recipe"
_BUILD_TIMEOUT_S = 3600  # a base image of 70 GB over a slow line
_TAIL_LINES = 30

Listener = Callable[[str], None]


def built(containers: Path, name: str) -> ImageRef:
    """Return the image that is locked for this machine, if its engine has it.

    Raises:
        InputError: the lock is wrong, or has no such image.
        HostError: there is no engine, or the image is not locked or not in it; says what to type.
    """
    locked, on = _lock_with(containers, name)[name], this_platform()
    if on not in locked.built:
        message = f"image {name} has not been built for {on}"
        raise HostError(message, f"harness build {name}")
    image = ImageRef(name=name, digest=locked.built[on].digest)
    with engine.connected() as client, engine.explained(image.name):
        client.images.get(image.digest)
    return image


def build(containers: Path, name: str, *, accept: bool, listen: Listener) -> ImageRef:
    """Build an image for this machine, write it into the lock, and return it.

    An image that the engine already has from the same recipe is not built again.

    Args:
        containers: the folder of recipes and lock.
        name: the image's name.
        accept: whether another image may take the place of the locked one.
        listen: is told every line of progress.

    Raises:
        InputError: the lock is wrong, or has no such image.
        HostError: it cannot be built here, or its digest is not the locked one.
    """
    lock = _lock_with(containers, name)
    image = lock[name]
    recipe = _recipe_digest(containers / name, image.base_reference)
    with engine.connected() as client:
        digest = _up_to_date(client, image, recipe) or _build(
            client, image, containers / name, recipe, listen
        )
    lock = with_built(lock, name, this_platform(), digest, accept=accept)
    write_lock(containers, lock)
    return ImageRef(name=name, digest=digest)


def resolve(containers: Path, name: str, *, accept: bool) -> str | None:
    """Ask the registry what the base tag of an image is now, and write that into the lock.

    Returns:
        The digest; None for an image that starts from no other.

    Raises:
        InputError: the lock is wrong, or has no such image.
        HostError: the registry cannot be asked, or the tag has moved since it was locked.
    """
    lock = _lock_with(containers, name)
    base = lock[name].base
    if base is None:
        return None
    with engine.connected() as client, engine.explained(base):
        digest = str(client.images.get_registry_data(base).id)
    write_lock(containers, with_base_digest(lock, name, digest, accept=accept))
    return digest


def _lock_with(containers: Path, name: str) -> Lock:
    lock = read_lock(containers)
    if name not in lock:
        raise InputError([unknown("image", name, lock)])
    return lock


def _recipe_digest(folder: Path, base: str | None) -> str:
    """Return the digest of a recipe: its files, their names and its base."""
    content = hashlib.sha256(f"{base}\n".encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content.update(f"{path.relative_to(folder)}\n{path.stat().st_size}\n".encode())
        content.update(path.read_bytes())
    return content.hexdigest()


def _up_to_date(client: DockerClient, image: LockedImage, recipe: str) -> str | None:
    """Return the image that the engine has of this recipe, the locked one before any other."""
    with engine.explained(image.name):
        found = client.images.list(filters={"label": f"{_RECIPE_LABEL}={recipe}"})
    digests = [str(each.id) for each in found]
    locked = image.built.get(this_platform())
    if locked is not None and locked.digest in digests:
        return locked.digest
    return digests[0] if digests else None


@record
class _Order:
    """A build, ready to be given to a builder.

    Attributes:
        context: the folder with the Dockerfile and all it copies.
        recipe: what the image is labelled with, see `_recipe_digest`.
    """

    image: LockedImage
    context: Path
    recipe: str

    @property
    def tag(self) -> str:
        """The name that people find the image under; runs use its digest."""
        return f"harness/{self.image.name}"

    @property
    def arguments(self) -> dict[str, str]:
        """What the Dockerfile is told."""
        base = self.image.base_reference
        return {"BASE": base} if base else {}


def _build(
    client: DockerClient, image: LockedImage, folder: Path, recipe: str, listen: Listener
) -> str:
    """Build and tag the image; return its digest."""
    with _context(folder, listen) as context:
        order = _Order(image=image, context=context, recipe=recipe)
        builder = _buildkit_client()
        if builder is None:
            listen("building with the engine's own builder")
            return _build_with_engine(client, order, listen)
        listen(f"building with {builder}")
        return _build_with_buildkit(builder, order, listen)


@contextmanager
def _context(folder: Path, listen: Listener) -> Iterator[Path]:
    """Give a copy of the recipe's folder with what its ``prepare`` adds."""
    with tempfile.TemporaryDirectory(prefix="harness-build-") as scratch:
        context = Path(scratch) / folder.name
        shutil.copytree(folder, context)
        if (context / "prepare").is_file():
            listen(f"preparing {folder.name}")
            environment = {**os.environ, "PYTHON": sys.executable}
            _follow(["./prepare"], context, environment, listen)
        yield context


def _buildkit_client() -> str | None:
    """Return a Docker command line that can drive BuildKit: it has buildx, or precedes buildx."""
    for folder in os.get_exec_path():
        client = Path(folder) / "docker"
        if client.is_file() and (_answers(client, "buildx", "version") or _is_before_23(client)):
            return str(client)
    return None


def _answers(client: Path, *arguments: str) -> bool:
    return subprocess.run([client, *arguments], capture_output=True, check=False).returncode == 0


def _is_before_23(client: Path) -> bool:
    """Return whether BuildKit is built into this client; from version 23 it is a plugin."""
    output = subprocess.run([client, "--version"], capture_output=True, text=True, check=False)
    major = output.stdout.removeprefix("Docker version ").partition(".")[0]
    return major.isdigit() and int(major) < 23  # noqa: PLR2004 - said above


def _build_with_buildkit(builder: str, order: _Order, listen: Listener) -> str:
    digest_file = order.context.parent / "digest"
    command = [builder, "build", "--progress=plain", "--network=none", f"--iidfile={digest_file}"]
    command += [f"--tag={order.tag}", f"--label={_RECIPE_LABEL}={order.recipe}"]
    command += [f"--build-arg={name}={value}" for name, value in order.arguments.items()]
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    _follow([*command, "."], order.context, environment, listen, order.image.base)
    return digest_file.read_text(encoding="ascii").strip()


def _build_with_engine(client: DockerClient, order: _Order, listen: Listener) -> str:
    with engine.explained(order.image.base or order.image.name):
        made, log = client.images.build(
            path=str(order.context),
            tag=order.tag,
            buildargs=order.arguments,
            labels={_RECIPE_LABEL: order.recipe},
            network_mode="none",
            rm=True,
            timeout=_BUILD_TIMEOUT_S,
        )
    for entry in log:
        if isinstance(entry, dict) and (line := str(entry.get("stream", "")).strip()):
            listen(line)
    return str(made.id)


def _follow(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    listen: Listener,
    what: str | None = None,
) -> None:
    """Run a program, passing its output on line by line.

    Raises:
        HostError: it failed; holds its last lines, or what they mean.
    """
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            listen(line.rstrip())
    if process.returncode == 0:
        return
    tail = "\n".join(lines[-_TAIL_LINES:])
    if what is not None and (meant := engine.meaning(tail, what)):
        raise meant
    message = f"{Path(command[0]).name} ended with exit code {process.returncode}:\n{tail}"
    raise HostError(message, "fix this, then repeat the command")
