"""Which runtime executes a profile here, and with which image."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HostError
from harness.records import ImageRef, Profile, record
from harness.runtime.base import Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.images import built
from harness.runtime.local import LocalRuntime


@record
class Choice:
    """A runtime, and the locked image it uses; None on the machine itself.

    Attributes:
        reason: why this one, in one clause; a plan shows it.
    """

    runtime: Runtime
    image: ImageRef | None
    reason: str


def choose(asked: str, profile: Profile, image: str | None, containers: Path) -> Choice:
    """Return the runtime for a profile.

    `asked` is ``local``, ``docker`` or ``auto``: a container where an engine answers and has the
    locked image; the machine itself otherwise, except that the article's own experiment (profile
    spark) is defined by its image and never silently runs without it.

    Raises:
        HostError: a container is needed and cannot be had; says what to type.
    """
    if asked == "local" or image is None:
        if asked == "docker":
            message = f"profile {profile} names no image"
            raise HostError(message, "harness run --runtime local")
        reason = "asked for" if asked == "local" else "the profile names no image"
        return Choice(runtime=LocalRuntime(), image=None, reason=reason)
    try:
        return _in_container(image, containers)
    except HostError as error:
        if asked == "docker" or profile is Profile.SPARK:
            raise
        reason = str(error).partition("\n")[0]
        return Choice(runtime=LocalRuntime(), image=None, reason=f"no container: {reason}")


def _in_container(image: str, containers: Path) -> Choice:
    locked = built(containers, image)
    return Choice(runtime=DockerRuntime(), image=locked, reason="the engine has the locked image")
