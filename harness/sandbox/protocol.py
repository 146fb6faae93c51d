"""Messages between the harness and the keeper of a box: a JSON header, and bytes behind it.

Neither end trusts the other further than this: lengths have a bound, and headers become records by
their declared types. A keeper that an agent had taken over could spoil its own box, no more.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from harness.records import record, to_json
from harness.sandbox.base import CommandLimits, CommandResult
from harness.sandbox.workspace import Workspace

_MAX_HEADER = 64 << 20  # two streams of 1 MiB, at worst six characters of JSON for each byte
_LENGTHS = struct.Struct(">II")

Reader = Callable[[int], bytes]  # returns exactly so many bytes, or raises


class Deed(StrEnum):
    """What a keeper can be asked to do."""

    MATERIALISE = "materialise"
    RUN = "run"
    LIST = "list"
    SNAPSHOT = "snapshot"


@record
class Request:
    """One request.

    Attributes:
        sizes: of `materialise`: each path, and how many of the bytes behind the header it has.
        max_bytes: of `snapshot`: how much is read back.
        max_paths: of `snapshot`: how many paths.
    """

    deed: Deed
    sizes: Mapping[str, int] | None = None
    command: str = ""
    limits: CommandLimits = CommandLimits()
    max_bytes: int = 0
    max_paths: int = 0


@record
class Answer:
    """What came of it.

    Attributes:
        result: of `run`.
        paths: of `list`.
        sizes: of `snapshot`, as in `Request`.
        overflow: the workspace holds more than is read back.
        broken: the box cannot do it, for no fault of the command.
    """

    result: CommandResult | None = None
    paths: tuple[str, ...] = ()
    sizes: Mapping[str, int] | None = None
    overflow: str = ""
    broken: str = ""


def packed(header: object, blob: bytes = b"") -> tuple[bytes, bytes]:
    """Return a message as bytes, in two parts."""
    text = json.dumps(to_json(header)).encode()
    return _LENGTHS.pack(len(text), len(blob)) + text, blob


def received(read: Reader, max_blob: int, *, max_header: int = _MAX_HEADER) -> tuple[Any, bytes]:
    """Read one message; return its header, still as plain JSON, and its bytes.

    Raises:
        ValueError: it is too long, or no JSON.
    """
    header_bytes, blob_bytes = _LENGTHS.unpack(read(_LENGTHS.size))
    if header_bytes > max_header or blob_bytes > max_blob:
        message = f"a message of {header_bytes} and {blob_bytes} bytes"
        raise ValueError(message)
    return json.loads(read(header_bytes)), read(blob_bytes)


def joined(workspace: Workspace) -> tuple[Mapping[str, int], bytes]:
    """Return a workspace as the sizes of its files, and their bytes one after another."""
    return {path: len(content) for path, content in workspace.items()}, b"".join(workspace.values())


def parted(sizes: Mapping[str, int], blob: bytes) -> Workspace:
    """Return the workspace that `joined` took apart.

    Raises:
        ValueError: the sizes are not those of the bytes.
    """
    if sum(sizes.values()) != len(blob) or any(size < 0 for size in sizes.values()):
        message = "sizes and bytes disagree"
        raise ValueError(message)
    begin = 0
    workspace = {}
    for path, size in sizes.items():
        workspace[path] = blob[begin : begin + size]
        begin += size
    return workspace
