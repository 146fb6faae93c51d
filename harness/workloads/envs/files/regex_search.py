"""Looking for a regex that somebody else wrote, within a time that somebody can wait.

A model writes tasks, and with them regexes; some backtrack for longer than the universe will last.
Python's `re` cannot be told when to stop: a search holds the interpreter, so no other thread can
end it, and packages that have a time limit have another syntax too. So a process of its own
searches, with a limit of processor time that the kernel enforces (`regex_child`). Searches at the
same time have processes of their own, so none waits for another's regex. A question costs 0.1 ms.
"""

from __future__ import annotations

import atexit
import json
import queue
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from harness.errors import HostError

LIMIT_S = 2.0  # of a processor; a search that ends at all takes less than a thousandth of it
MAX_CHARS = 1 << 20  # of one text; many regexes take a time that grows with its square
_CHILD = Path(__file__).with_name("regex_child.py")


class Found(StrEnum):
    """What came of a search."""

    YES = "yes"
    NO = "no"
    NO_PATTERN = "no pattern"
    TOO_SLOW = "too slow"  # or it took too much memory
    TOO_LONG = "too long"  # a text of more than `MAX_CHARS` is not searched


def search(regex: str, texts: Sequence[str], limit_s: float = LIMIT_S) -> Found:
    """Say whether Python's ``re.search``, without flags, finds `regex` in any of `texts`.

    Args:
        regex: anything.
        texts: where to look; in turn, until it is found.
        limit_s: how long all of it may take, seconds of a processor.

    Raises:
        HostError: the process that searches cannot be started.
    """
    if any(len(text) > MAX_CHARS for text in texts):
        return Found.TOO_LONG
    question = {"regex": regex, "texts": list(texts), "limit_s": limit_s}
    try:
        searcher = _idle.get_nowait()
    except queue.Empty:
        searcher = _Searcher()
    try:
        return searcher.ask(json.dumps(question) + "\n")
    finally:
        _idle.put(searcher)


class _Searcher:
    """A process that searches, started when it is first needed; one thread asks it at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: str) -> Found:
        if self._process is not None and self._process.poll() is not None:
            self.end()  # somebody ended it
        if self._process is None:
            self._process = self._started()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(question)
        process.stdin.flush()
        answer = process.stdout.readline().rstrip("\n")
        if not answer:  # the kernel ended it in the middle of this search, for time or for memory
            self.end()
        return Found(answer or Found.TOO_SLOW)

    def _started(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
            start_new_session=True,  # Ctrl-C is the harness's to handle
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            process.communicate()
            message = f"the process that searches regexes ended with {process.returncode}"
            raise HostError(message, f"{sys.executable} -I -S {_CHILD}")
        return process

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate()  # it ends when nobody asks any more


_idle: queue.SimpleQueue[_Searcher] = queue.SimpleQueue()  # as many as ever searched at once


@atexit.register
def _end_all() -> None:
    with suppress(queue.Empty):
        while True:
            _idle.get_nowait().end()
