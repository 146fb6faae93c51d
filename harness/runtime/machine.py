"""What the kernel's files say of the machine; every function reads under a given root."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from harness.probes.reading import NotSupported, Reading, read_number, read_text

_BYTES_PER_GIB = 1024.0**3
_NO_LIMIT_BYTES = 2.0**60  # cgroup v1 writes "no limit" as a number near 2^63

# implementer 0x41 is Arm; part numbers from the kernel's cputype.h. The GB10 has the first two.
_ARM_CORES = {
    "0xd85": "Cortex-X925",
    "0xd87": "Cortex-A725",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}
# vendors that virtual machines name in their DMI tables, as systemd-detect-virt knows them
_HYPERVISORS = ("QEMU", "KVM", "VMware", "innotek", "Xen", "Amazon EC2", "Google", "Microsoft")
_CONTAINER_MARKERS = (".dockerenv", "run/.containerenv", "run/.kubernetes")
_NVIDIA_VERSION = re.compile(r"Kernel Module.*?\s(\d+(?:\.\d+)+)")


class PowerSource(StrEnum):
    """What feeds the machine."""

    AC = "ac"
    BATTERY = "battery"
    UNKNOWN = "unknown"  # most machines without a battery do not say


# the widest first; avx512f is the part of AVX-512 that every such processor has
_VECTORS = ("avx512", "avx2", "avx", "sve2", "sve", "asimd")
# what multiplies bf16 natively, the widest first; without one it is multiplied as fp32
_BF16 = ("amx_bf16", "avx512_bf16", "svebf16", "bf16")


def cpu_model(root: Path) -> str | NotSupported:
    """Return the model name on x86, e.g. the kinds of cores on Arm."""
    lines = tuple(_cpuinfo(root))
    names = [value for key, value in lines if key == "model name"]
    if names:
        return names[0]
    implementers = [value for key, value in lines if key == "CPU implementer"]
    parts = [value for key, value in lines if key == "CPU part"]
    kinds = sorted({_arm_core(*each) for each in zip(implementers, parts, strict=False)})
    return " + ".join(kinds) or NotSupported(reason="/proc/cpuinfo names no model")


def cpu_isa(root: Path) -> str | NotSupported:
    """Return who made the processor, and the widest vectors and bf16 products that it has.

    The libraries below torch choose their loops by these, and with them the order of sums.
    """
    facts: dict[str, str] = {}
    for key, value in _cpuinfo(root):
        facts.setdefault(key, value)
    maker = facts.get("vendor_id") or facts.get("CPU implementer")
    known = {*(facts.get("flags") or facts.get("Features") or "").split()}
    widest = next((each for each in _VECTORS if known & {each, f"{each}f"}), None)
    if maker is None or widest is None:
        return NotSupported(reason="/proc/cpuinfo names no maker or no vector instructions")
    bf16 = next((each for each in _BF16 if each in known), "")
    return f"{maker} {widest} {bf16}".rstrip()


def cores(root: Path) -> int | NotSupported:
    """Return the number of logical CPUs."""
    count = sum(key == "processor" for key, _ in _cpuinfo(root))
    return count or NotSupported(reason="/proc/cpuinfo lists no processor")


def memory_limit_gib(root: Path) -> Reading:
    """Return the memory limit of the control group we are in, GiB (cgroup v2, else v1)."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = read_number(root / "sys/fs/cgroup" / name)
        if not isinstance(limit, NotSupported) and limit < _NO_LIMIT_BYTES:
            return limit / _BYTES_PER_GIB
    return NotSupported(reason="no control group limits our memory")


def system(root: Path) -> str | NotSupported:
    """Return the distribution's name and version."""
    text = read_text(root / "etc/os-release")
    if isinstance(text, NotSupported):
        return text
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', text, re.MULTILINE)
    return found.group(1) if found else NotSupported(reason="os-release has no PRETTY_NAME")


def product(root: Path) -> str | NotSupported:
    """Return the board's vendor and product name, e.g. ``NVIDIA NVIDIA DGX Spark``."""
    vendor, name = _dmi(root, "sys_vendor"), _dmi(root, "product_name")
    if isinstance(vendor, NotSupported):
        return vendor
    return vendor if isinstance(name, NotSupported) else f"{vendor} {name}"


def virtualised(root: Path) -> bool | NotSupported:
    """Return whether this is a virtual machine, where the processor or the board says."""
    flags = next((value for key, value in _cpuinfo(root) if key == "flags"), None)
    if flags is not None:  # x86: a hypervisor sets this bit, by agreement of all of them
        return "hypervisor" in flags.split()
    vendor = _dmi(root, "sys_vendor")
    if isinstance(vendor, NotSupported):
        return NotSupported(reason="neither the processor nor the board says")
    return vendor.startswith(_HYPERVISORS)


def container(root: Path) -> str | NotSupported:
    """Return the file that container engines leave as a marker."""
    found = [f"/{marker}" for marker in _CONTAINER_MARKERS if (root / marker).exists()]
    return found[0] if found else NotSupported(reason="no marker of a container")


def nvidia_module(root: Path) -> str | NotSupported:
    """Return the version of the loaded NVIDIA kernel module."""
    text = read_text(root / "proc/driver/nvidia/version")
    found = None if isinstance(text, NotSupported) else _NVIDIA_VERSION.search(text)
    return found.group(1) if found else NotSupported(reason="no NVIDIA kernel module")


def power_source(root: Path) -> PowerSource:
    """Return what feeds the machine; the batteries of mice and keyboards do not count."""
    folders = sorted((root / "sys/class/power_supply").glob("*"))
    supplies = [each for each in folders if read_text(each / "scope") != "Device"]
    plugs = [each for each in supplies if read_text(each / "type") in ("Mains", "USB")]
    if any(read_text(each / "online") == "1" for each in plugs):
        return PowerSource.AC
    if any(read_text(each / "status") == "Discharging" for each in supplies):
        return PowerSource.BATTERY
    return PowerSource.UNKNOWN


def _cpuinfo(root: Path) -> Iterator[tuple[str, str]]:
    text = read_text(root / "proc/cpuinfo")
    for line in () if isinstance(text, NotSupported) else text.splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def _arm_core(implementer: str, part: str) -> str:
    known = _ARM_CORES.get(part) if implementer == "0x41" else None
    return known or f"implementer {implementer} part {part}"


def _dmi(root: Path, name: str) -> str | NotSupported:
    text = read_text(root / "sys/class/dmi/id" / name)
    return text or NotSupported(reason=f"{name} is empty")
