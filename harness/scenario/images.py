"""The lock of the container images: the base of each, and the digests of base and builds.

``containers/images.lock.yaml`` is written by ``harness build`` and read by everything that plans.
``unresolved`` marks a digest that has not been looked up yet; it is never accepted as one.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

from harness import atomic
from harness.errors import HostError, InputError, Problem, nearest
from harness.records import ImageRef, record
from harness.scenario.positions import Document, Key, read

LOCK_FILE = "images.lock.yaml"
SANDBOX_IMAGE = "sandbox"  # the image of sandboxes that are containers
UNRESOLVED = "unresolved"
PLATFORMS = ("linux/amd64", "linux/arm64")
_HEADER = """\
# The base of each container image, and the digests of base and builds; see CONTRIBUTING.md.
# Written by `harness build`: do not edit digests by hand.
#   base         the tag that its Dockerfile starts from; null where it is made from packages
#   base_digest  what that tag was when it was looked up (`harness build --resolve`)
#   built        platform -> the image that was built and used, by its content
"""
_TAGGED = re.compile(r"[^\s@]+:(?!latest\Z)[\w][\w.-]*\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


@record
class Built:
    """An image as it was built: its digest, and the day (UTC)."""

    digest: str
    date: str


@record
class LockedImage:
    """One image of the lock.

    Attributes:
        base: the tag it starts from; None where it is made from packages alone.
        base_digest: the digest of that tag; None while unresolved.
        built: platform, e.g. ``linux/arm64`` -> digest of the image built for it.
    """

    name: str
    base: str | None
    base_digest: str | None = None
    built: Mapping[str, Built] = field(default_factory=dict)

    @property
    def base_reference(self) -> str | None:
        """The base as builders understand it, by digest if that is known."""
        return f"{self.base}@{self.base_digest}" if self.base_digest else self.base


Lock = Mapping[str, LockedImage]


def this_platform() -> str:
    """Return this machine's platform as container images name it.

    Raises:
        HostError: no image is made for such a machine.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        message = f"no container image is made for {machine} machines"
        raise HostError(message, "harness run --runtime local")
    return _MACHINES[machine]


def read_lock(containers: Path) -> Lock:
    """Read the lock in the folder `containers`; image name -> its lock entry.

    Raises:
        InputError: every mistake in it, and every image without a Dockerfile.
    """
    document = read(containers / LOCK_FILE)
    if problems := list(_problems(document)):
        raise InputError(problems)
    return {name: _image(name, entry) for name, entry in document.value.items()}


def locked_image(containers: Path, name: str) -> ImageRef | None:
    """Return the image that is locked for this machine; None where none has been built for it.

    Raises:
        InputError: the lock is wrong.
        HostError: no image is made for such a machine.
    """
    image = read_lock(containers).get(name)
    built = image.built.get(this_platform()) if image is not None else None
    return ImageRef(name=name, digest=built.digest) if built is not None else None


def write_lock(containers: Path, lock: Lock) -> None:
    """Replace the lock, whole or not at all.

    Raises:
        HostError: it cannot be written.
    """
    atomic.write_text(containers / LOCK_FILE, lock_text(lock))


def lock_text(lock: Lock) -> str:
    """Return the text of the lock file."""
    return _HEADER + "".join(f"\n{_entry_text(image)}" for _, image in sorted(lock.items()))


def with_base_digest(lock: Lock, name: str, digest: str, *, accept: bool) -> Lock:
    """Return the lock with what the base tag of an image was resolved to.

    Raises:
        HostError: the tag has moved since it was locked, and `accept` does not allow that.
    """
    image = lock[name]
    if image.base_digest not in (None, digest) and not accept:
        _refuse_change("the base of image", name, image.base_digest, digest)
    return {**lock, name: replace(image, base_digest=digest)}


