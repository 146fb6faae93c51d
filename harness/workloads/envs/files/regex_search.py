"""Looking for a regex that somebody else wrote, within a time that somebody can wait.

A model writes tasks, and with them regexes; some backtrack for longer than the universe will last.
Python's `re` cannot be told when to stop: a search holds the interpreter, so no other thread can
end it, and packages that have a time limit have another syntax too. So a process of its own
searches, and stops itself (`search_child`). A question costs 0.1 ms.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from harness.errors import HostError

LIMIT_S = 2.0  # of a processor; a search that ends at all takes less than a thousandth of it
_CHILD = Path(__file__).with_name("regex_child.py")


class Found(StrEnum):
    """What came of a search."""

    YES = "yes"
    NO = "no"
    NO_PATTERN = "no pattern"
    TOO_SLOW = "too slow"  # or it took too much memory


def search(regex: str, texts: Sequence[str], limit_s: float = LIMIT_S) -> Found:
    """Say whether Python's ``re.search``, without flags, finds `regex` in any of `texts`.

    Args:
        regex: anything.
        texts: where to look; in turn, until it is found.
        limit_s: how long all of it may take, seconds of a processor.

    Raises:
        HostError: the process that searches cannot be started.
    """
    question = {"regex": regex, "texts": list(texts), "limit_s": limit_s}
    return _searcher.ask(json.dumps(question) + "\n")


class _Searcher:
    """The process that searches, started when it is first needed; threads ask it in turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: str) -> Found:
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._end()  # somebody ended it
            if self._process is None:
                self._process = self._started()
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(question)
            process.stdin.flush()
            answer = process.stdout.readline().rstrip("\n")
            if not answer:  # it was ended in the middle of this search: by the kernel, for memory
                self._end()
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
        with self._lock:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate()  # it ends when nobody asks any more


_searcher = _Searcher()
atexit.register(_searcher.end)
