"""Which lines of workloads and experiments a run reaches only on a GPU, found in their sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
FOLDERS = ("harness/workloads", "harness/experiments")
LIST = HERE / "needs_device.yaml"
# what a condition asks that only a GPU answers with yes
_SIGNS = ("cuda", "OnGpu", "transformer_engine", "uses_transformer_engine", "has_te")


@dataclass(frozen=True, kw_only=True)
class DeviceBranch:
    """Lines behind a condition that holds only on a GPU.

    Attributes:
        place: file, and the function in it; a reader finds it by them when lines move.
        lines: all of the branch.
    """

    place: str
    lines: frozenset[int]


def sources() -> Iterator[Path]:
    """Yield every module that a run can consist of."""
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def device_branches(path: Path) -> Iterator[DeviceBranch]:
    """Yield the branches of a module that only a GPU takes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function, node in within(tree, ""):
        for lines in _on_device(node):
            yield DeviceBranch(place=f"{path.relative_to(ROOT)}:{function}", lines=lines)


def _on_device(node: ast.AST) -> Iterator[frozenset[int]]:
    if isinstance(node, ast.If | ast.IfExp) and _asks(node.test):
        if not _is_negated(node.test):
            yield _lines(node.body if isinstance(node, ast.If) else [node.body])
    elif isinstance(node, ast.match_case) and _asks(node.pattern):
        yield _lines(node.body)
    for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
        statements: list[ast.stmt] = body if isinstance(body, list) else []
        for at, each in enumerate(statements):
            if isinstance(each, ast.If) and isinstance(each.body[-1], ast.Return | ast.Raise):
                behind = statements[at + 1 :]  # whoever has no GPU is gone
                if behind and _asks(each.test) and _is_negated(each.test):
                    yield _lines(behind)


def _asks(test: ast.AST) -> bool:
    return any(sign in ast.unparse(test) for sign in _SIGNS)


def _is_negated(test: ast.AST) -> bool:
    return ast.unparse(test).startswith("not ")


def within(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield every node below one, with the class and function that it is in or names."""
    for child in ast.iter_child_nodes(node):
        name = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{function}.{child.name}".lstrip(".")
        yield name, child
        yield from within(child, name)


def _lines(body: Sequence[ast.stmt | ast.expr]) -> frozenset[int]:
    return frozenset(
        line for each in body for line in range(each.lineno, (each.end_lineno or each.lineno) + 1)
    )


@cache
def listed() -> Mapping[str, str]:
    """Return what the list names: a function or a whole file, and why it needs the device."""
    found: Mapping[str, str] = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return found