def with_built(lock: Lock, name: str, on: str, digest: str, *, accept: bool) -> Lock:
    """Return the lock with the image that was built for the platform `on`.

    Raises:
        HostError: another image was locked for it, and `accept` does not allow that.
    """
    image, known = lock[name], lock[name].built.get(on)
    if known is not None and known.digest == digest:
        return lock
    if known is not None and not accept:
        _refuse_change("image", name, known.digest, digest)
    today = datetime.now(UTC).date().isoformat()
    built = {**image.built, on: Built(digest=digest, date=today)}
    return {**lock, name: replace(image, built=built)}


def _refuse_change(what: str, name: str, locked: str | None, found: str) -> NoReturn:
    message = (
        f"{what} {name} is not the one in {LOCK_FILE}\n  locked: {locked}\n  found:  {found}\n"
        "  results made with it are new runs, beside those made before"
    )
    raise HostError(message, f"harness build {name} --accept")


# --- reading --------------------------------------------------------------------------------------


def _image(name: str, entry: Mapping[str, Any]) -> LockedImage:
    digest = entry["base_digest"]
    return LockedImage(
        name=name,
        base=entry["base"],
        base_digest=None if digest == UNRESOLVED else digest,
        built={on: Built(**built) for on, built in entry["built"].items()},
    )


def _problems(document: Document) -> Iterator[Problem]:
    for name, entry in document.value.items():
        if not (document.path.parent / name / "Dockerfile").is_file():
            yield document.problem((name,), "image has no Dockerfile", allowed=f"{name}/Dockerfile")
        yield from _shape_problems(document, (name,), entry, _IMAGE_FIELDS)
        builds = entry.get("built") if isinstance(entry, dict) else None
        for on, built in builds.items() if isinstance(builds, dict) else ():
            at: Key = (name, "built", on)
            if on not in PLATFORMS:
                close = nearest(on, PLATFORMS)
                yield document.problem(
                    at, "unknown platform", allowed=", ".join(PLATFORMS), nearest=close
                )
            yield from _shape_problems(document, at, built, _BUILT_FIELDS)


def _shape_problems(
    document: Document, at: Key, given: object, fields: Mapping[str, Callable[[object], str]]
) -> Iterator[Problem]:
    if not isinstance(given, dict):
        yield document.problem(at, "wrong type", value=repr(given), allowed="a mapping")
        return
    for key in given:
        if key not in fields:
            yield document.problem(
                (*at, key), "unknown key", allowed=", ".join(fields), nearest=nearest(key, fields)
            )
    for key, wants in fields.items():
        if key not in given:
            yield document.problem((*at, key), "key is required")
        elif allowed := wants(given[key]):
            yield document.problem(
                (*at, key), "not an allowed value", value=repr(given[key]), allowed=allowed
            )


def _base_wants(value: object) -> str:
    fits = value is None or (isinstance(value, str) and _TAGGED.match(value))
    return "" if fits else "an image with its tag (never latest), or null"


def _base_digest_wants(value: object) -> str:
    fits = value in (None, UNRESOLVED) or not _digest_wants(value)
    return "" if fits else f"sha256: and 64 hex digits, {UNRESOLVED} or null"


def _digest_wants(value: object) -> str:
    fits = isinstance(value, str) and _DIGEST.match(value)
    return "" if fits else "sha256: and 64 hex digits"


def _date_wants(value: object) -> str:
    try:
        date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return "a day, e.g. 2026-01-31"
    return ""


def _built_wants(value: object) -> str:
    return "" if isinstance(value, dict) else "a mapping from platform to the digest built for it"


# key -> says what is allowed where the value is not
_IMAGE_FIELDS = {"base": _base_wants, "base_digest": _base_digest_wants, "built": _built_wants}
_BUILT_FIELDS = {"digest": _digest_wants, "date": _date_wants}


def _entry_text(image: LockedImage) -> str:
    digest = image.base_digest or (UNRESOLVED if image.base else "null")
    lines = [f"{image.name}:", f"  base: {image.base or 'null'}", f"  base_digest: {digest}"]
    if not image.built:
        return "\n".join([*lines, "  built: {}", ""])
    for on, built in sorted(image.built.items()):
        lines += [f"    {on}:", f"      digest: {built.digest}", f"      date: {built.date}"]
    return "\n".join([*lines[:3], "  built:", *lines[3:], ""])
