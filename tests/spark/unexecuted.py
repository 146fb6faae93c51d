"""Which functions of workloads and experiments have lines that no suite executed.

``python -m tests.spark.unexecuted`` reads what `nox -s coverage` has measured. Whatever is not in
`needs_device.yaml` is told, and the exit code is then 1. Lines that only report a mistake are left
out (``tool.coverage.report`` in pyproject.toml).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import coverage

from .device_lines import ROOT, listed, sources, within


def unexecuted(measured: coverage.Coverage) -> Iterator[tuple[str, list[int]]]:
    """Yield each function that is not whole, as the list names it, with the lines it lacks."""
    for path in sources():
        _, _, _, lines, _ = measured.analysis2(str(path))
        for function, lacking in by_function(path.read_text(encoding="utf-8"), lines).items():
            yield f"{path.relative_to(ROOT)}:{function}", lacking


def by_function(text: str, lines: Iterable[int]) -> Mapping[str, list[int]]:
    """Return lines of a module by the innermost function; empty for none."""
    owner: dict[int, str] = {}
    for function, node in within(ast.parse(text), ""):
        if isinstance(node, ast.stmt):  # what is further in comes later
            owner |= dict.fromkeys(range(node.lineno, (node.end_lineno or 0) + 1), function)
    found: dict[str, list[int]] = {}
    for line in lines:
        found.setdefault(owner.get(line, ""), []).append(line)
    return found


def main(data: Path) -> int:
    """Tell what is not executed and not listed."""
    measured = coverage.Coverage(data_file=data, config_file=ROOT / "pyproject.toml")
    measured.load()
    lacking = {name: lines for name, lines in unexecuted(measured) if name not in listed()}
    for name, lines in lacking.items():
        sys.stdout.write(f"{name}: {', '.join(map(str, lines))}\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(ROOT / "build" / "coverage" / "data"))
