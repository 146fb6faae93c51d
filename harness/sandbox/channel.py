"""The harness's end of the channel to a sandbox's supervisor: every exchange has a deadline.

A supervisor that does not answer in time is ended, with its sandbox. So is one whose exchange was
interrupted, as its late answer would be taken for that of the next request.
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
from harness.sandbox.config import SupervisorConfig
from harness.sandbox.protocol import (
    SandboxOp,
    SandboxRequest,
    SandboxResponse,
    encode,
    encode_header,
    read_message,
)

_CHUNK_BYTES = 1 << 20
_START_S = 30.0  # Python and the modules take 0.1 s on a quiet machine

# what a supervisor imports, each after what it needs itself
_MODULES = (
    "harness.errors",
    "harness.reading",
    "harness.records",
    "harness.sandbox.limits",
    "harness.sandbox.workspace",
    "harness.sandbox.base",
    "harness.sandbox.config",
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


def supervisor_command(python: str) -> list[str]:
    """Return the command that starts a supervisor; it needs Python's standard library alone."""
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


class SandboxChannel:
    """The channel to one supervisor.

    Args:
        to_supervisor: descriptor of its standard input, not blocking.
        from_supervisor: descriptor of its standard output, not blocking.
        end: ends the supervisor and all of its sandbox, and returns what it last wrote to standard
            error; called once.
        unframe: takes the supervisor's output out of what is read, where a transport frames it.
    """

    def __init__(
        self,
        *,
        to_supervisor: int,
        from_supervisor: int,
        end: Callable[[], str],
        unframe: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._to_supervisor = to_supervisor
        self._from_supervisor = from_supervisor
        self._end = end
        self._unframe = unframe
        self._pending = bytearray()
        self._is_open = True

    def start(self, config: SupervisorConfig) -> None:
        """Send the supervisor its source and its config, and wait for an empty workspace.

        Raises:
            SandboxUnavailable: it does not start.
        """
        first = SandboxRequest(op=SandboxOp.MATERIALISE)
        parts = (_modules(), *encode(config), *encode(first))
        response, _ = self._exchange(parts, 0, within_s=_START_S)
        if response.error:
            raise self._failed(response.error)

    def try_command(self) -> None:
        """Run a command that does nothing.

        Raises:
            SandboxUnavailable: it fails; the sandbox has been ended.
        """
        request = SandboxRequest(op=SandboxOp.RUN, command=":")
        response, _ = self.call(request, within_s=_START_S)
        if response.result is None or response.result.exit_code != 0:
            cause = f"no command can be run: {response.result}"
            raise self._failed(cause)

    def call(
        self, request: SandboxRequest, blob: bytes = b"", *, max_blob: int = 0, within_s: float
    ) -> tuple[SandboxResponse, bytes]:
        """Send the supervisor a request, and return its response with the bytes behind it.

        Raises:
            SandboxUnavailable: the sandbox broke; it has been ended.
        """
        response, content = self._exchange(encode(request, blob), max_blob, within_s=within_s)
        if response.error:
            raise self._failed(response.error)
        return response, content

    @property
    def response_fd(self) -> int:
        """The descriptor that responses come from, for who relays them; see `read_chunk`."""
        return self._from_supervisor

    def read_chunk(self) -> bytes | None:
        """Return some bytes of a response, to relay them unread; None when the supervisor is gone.

        They may be none: the transport's frame held something else.
        """
        chunk = os.read(self._from_supervisor, _CHUNK_BYTES)
        return self._unframe(chunk) if chunk else None

    def relay(
        self, request: SandboxRequest, blob_bytes: int, blob: Iterable[bytes], *, within_s: float
    ) -> None:
        """Send the supervisor a request whose response is read with `read_chunk`.

        Args:
            request: the request.
            blob_bytes: how many bytes stand behind it.
            blob: these, in parts.
            within_s: how long it may take, seconds.

        Raises:
            OSError: the supervisor does not take it; the sandbox has not been ended.
        """
        deadline = time.monotonic() + within_s
        self._send(encode_header(request, blob_bytes), deadline)
        for part in blob:
            self._send(part, deadline)

    def end(self) -> str:
        """End the supervisor and all of its sandbox; return what it last wrote to stderr."""
        if not self._is_open:
            return ""
        self._is_open = False
        return self._end()

    def _exchange(
        self, parts: Iterable[bytes], max_blob: int, *, within_s: float
    ) -> tuple[SandboxResponse, bytes]:
        if not self._is_open:
            ended = "the sandbox has been ended"
            raise SandboxUnavailable(ended)
        deadline = time.monotonic() + within_s
        try:
            for part in parts:
                self._send(part, deadline)
            header, content = read_message(lambda size: self._read(size, deadline), max_blob)
            return from_json(SandboxResponse, header), content
        except TimeoutError:
            cause = f"no answer within {within_s:g} s"
            raise self._failed(cause) from None
        except (OSError, EOFError, ValueError) as error:
            raise self._failed(str(error)) from error
        except BaseException:
            self.end()
            raise

    def _failed(self, cause: str) -> SandboxUnavailable:
        last_words = self.end().strip()
        return SandboxUnavailable(f"the sandbox broke: {cause}\n{last_words}".strip())

    def _send(self, content: bytes, deadline: float) -> None:
        left = memoryview(content)
        while left:
            _wait(self._to_supervisor, select.POLLOUT, deadline)
            left = left[os.write(self._to_supervisor, left[:_CHUNK_BYTES]) :]

    def _read(self, size: int, deadline: float) -> bytes:
        while len(self._pending) < size:
            _wait(self._from_supervisor, select.POLLIN, deadline)
            chunk = self.read_chunk()
            if chunk is None:
                message = "it ended"
                raise EOFError(message)
            self._pending += chunk
        content = bytes(self._pending[:size])
        del self._pending[:size]
        return content


def _wait(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    left_s = deadline - time.monotonic()
    if left_s <= 0 or not poll.poll(left_s * 1000):
        raise TimeoutError
