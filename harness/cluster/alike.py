"""Whether nodes are alike: figures of machines that differ are never averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.cluster.parts import NodeFacts
from harness.runtime.host import Host

# what decides a figure, or how long it takes; more memory than a run uses decides neither
_OF_HOST: dict[str, Callable[[Host], object]] = {
    "architecture": lambda host: host.architecture,
    "CPU": lambda host: host.cpu_model,
    "instructions": lambda host: host.cpu_isa,
    "cores": lambda host: host.cores,
    "GPU": lambda host: ", ".join(str(gpu.name) for gpu in host.gpus) or "none",
    "power limit of the GPU": lambda host: [gpu.power_limit_w for gpu in host.gpus],
    "driver": lambda host: host.driver,
    "CUDA": lambda host: host.cuda,
    "power source": lambda host: host.power_source.value,
}


def differences(nodes: Mapping[str, NodeFacts]) -> str:
    """Return in which ways nodes, by name, differ from the first; in words, empty if in none."""
    if not nodes:
        return ""
    (name, first), *others = nodes.items()
    told = []
    for other, facts in others:
        for what, read in _OF_HOST.items():
            one, two = read(first.host), read(facts.host)
            if one != two:
                told.append(f"{what}: {one} on {name}, {two} on {other}")
        told += _packages(name, first, other, facts)
    return "; ".join(told)


def _packages(name: str, first: NodeFacts, other: str, facts: NodeFacts) -> list[str]:
    one, two = first.interpreter, facts.interpreter
    if one.python != two.python:
        return [f"{one.python} on {name}, {two.python} on {other}"]
    differ = [
        package
        for package in sorted({*one.packages, *two.packages})
        if one.packages.get(package) != two.packages.get(package)
    ]
    if not differ and one.torch_record != two.torch_record:
        return [f"another build of torch on {other} than on {name}"]
    versions = [
        f"{each} {one.packages.get(each, 'absent')} on {name}, "
        f"{two.packages.get(each, 'absent')} on {other}"
        for each in differ[:3]
    ]
    more = [f"and {len(differ) - 3} more packages"] if len(differ) > 3 else []  # noqa: PLR2004 - a line's worth
    return versions + more
