"""Files that only grow, one record a line: what of them counts after a kill or a power cut.

A killed writer leaves a line without its end. A file system that lost power may have kept a file's
length and not its last blocks, which then read as zero bytes. JSON and csv hold no such byte, so
what counts of a file ends with the last newline before the first of them.
"""

from __future__ import annotations

from pathlib import Path

from harness.reading import MAX_BYTES, read_regular_file


def whole_lines(path: Path, *, max_bytes: int = MAX_BYTES) -> list[str]:
    """Return the whole lines of a file, without their newlines; none where there is no file.

    Raises:
        ValueError: it is no regular file, larger than `max_bytes`, or cannot be read; names it.
    """
    try:
        content = read_regular_file(path, max_bytes=max_bytes)
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ValueError(message) from None
    return content[: end_of_whole(content)].decode("utf-8", "replace").split("\n")[:-1]


def end_of_whole(content: bytes) -> int:
    """Return how many bytes of `content` are whole lines."""
    zero = content.find(b"\0")
    return content.rfind(b"\n", 0, len(content) if zero < 0 else zero) + 1
