"""A cluster as a table: each node, its link to this one, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.cluster import probe
from harness.cluster.fake import FakeCluster
from harness.cluster.link import gbit_per_s, listening
from harness.cluster.parts import Node
from harness.cluster.survey import node_rows
from harness.records import to_json
from harness.runtime.host import GB10, Gpu, probe_host

SPARK = replace(
    probe_host(),
    gpus=(
        Gpu(
            name=GB10,
            memory_gib=None,
            compute_capability="12.1",
            power_limit_w=None,
            absent={"memory_gib": "unified", "power_limit_w": "not supported"},
        ),
    ),
    absent={name: why for name, why in probe_host().absent.items() if name != "gpus"},
)


def cluster(link: float | Exception, **facts: Any) -> FakeCluster:
    def answer(node: Node, function: Callable[..., Any], _: tuple[Any, ...]) -> Any:
        if function is gbit_per_s:
            return link
        said = {**probe.probe(), "host": to_json(SPARK)}
        return {**said, **facts} if node.name == "b" else said

    return FakeCluster(["a", "b"], {"CPU": 20.0, "GPU": 1.0, "memory": 96 * 2.0**30}, answer=answer)


@pytest.mark.parametrize(("speed", "is_slow"), [(9.4, True), (79.9, True), (168.0, False)])
def test_two_sparks_on_a_slow_link_are_told(speed: float, is_slow: bool) -> None:  # noqa: FBT001 - expected
    first, second = node_rows(cluster(speed))
    assert (first.link_gbit_s, second.link_gbit_s) == (None, speed)
    assert first.gpu == GB10
    assert not first.problem
    assert second.problem == (f"{speed:.1f} Gb/s to a: below ConnectX-7's 80" if is_slow else "")
    assert bool(second.remedy) == is_slow


def test_a_node_that_cannot_be_reached_from_another_is_told() -> None:
    _, second = node_rows(cluster(ConnectionRefusedError("Connection refused")))
    assert second.problem == "its link to a cannot be measured: Connection refused"
    assert second.link_gbit_s is None


def test_a_node_of_another_source_is_told_before_its_link() -> None:
    _, second = node_rows(cluster(168.0, source="0"))
    assert "another source" in second.problem
    assert second.gpu == ""


def test_a_link_is_measured_by_what_arrives() -> None:
    with listening("127.0.0.1") as port:
        assert gbit_per_s("127.0.0.1", port) > 0.01
    with pytest.raises(OSError, match="refused"):
        gbit_per_s("127.0.0.1", port)
