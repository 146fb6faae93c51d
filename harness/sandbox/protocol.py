"""Messages between the harness and the supervisor of a sandbox: a JSON header, then raw bytes.

Neither end trusts the other further than this: lengths are bounded, and headers become records by
their declared types. A supervisor that a model had taken over could spoil its own sandbox, no more.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from harness.reading import read_json
from harness.records import record, to_json
from harness.sandbox.base import CommandResult
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import Workspace

# two streams of 1 MiB, or `MAX_LISTING_BYTES` of paths, at most six characters of JSON a byte
_MAX_HEADER = 16 << 20
_LENGTHS = struct.Struct(">II")

Reader = Callable[[int], bytes]  # returns exactly so many bytes, or raises


class SandboxOp(StrEnum):
    """What a supervisor can be asked to do."""

    MATERIALISE = "materialise"
    RUN = "run"
    LIST = "list"
    SNAPSHOT = "snapshot"


@record
class SandboxRequest:
    """One request.

    Attributes:
        op: what to do.
        sizes: of `materialise`: each path, and how many of the bytes behind the header it has.
        command: of `run`.
        limits: of `run`.
        max_bytes: of `snapshot`: how much is read back.
        max_paths: of `list` and `snapshot`: how many paths.
    """

    op: SandboxOp
    sizes: Mapping[str, int] | None = None
    command: str = ""
    limits: CommandLimits = CommandLimits()
    max_bytes: int = 0
    max_paths: int = 0


@record
class SandboxResponse:
    """The response to one request.

    Attributes:
        result: of `run`.
        paths: of `list`.
        sizes: of `snapshot`, as in `SandboxRequest`.
        overflow: why the workspace is not read back: it holds too much.
        error: why the sandbox cannot do it; it is broken then.
    """

    result: CommandResult | None = None
    paths: tuple[str, ...] = ()
    sizes: Mapping[str, int] | None = None
    overflow: str = ""
    error: str = ""


def encode(header: object, blob: bytes = b"") -> tuple[bytes, bytes]:
    """Return a message as bytes, in two parts: lengths with header, and blob."""
    return encode_header(header, len(blob)), blob


def encode_header(header: object, blob_bytes: int) -> bytes:
    """Return the first part of a message whose blob has so many bytes."""
    text = json.dumps(to_json(header)).encode()
    return _LENGTHS.pack(len(text), blob_bytes) + text


def read_message(
    read: Reader, max_blob: int, *, max_header: int = _MAX_HEADER
) -> tuple[Any, bytes]:
    """Read one message; return its header, still as plain JSON, and its blob.

    Raises:
        ValueError: it is too long, or its header is not JSON.
    """
    header_bytes, blob_bytes = read_lengths(read, max_blob, max_header=max_header)
    return read_json(read(header_bytes), holds_paths=True), read(blob_bytes)


def read_lengths(read: Reader, max_blob: int, *, max_header: int = _MAX_HEADER) -> tuple[int, int]:
    """Read how many bytes the header and the blob of a message have.

    Raises:
        ValueError: it is too long.
    """
    header_bytes, blob_bytes = _LENGTHS.unpack(read(_LENGTHS.size))
    if header_bytes > max_header or blob_bytes > max_blob:
        message = f"a message of {header_bytes} and {blob_bytes} bytes"
        raise ValueError(message)
    return header_bytes, blob_bytes


def join_files(workspace: Workspace) -> tuple[Mapping[str, int], bytes]:
    """Return a workspace as the sizes of its files, and their bytes one after another."""
    return {path: len(content) for path, content in workspace.items()}, b"".join(workspace.values())


def split_files(sizes: Mapping[str, int], blob: bytes) -> Workspace:
    """Return the workspace that `join_files` joined.

    Raises:
        ValueError: the sizes do not add up to the bytes.
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
