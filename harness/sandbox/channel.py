"""The harness's end of the line to a box's keeper: every exchange has a deadline.

A keeper answers or is gone. One that does neither in time is ended, with its box; so is one whose
exchange was interrupted, as its answer would be taken for that of the next question.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path

from harness.records import from_json
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.mounts import Place
from harness.sandbox.protocol import Answer, Deed, Request, packed, received

_CHUNK_BYTES = 1 << 20
_START_S = 30.0  # Python and the modules take 0.1 s on a quiet machine

# what a keeper imports, each after what it needs itself
_MODULES = (
    "harness.errors",
    "harness.records",
    "harness.sandbox.workspace",
    "harness.sandbox.base",
    "harness.sandbox.mounts",
    "harness.sandbox.protocol",
    "harness.sandbox.commands",
    "harness.sandbox.supervisor",
)

# reads the modules from standard input, and starts the last one
_BOOT = """\
import json, os, sys, types
def read(size):
    text = b""
    while len(text) < size:
        text += os.read(0, size - len(text)) or sys.exit()
    return text
for name, source in json.loads(read(int(read(8)))).items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules[name].main()
"""


def keeper_command(python: str) -> list[str]:
    """Return the command of a keeper: nothing of its machine but the standard library counts."""
    return [python, "-I", "-S", "-c", _BOOT]


@cache
def _modules() -> bytes:
    sources = {}
    for name in _MODULES:
        file = import_module(name).__file__
        assert file is not None
        sources[name] = Path(file).read_text(encoding="utf-8")
    text = json.dumps(sources).encode()
    return b"%8d" % len(text) + text


class Link:
    """The line to one keeper.

    Args:
        to_keeper: descriptor of its standard input, not blocking.
        from_keeper: descriptor of its standard output, not blocking.
        end: ends the keeper and all of its box, and returns its last words; called once.
        unframed: takes its bytes out of what is read, where they come wrapped in something.
    """

    def __init__(
        self,
        *,
        to_keeper: int,
        from_keeper: int,
        end: Callable[[], str],
        unframed: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._to_keeper = to_keeper
        self._from_keeper = from_keeper
        self._end = end
        self._unframed = unframed
        self._pending = bytearray()
        self._is_open = True

    def start(self, place: Place) -> None:
        """Give the keeper its source and its place, and wait until it has an empty workspace.

        Raises:
            SandboxUnavailable: it does not start.
        """
        first = Request(deed=Deed.MATERIALISE)
        parts = (_modules(), *packed(place), *packed(first))
        answer, _ = self._exchange(parts, 0, within_s=_START_S)
        if answer.broken:
            raise self._broken(answer.broken)

    def try_command(self) -> None:
        """Run a command that does nothing.

        Raises:
            SandboxUnavailable: it fails; the box has been ended.
        """
        answer, _ = self.ask(Request(deed=Deed.RUN, command=":"), within_s=_START_S)
        if answer.result is None or answer.result.exit_code != 0:
            cause = f"no command can be run: {answer.result}"
            raise self._broken(cause)

    def ask(
        self, request: Request, blob: bytes = b"", *, max_blob: int = 0, within_s: float
    ) -> tuple[Answer, bytes]:
        """Ask the keeper for something, and wait for its answer and the bytes behind it.

        Raises:
            SandboxUnavailable: the box broke; it has been ended.
        """
        answer, content = self._exchange(packed(request, blob), max_blob, within_s=within_s)
        if answer.broken:
            raise self._broken(answer.broken)
        return answer, content

    @property
    def answers(self) -> int:
        """The descriptor that answers come from, for who passes them on unread."""
        return self._from_keeper

    def pass_on(self, request: Request, blob: bytes, *, within_s: float) -> None:
        """Give the keeper a request of somebody else, who reads its answer from `answers`.

        Raises:
            OSError: the keeper does not take it; the box has not been ended.
        """
        deadline = time.monotonic() + within_s
        for part in packed(request, blob):
            self._send(part, deadline)

    def end(self) -> str:
        """End the keeper and all of its box; return its last words."""
        if not self._is_open:
            return ""
        self._is_open = False
        return self._end()

    def _exchange(
        self, parts: Iterable[bytes], max_blob: int, *, within_s: float
    ) -> tuple[Answer, bytes]:
        if not self._is_open:
            ended = "the box has been ended"
            raise SandboxUnavailable(ended)
        deadline = time.monotonic() + within_s
        try:
            for part in parts:
                self._send(part, deadline)
            header, content = received(lambda size: self._read(size, deadline), max_blob)
            return from_json(Answer, header), content
        except TimeoutError:
            cause = f"no answer within {within_s:g} s"
            raise self._broken(cause) from None
        except (OSError, EOFError, ValueError) as error:
            raise self._broken(str(error)) from error
        except BaseException:
            self.end()
            raise

    def _broken(self, cause: str) -> SandboxUnavailable:
        last_words = self.end().strip()
        return SandboxUnavailable(f"the box broke: {cause}\n{last_words}".strip())

    def _send(self, content: bytes, deadline: float) -> None:
        left = memoryview(content)
        while left:
            _wait(self._to_keeper, select.POLLOUT, deadline)
            left = left[os.write(self._to_keeper, left[:_CHUNK_BYTES]) :]

    def _read(self, size: int, deadline: float) -> bytes:
        while len(self._pending) < size:
            _wait(self._from_keeper, select.POLLIN, deadline)
            chunk = os.read(self._from_keeper, _CHUNK_BYTES)
            if not chunk:
                message = "it ended"
                raise EOFError(message)
            self._pending += self._unframed(chunk)
        content = bytes(self._pending[:size])
        del self._pending[:size]
        return content


def _wait(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    left_s = deadline - time.monotonic()
    if left_s <= 0 or not poll.poll(left_s * 1000):
        raise TimeoutError
