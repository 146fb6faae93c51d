"""The frames of an attach connection, which carry both output streams.

A frame is a byte naming the stream, three zero bytes, the length as a big-endian 32-bit number,
and that many bytes (Docker Engine API, "Attach to a container").
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

_HEADER = struct.Struct(">BxxxL")


class Frames:
    """Splits the connection into its streams; chunks may end anywhere in a frame.

    Args:
        sinks: stream number -> what takes its bytes, in order.
    """

    STDOUT = 1
    STDERR = 2

    def __init__(self, sinks: Mapping[int, Callable[[bytes], None]]) -> None:
        self._sinks = sinks
        self._pending = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the connection."""
        data = self._pending + chunk
        while len(data) >= _HEADER.size:
            stream, length = _HEADER.unpack_from(data)
            end = _HEADER.size + length
            if len(data) < end:
                break
            self._sinks[stream](data[_HEADER.size : end])
            data = data[end:]
        self._pending = data
