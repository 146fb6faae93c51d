"""What cannot be reached, or is another Ray, is refused in a line with the next command."""

from __future__ import annotations

import socket
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from harness.cluster.connection import RayCluster
from harness.errors import HostError

VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.59.0
    Python: 3.12.3
This process was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


class AuthenticationError(Exception):
    """As Ray's."""


def pretend_ray(monkeypatch: pytest.MonkeyPatch, init: Callable[..., None]) -> None:
    ray = types.ModuleType("ray")
    exceptions = types.SimpleNamespace(AuthenticationError=AuthenticationError)
    vars(ray).update(init=init, exceptions=exceptions, cloudpickle=types.ModuleType("cloudpickle"))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.cloudpickle", vars(ray)["cloudpickle"])


def raising(error: Exception) -> Callable[..., None]:
    def init(**_: Any) -> None:
        raise error

    return init


def refusal(address: str) -> str:
    with pytest.raises(HostError) as refused, RayCluster(address):
        pass
    return str(refused.value)


def test_without_ray_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refusal("auto") == (
        "--runtime ray needs Ray, which this Python does not have\n"
        "  next: nox -s cluster  # makes .nox/env-ray"
    )


def test_another_ray_or_python_is_named_with_both_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_ray(monkeypatch, raising(RuntimeError(VERSIONS)))
    found = refusal("auto")
    assert found.startswith("the cluster at auto: Version mismatch: The cluster was started with: ")
    assert "Ray: 2.59.0 Python: 3.12.3 This process" in found
    assert "next: install the same Python and requirements/ray.txt on every node" in found
    assert found.count("\n") == 1


def test_no_cluster_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ConnectionError("Could not find any running Ray instance.\nPlease specify one.")
    pretend_ray(monkeypatch, raising(error))
    found = refusal("auto")
    assert found.startswith("no Ray cluster answers at auto: Could not find any running Ray")
    assert "next: ray start --head" in found


def test_a_cluster_with_another_token(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ray(monkeypatch, raising(AuthenticationError("InvalidAuthToken")))
    assert refusal("auto").startswith("the cluster at auto wants a token that is not ours")


@pytest.mark.parametrize("address", ["", "nowhere", "127.0.0.1:0", "127.0.0.1:99999", "[::1"])
def test_what_is_no_address_is_refused_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_ray(monkeypatch, raising(AssertionError("it is asked all the same")))
    assert refusal(address).startswith(f"no Ray cluster answers at {address}: ")


def test_a_port_where_nobody_listens_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ray(monkeypatch, raising(AssertionError("it is asked all the same")))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    assert "Connection refused" in refusal(f"127.0.0.1:{port}")
