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


class NoImageError(HostError):
    """The engine does not have an image."""


@record
class _Complaint:
    """What the client's exceptions say, what that means, and what to type.

    Attributes:
        text: a regular expression; its groups may be named in the other two.
        means: our sentence; ``{host}`` is the engine's address, ``{what}`` the requested object.
        remedy: the next command; ``{newer}`` is the one that upgrades the client, ``{login}`` the
            one that signs in at the image's registry.
        error: what is raised.
    """

    text: str
    means: str
    remedy: str
    error: type[HostError] = HostError


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
        text=r"Read timed out\. \(read timeout=(?P<waited_s>\d+)",
        means="the Docker engine at {host} did not answer within {waited_s} s",
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
        error=NoImageError,
    ),
    _Complaint(
        text=r'The container name "/(?P<name>[^"]+)" is already in use',
        means="container {name} exists already: another harness executes this run",
        remedy="docker logs {name}; or, if it is abandoned, docker rm -f {name}",
    ),
    _Complaint(
        text=r"invoking the NVIDIA Container Runtime Hook directly",
        means="NVIDIA's container toolkit gives GPUs by CDI alone, and Docker asks its hook",
        remedy="sudo nvidia-ctk config --in-place --set nvidia-container-runtime.mode=legacy",
    ),
    _Complaint(
        text=r"unresolvable CDI devices?|CDI device injection failed",
        means="the Docker engine has no CDI description of this machine's GPU",
        remedy="sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml "
        "&& sudo systemctl restart docker",
    ),
    _Complaint(
        text=r"unsatisfied condition: (?P<wants>cuda\s*>=\s*[\d.]+)",
        means="image {what} needs {wants}, and the driver of this machine is older",
        remedy="nvidia-smi  # names driver and CUDA; on a DGX Spark, update DGX OS (driver 580)",
    ),
    _Complaint(
        text=r"could not select device driver|unknown (?:or invalid )?runtime (?:name|specified)"
        r"|Unknown runtime specified",
        means="the Docker engine cannot give a container an NVIDIA GPU",
        remedy="sudo nvidia-ctk runtime configure --runtime=docker "
        "&& sudo systemctl restart docker",
    ),
    _Complaint(
        text=r"nvidia-container-cli: (?P<why>[^\n\"\\]+)",
        means="the NVIDIA container toolkit cannot give a container a GPU: {why}",
        remedy="nvidia-smi  # where it works, sudo systemctl restart docker",
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
        text=r"no matching manifest for (?P<platform>[\w/]+)",
        means="image {what} has no build for {platform}, which this machine is",
        remedy="docker manifest inspect {what}  # names its platforms",
    ),
    _Complaint(
        text=r"exec format error",
        means="image {what} is of another processor than this machine's",
        remedy="docker manifest inspect {what}  # names its platforms",
    ),
    _Complaint(
        text=r"manifest unknown|manifest for \S+ not found",
        means="the registry has no image {what}",
        remedy="correct the tag in containers/images.lock.yaml",
    ),
    _Complaint(
        text=r"toomanyrequests|429 Too Many Requests|pull rate limit",
        means="the registry allows no more pulls of image {what} for now",
        remedy="docker login  # a free account of Docker Hub may pull more; or wait six hours",
    ),
    _Complaint(
        text=r"nvcr\.io.*(?:unauthorized|authentication required|\b401\b)"
        r"|(?:unauthorized|authentication required|\b401\b).*nvcr\.io",
        means="nvcr.io does not know who asks for image {what}",
        remedy="docker login nvcr.io --username '$oauthtoken'  # the password is an NGC key",
    ),
    _Complaint(
        text=r"nvcr\.io.*(?:denied|[Ff]orbidden|\b403\b|\b402\b|license)"
        r"|(?:denied|[Ff]orbidden|\b403\b|\b402\b|license).*nvcr\.io",
        means="nvcr.io refuses image {what}: this account has not accepted its licence",
        remedy="accept the terms on the image's page of catalog.ngc.nvidia.com, signed in with the "
        "account of `docker login nvcr.io`",
    ),
    _Complaint(
        text=r"pull access denied|requested access to the resource is denied"
        r"|unauthorized|denied|[Ff]orbidden|\b40[13]\b",
        means="the registry refuses image {what}: it is private, or has another name",
        remedy="{login}",
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
        if match := re.search(complaint.text, f"{what} {text}", re.DOTALL):
            newer = to_upgrade("docker")
            registry = what.partition("/")[0] if "." in what.partition("/")[0] else ""
            login = f"docker login {registry}".rstrip()
            named = match.groupdict()
            facts = {"host": host(), "what": what, "newer": newer, "login": login, **named}
            message, remedy = (text.format(**facts) for text in (complaint.means, complaint.remedy))
            return complaint.error(message, remedy)
    return None


def host() -> str:
    """Return the engine's address."""
    return os.environ.get("DOCKER_HOST", _DEFAULT_SOCKET)


@contextmanager
def connected(timeout_s: float = TIMEOUT_S) -> Iterator[docker.DockerClient]:
    """Give a client that has reached the engine.

    Args:
        timeout_s: how long the engine may take to answer a request.

    Raises:
        HostError: there is no engine, or it does not answer.
    """
    import docker  # noqa: PLC0415 - planning must not load the Docker client

    with explained():
        client = docker.from_env(timeout=int(timeout_s))
    try:
        with explained():
            client.ping()
        yield client
    finally:
        client.close()
