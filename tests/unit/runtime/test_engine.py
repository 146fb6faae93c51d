"""What Docker's client says, word for word as captured, and what we make of it."""

from __future__ import annotations

import pytest

from harness.installed import to_upgrade
from harness.runtime.engine import host_error, meaning

ABORTED = "Error while fetching server API version: ('Connection aborted.', {})"
CREATE = "500 Server Error for http+docker://localhost/v1.41/containers/create: "

CAPTURED = [
    (
        ABORTED.format("FileNotFoundError(2, 'No such file or directory')"),
        "no Docker engine at unix:///var/run/docker.sock",
        "sudo systemctl start docker",
    ),
    (
        ABORTED.format("ConnectionRefusedError(111, 'Connection refused')"),
        "the socket unix:///var/run/docker.sock is left over from a Docker engine that is gone",
        "sudo systemctl restart docker",
    ),
    (
        ABORTED.format("PermissionError(13, 'Permission denied')"),
        "this user may not use the Docker engine at unix:///var/run/docker.sock",
        "sudo usermod -aG docker",
    ),
    (
        "UnixHTTPConnectionPool(host='localhost', port=None): Read timed out. (read timeout=60)",
        "the Docker engine at unix:///var/run/docker.sock did not answer within 60 s",
        "sudo systemctl restart docker",
    ),
    (
        "('Connection broken: IncompleteRead(0 bytes read)', 'Response ended prematurely')",
        "the Docker engine at unix:///var/run/docker.sock went away",
        "sudo systemctl status docker",
    ),
    (
        (
            '400 Client Error: Bad Request ("client version 1.50 is too new. '
            'Maximum supported API version is 1.41")'
        ),
        "the Docker engine speaks API 1.41, and 1.50 is asked for",
        "unset DOCKER_API_VERSION",
    ),
    (
        (
            '400 Client Error: Bad Request ("client version 1.22 is too old. Minimum supported API '
            'version is 1.44, please upgrade your client to a newer version")'
        ),
        "the Docker engine speaks API 1.44 and later; this client speaks 1.22",
        to_upgrade("docker"),
    ),
    (
        '404 Client Error: Not Found ("No such image: sha256:00")',
        "image cpu is not in the Docker engine",
        "harness build cpu",
    ),
    (
        (
            'Conflict. The container name "/harness-1f" is already in use by container "c7c9". You '
            "have to remove (or rename) that container to be able to reuse that name."
        ),
        "container harness-1f exists already: another harness executes this run",
        "docker logs harness-1f",
    ),
    (
        CREATE + 'could not select device driver "" with capabilities: [[gpu]]',
        "the Docker engine cannot give a container an NVIDIA GPU",
        "sudo nvidia-ctk runtime configure",
    ),
    (
        "400 Client Error: Bad Request (Unknown runtime specified nvidia)",
        "the Docker engine cannot give a container an NVIDIA GPU",
        "sudo nvidia-ctk runtime configure",
    ),
    (
        (
            "error gathering device information while adding custom device "
            '"/dev/nvidia0": no such file or directory'
        ),
        "this machine has no /dev/nvidia0",
        "nvidia-smi",
    ),
    (
        "write <data-root>/overlay2/3f-init/link: no space left on device",
        "the disk of the Docker engine is full",
        "docker system df",
    ),
    (
        "manifest for nvcr.io/nvidia/nemo:99.99 not found: manifest unknown: manifest unknown",
        "the registry has no image cpu",
        "correct the tag",
    ),
    (
        "failed to resolve: unexpected status 403 Forbidden",
        "the registry refuses image cpu: it is private, or has another name",
        "docker login",
    ),
    (  # Docker Hub, of a name that it does not have
        (
            "pull access denied for harness/cpu, repository does not exist or may require 'docker "
            "login': denied: requested access to the resource is denied"
        ),
        "the registry refuses image cpu: it is private, or has another name",
        "docker login",
    ),
    (
        (
            "toomanyrequests: You have reached your unauthenticated pull rate limit. "
            "https://www.docker.com/increase-rate-limit"
        ),
        "the registry allows no more pulls of image cpu for now",
        "docker login",
    ),
    (
        "no matching manifest for linux/arm64/v8 in the manifest list entries",
        "image cpu has no build for linux/arm64/v8, which this machine is",
        "docker manifest inspect cpu",
    ),
    (
        "exec /usr/bin/python3: exec format error",
        "image cpu is of another processor than this machine's",
        "docker manifest inspect cpu",
    ),
    (  # a toolkit that picks CDI where the engine asks for its hook
        (
            CREATE
            + "nvidia-container-runtime: invoking the NVIDIA Container Runtime Hook directly "
            "(e.g. specifying the docker --gpus flag) is not supported. Please use the NVIDIA "
            "Container Runtime (e.g. specify the --runtime=nvidia flag) instead"
        ),
        "NVIDIA's container toolkit gives GPUs by CDI alone, and Docker asks its hook",
        "sudo nvidia-ctk config --in-place",
    ),
    (
        CREATE + "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all",
        "the Docker engine has no CDI description of this machine's GPU",
        "sudo nvidia-ctk cdi generate",
    ),
    (
        (
            "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please "
            "update your driver to a newer version, or use an earlier cuda container"
        ),
        "image cpu needs cuda>=13.0, and the driver of this machine is older",
        "nvidia-smi",
    ),
    (
        "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
        (
            "the NVIDIA container toolkit cannot give a container a GPU: initialization error: "
            "nvml error: driver not loaded: unknown"
        ),
        "nvidia-smi",
    ),
    (
        'Get "https://images.example/v2/": dial tcp: lookup images.example: no such host',
        "the registry of image cpu cannot be reached",
        "docker pull cpu",
    ),
]


@pytest.mark.parametrize(("text", "message", "remedy"), CAPTURED)
def test_each_complaint(
    text: str, message: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    error = host_error(text, "cpu")
    assert str(error).partition("\n")[0] == message
    assert error.remedy.startswith(remedy)


def test_the_engine_is_named_where_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://spark:2375")
    assert "tcp://spark:2375" in str(host_error("FileNotFoundError(2, 'No such file')"))


def test_an_unknown_complaint_is_passed_on_whole() -> None:
    error = host_error("something new")
    assert str(error) == "Docker: something new\n  next: docker info"
    assert meaning("something new", "cpu") is None


NGC = "nvcr.io/nvidia/nemo:26.04.00"


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (
            "failed to resolve: unexpected status 403 Forbidden",
            "refuses image nvcr.io/nvidia/nemo:26.04.00: this account has not accepted its licence",
            "accept the terms on the image's page",
        ),
        (
            "unauthorized: <html><title>401 Authorization Required</title>",
            "nvcr.io does not know who asks for image nvcr.io/nvidia/nemo:26.04.00",
            "docker login nvcr.io --username",
        ),
        ("toomanyrequests: slow down", "allows no more pulls", "docker login"),
    ],
)
def test_nvidias_registry_is_told_from_docker_hub(text: str, message: str, remedy: str) -> None:
    error = host_error(text, NGC)
    assert message in str(error)
    assert error.remedy.startswith(remedy)


def test_the_login_is_of_the_images_registry() -> None:
    assert host_error("denied", "registry.example/a/b:1").remedy == "docker login registry.example"
    assert host_error("denied", "vllm/vllm-openai:v0.20.0").remedy == "docker login"
