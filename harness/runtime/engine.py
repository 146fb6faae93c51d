"""The Docker engine: connect to it, and translate its errors.

Its client raises three unrelated families of exceptions; only their text has the reason.
The texts below were captured from engines 20.10 and newer; see tests/unit/runtime/test_engine.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import HostError
from harness.installed import to_upgrade
from harness.records import record

if TYPE_CHECKING:
    import docker

_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
TIMEOUT_S = 60.0  # removing a large container on a busy disk takes seconds, never a minute


@record
class _Complaint:
    """What the client's exceptions say, what that means, and what to type.

    Attributes:
        text: a regular expression; its groups may be named in the other two.
        means: our sentence; ``{host}`` is the engine's address, ``{what}`` the requested object.
        remedy: the next command; ``{newer}`` is the one that upgrades the client.
    """

    text: str
    means: str
    remedy: str


_COMPLAINTS = (
    _Complaint(
        text=r"FileNotFoundError\(2,",
        means="no Docker engine at {host}",
        remedy="sudo systemctl start docker (or see `docker context ls`)",
    ),
    _Complaint(
        text=r"ConnectionRefusedError\(111,",
        means="the socket {host} is left over from a Docker engine that is gone",
        remedy="sudo systemctl restart docker",
    ),
    _Complaint(
        text=r"PermissionError\(13,",
        means="this user may not use the Docker engine at {host}",
        remedy="sudo usermod -aG docker $USER, then log in again",
    ),
    _Complaint(
        text=r"Read timed out",
        means=f"the Docker engine at {{host}} did not answer within {TIMEOUT_S:g} s",
        remedy="sudo systemctl restart docker",
    ),
    _Complaint(
        text=r"Response ended prematurely|RemoteDisconnected|Connection reset|Broken ?pipe",
        means="the Docker engine at {host} went away",
        remedy="sudo systemctl status docker",
    ),
    _Complaint(
        text=r"client version (?P<ours>\S+) is too new\. .* API version is (?P<its>[\d.]*\d)",
        means="the Docker engine speaks API {its}, and {ours} is asked for",
        remedy="unset DOCKER_API_VERSION",
    ),
    _Complaint(
        text=r"client version (?P<ours>\S+) is too old\. .* API version is (?P<its>[\d.]*\d)",
        means="the Docker engine speaks API {its} and later; this client speaks {ours}",
        remedy="{newer}",
    ),
    _Complaint(
        text=r"No such image",
        means="image {what} is not in the Docker engine",
        remedy="harness build {what}",
    ),
    _Complaint(
        text=r'The container name "/(?P<name>[^"]+)" is already in use',
        means="container {name} exists already: another harness executes this run",
        remedy="docker logs {name}; or, if it is abandoned, docker rm -f {name}",
    ),
    _Complaint(
        text=r"could not select device driver|Unknown runtime specified nvidia|unresolvable CDI",
        means="the Docker engine cannot give a container an NVIDIA GPU",
        remedy="sudo nvidia-ctk runtime configure && sudo systemctl restart docker",
    ),
    _Complaint(
        text=r"error gathering device information.*?(?P<device>/dev/nvidia\w*)",
        means="this machine has no {device}",
        remedy="nvidia-smi",
    ),
    _Complaint(
        text=r"no space left on device",
        means="the disk of the Docker engine is full",
        remedy="docker system df, then docker system prune",
    ),
    _Complaint(
        text=r"manifest unknown|manifest for \S+ not found",
        means="the registry has no image {what}",
        remedy="correct the tag in containers/images.lock.yaml",
    ),
    _Complaint(
        text=r"unauthorized|denied|forbidden|\b40[13]\b",
        means="the registry refuses image {what}",
        remedy="docker login nvcr.io, with the account that accepted the image's terms",
    ),
    _Complaint(
        text=r"no such host|dial tcp|TLS handshake|x509|CERTIFICATE_VERIFY_FAILED",
        means="the registry of image {what} cannot be reached",
        remedy="docker pull {what}",
    ),
)


@contextmanager
def explained(what: str = "") -> Iterator[None]:
    """Turn what Docker's client raises into `HostError`.

    Args:
        what: the image that is asked for, as a person would type it.
    """
    import docker.errors  # noqa: PLC0415 - planning must not load the Docker client
    import requests  # noqa: PLC0415 - its exceptions come through the client

    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise host_error(str(error), what) from error


def host_error(text: str, what: str = "") -> HostError:
    """Return the error for the message `text` of Docker's client."""
    return meaning(text, what) or HostError(f"Docker: {text}", "docker info")


def meaning(text: str, what: str) -> HostError | None:
    """Return the error for a known text of Docker; None for any other text."""
    for complaint in _COMPLAINTS:
        if match := re.search(complaint.text, text, re.DOTALL):
            newer = to_upgrade("docker")
            facts = {"host": host(), "what": what, "newer": newer, **match.groupdict()}
            return HostError(complaint.means.format(**facts), complaint.remedy.format(**facts))
    return None


def host() -> str:
    """Return the engine's address."""
    return os.environ.get("DOCKER_HOST", _DEFAULT_SOCKET)


@contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """Give a client that has reached the engine.

    Raises:
        HostError: there is no engine, or it does not answer.
    """
    import docker  # noqa: PLC0415 - planning must not load the Docker client

    with explained():
        client = docker.from_env(timeout=int(TIMEOUT_S))
    try:
        with explained():
            client.ping()
        yield client
    finally:
        client.close()
