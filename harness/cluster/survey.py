"""The nodes of a cluster as a table: what each is, what keeps it from runs, and its link."""

from __future__ import annotations

from harness.cluster.alike import differences
from harness.cluster.connection import Cluster
from harness.cluster.link import CONNECTX_7_GBIT_S, gbit_per_s, listening
from harness.cluster.parts import Node, SurveyedNode
from harness.cluster.runtime import ClusterRuntime
from harness.errors import first_line
from harness.records import record
from harness.runtime.local import LocalRuntime

_BYTES_PER_GIB = 2**30


@record
class NodeRow:
    """One node.

    Attributes:
        cpus: that Ray may hand out; gpus and memory likewise.
        gpu: what the driver calls it.
        link_gbit_s: to the node that this process is at; None for that one, and where that
            cannot be reached.
        problem: what keeps it from runs, or holds them up; empty if nothing does.
        remedy: the next command to type.
    """

    name: str
    address: str
    cpus: float
    gpus: float
    memory_gib: float
    gpu: str
    driver: str
    python: str
    disk_free_gib: float | None
    link_gbit_s: float | None
    problem: str = ""
    remedy: str = ""


def node_rows(cluster: Cluster) -> tuple[NodeRow, ...]:
    """Connect to a cluster, look at every node, and measure its link to this one."""
    with ClusterRuntime(LocalRuntime(), cluster) as runtime:
        seen, here = runtime.seen, runtime.cluster.here()
        first = next(each for each in seen if each.node.id == here.id)
        return tuple(_looked_at(runtime.cluster, each, first) for each in seen)


def _looked_at(cluster: Cluster, each: SurveyedNode, first: SurveyedNode) -> NodeRow:
    speed = None if each is first else _link(cluster, each.node, first.node)
    problem, remedy = each.problem
    if each.facts is not None and first.facts is not None:
        found = differences({first.node.name: first.facts, each.node.name: each.facts})
        if found:
            problem, remedy = f"differs: {found}", "make them alike, or `ray stop` on one"
    if isinstance(speed, Exception):
        problem = f"its link to {first.node.name} cannot be measured: {first_line(speed)}"
        remedy, speed = f"ping {each.node.address}", None
    elif not problem and speed is not None and _is_slow(speed, each, first):
        problem = f"{speed:.1f} Gb/s to {first.node.name}: below ConnectX-7's"
        problem += f" {CONNECTX_7_GBIT_S:g}"
        remedy = "ray stop, then ray start --node-ip-address= with that of the ConnectX-7 port"
    return _row(each, speed, problem, remedy)


def _row(each: SurveyedNode, speed: float | None, problem: str, remedy: str) -> NodeRow:
    node, facts = each.node, each.facts
    host = facts.host if facts else None
    return NodeRow(
        name=node.name,
        address=node.address,
        cpus=node.resources.get("CPU", 0.0),
        gpus=node.resources.get("GPU", 0.0),
        memory_gib=node.resources.get("memory", 0.0) / _BYTES_PER_GIB,
        gpu=", ".join(gpu.name or "unnamed" for gpu in host.gpus) if host else "",
        driver=(host.driver or "") if host else "",
        python=facts.interpreter.python if facts else "",
        disk_free_gib=facts.disk_free_gib if facts else None,
        link_gbit_s=speed,
        problem=problem,
        remedy=remedy,
    )


def _is_slow(speed: float, *both: SurveyedNode) -> bool:
    """Return whether two Sparks are linked by something else than their fastest ports."""
    are_sparks = all(each.facts is not None and each.facts.host.is_gb10 for each in both)
    return are_sparks and speed < CONNECTX_7_GBIT_S


def _link(cluster: Cluster, node: Node, here: Node) -> float | Exception:
    """Return Gb/s from a node to this one, or why there are none."""
    with listening(here.address) as port:
        (found,) = cluster.ask([node], gbit_per_s, here.address, port)
    speed: float | Exception = found
    return speed
