"""Which runtime executes a profile here, and with which image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.errors import HostError, first_line
from harness.records import ImageRef, Profile, record
from harness.runtime.base import Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.images import Listener, build, built, resolve
from harness.runtime.local import LocalRuntime
from harness.scenario.images import UNRESOLVED, read_lock


@record
class Choice:
    """A runtime, and the locked image it uses; None on the machine itself.

    Attributes:
        reason: why this one, in one clause; a plan shows it.
    """

    runtime: Runtime
    image: ImageRef | None
    reason: str


def choose(
    asked: str,
    profile: Profile,
    image: str | None,
    containers: Path,
    obtain: Callable[[str], ImageRef] | None = None,
) -> Choice:
    """Return the runtime for a profile.

    The article's own experiment (profile spark) is defined by its image and never silently runs
    without it. Any other profile uses its image where an engine has it, and the machine itself
    otherwise.

    Args:
        asked: ``local``, ``docker`` or ``auto``.
        profile: the profile to run.
        image: the image it names; None for none.
        containers: the folder of recipes and lock.
        obtain: gets an image that is needed and not there, e.g. with `made`; None decides only.

    Raises:
        HostError: a container is asked for and none can be had; says what to type.
    """
    if asked == "local" or image is None:
        if asked == "docker":
            message = f"profile {profile} names no image"
            raise HostError(message, "harness run --runtime local")
        reason = "asked for" if asked == "local" else "the profile names no image"
        return Choice(runtime=LocalRuntime(), image=None, reason=reason)
    try:
        there = built(containers, image)
        return Choice(runtime=DockerRuntime(), image=there, reason="the engine has it")
    except HostError as error:
        reason = first_line(error)
    if asked == "auto" and profile is not Profile.SPARK:
        return Choice(runtime=LocalRuntime(), image=None, reason=f"no container: {reason}")
    if obtain is None:
        wanted = ImageRef(name=image, digest=UNRESOLVED)
        return Choice(runtime=DockerRuntime(), image=wanted, reason=f"to be built: {reason}")
    return Choice(runtime=DockerRuntime(), image=obtain(image), reason="built just now")


def made(containers: Path, image: str, listen: Listener) -> ImageRef:
    """Resolve an image's base if it is unresolved, build the image, lock both digests, return it.

    Raises:
        HostError: it cannot be had, or is not what the lock names; says what to type.
    """
    locked = read_lock(containers)[image]
    if locked.base is not None and locked.base_digest is None:
        listen(f"looking {locked.base} up")
        resolve(containers, image, accept=False)
    return build(containers, image, accept=False, listen=listen)
