"""The evaluator's side that the loop sees: a candidate in, figures or a failure out.

A server process imports torch once and then forks for each candidate, so that an evaluation starts
in milliseconds, in a state that no other has touched, and can be killed at any moment. What breaks
in it is data: out of memory, out of time, a loss that is not finite, a signal. The published loop
evaluates in its own process, where a crash ends the night.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, Protocol, Self

from harness.errors import HostError
from harness.reading import read_json
from harness.records import from_json, record, to_json
from harness.workloads.autoresearch.trajectory import EvalFailure, EvalMetrics, TrainConfig

_SERVER = "harness.workloads.autoresearch.fork_server"
_END_S = 10.0  # a killed process ends at once, unless the kernel holds it
_CHUNK_BYTES = 1 << 16


@record
class CandidateEvaluation:
    """What one evaluation came to.

    Attributes:
        device: the device used; empty if it failed before naming it.
        train_flop: floating-point operations of its training steps.
    """

    result: EvalMetrics | EvalFailure
    device: str = ""
    train_flop: float = 0.0


@record
class Limit:
    """What an evaluation may take.

    Attributes:
        wall_s: by the clock, from the request to the answer.
        most_flop: floating-point operations of training, so that no machine makes a candidate
            slow; None for no limit.
    """

    wall_s: float
    most_flop: float | None = None


@record
class Bench:
    """What every candidate of a loop is evaluated on.

    Attributes:
        device: ``cuda`` or ``cpu``.
        num_threads: of torch on a CPU.
        dropout: of the embedding, the attention weights and the residual branches.
        memory_gib: what one evaluation may take beyond an idle one, on a CPU.
        published_held_out: validate on as many tokens as fill whole batches of the candidate, as
            article 22 does; else on the same tokens whatever the candidate's batch.
        corpus_folder: of a packed corpus; empty draws one from a source.
        vocabulary: ids of a source.
        training_tokens: so many are drawn of it.
        held_out_tokens: so many behind them.
        corpus_seed: what the source is made from.
    """

    device: str
    num_threads: int
    dropout: float
    memory_gib: float
    published_held_out: bool
    corpus_folder: str
    vocabulary: int
    training_tokens: int
    held_out_tokens: int
    corpus_seed: int = 0


class Evaluates(Protocol):
    """Trains a candidate and measures it."""

    @property
    def entropy_floor_bits(self) -> float | None:
        """What nobody does better than on the held-out tokens; None where nobody knows."""
        ...

    def evaluate(self, cfg: TrainConfig, seed: int, limit: Limit) -> CandidateEvaluation:
        """Return what the candidate came to, from weights drawn with `seed`."""
        ...


class Evaluator:
    """The protocol `Evaluates`, in separate processes; use it as a context manager."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._least_bits: float | None = None

    @property
    def entropy_floor_bits(self) -> float | None:
        """What a model that knows the corpus has on the held-out tokens, bits a token."""
        return self._least_bits

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def evaluate(self, cfg: TrainConfig, seed: int, limit: Limit) -> CandidateEvaluation:
        """Return what the candidate came to; at its limit it is ended.

        Raises:
            HostError: the server process ended, and cannot be started again.
        """
        request = {"cfg": to_json(cfg), "seed": seed, "most_flop": limit.most_flop}
        try:
            self._send(json.dumps(request))
            return self._outcome(limit)
        except _GoneError:
            self._end()
            self._start()
            return _broken("the evaluating process and its server ended")

    def _outcome(self, limit: Limit) -> CandidateEvaluation:
        """Read until the evaluation has ended: its answer, if it had time for one."""
        answer: dict[str, Any] | None = None
        deadline_s = time.monotonic() + limit.wall_s
        timed_out, pid = False, 0
        while True:
            message = self._receive(deadline_s)
            if message is None:  # out of time; then out of patience
                if timed_out or not pid:
                    raise _GoneError
                timed_out, deadline_s = True, time.monotonic() + _END_S
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            elif "pid" in message:
                pid = message["pid"]
            elif "answer" in message:
                answer = message["answer"]
            elif answer is not None:
                document = answer["result"]
                result: EvalMetrics | EvalFailure
                if document["ok"]:
                    result = from_json(EvalMetrics, document)
                else:
                    result = from_json(EvalFailure, document)
                return CandidateEvaluation(
                    result=result, device=answer["device"], train_flop=answer["train_flop"]
                )
            elif timed_out:
                error = f"ended at its limit of {limit.wall_s:.1f} s"
                return CandidateEvaluation(
                    result=EvalFailure(ok=False, oom=False, error=error, timed_out=True)
                )
            else:
                return _broken(_how_ended(message["ended"]))

    def _start(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._pending = b""
        try:
            self._send(json.dumps(to_json(self._bench)))
            ready = self._receive(None)  # torch may come from a slow disk
        except _GoneError:
            ready = None
        if ready is None or "refused" in ready:
            self._end()
            raise HostError(ready["refused"] if ready else "the evaluator does not start")
        self._least_bits = ready["least_bits"]

    def _end(self) -> None:
        self._server.kill()  # its forks end with it
        self._server.wait()
        for stream in (self._server.stdin, self._server.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _send(self, line: str) -> None:
        assert self._server.stdin is not None
        try:
            self._server.stdin.write(line.encode() + b"\n")
            self._server.stdin.flush()
        except BrokenPipeError:
            raise _GoneError from None

    def _receive(self, deadline_s: float | None) -> dict[str, Any] | None:
        """Return the server's next message; None where none comes before the deadline."""
        assert self._server.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._server.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                wait_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
                if not selector.select(wait_s):
                    return None
                chunk = os.read(self._server.stdout.fileno(), _CHUNK_BYTES)
                if not chunk:
                    raise _GoneError
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            return from_json(dict[str, Any], read_json(line))
        except ValueError:  # only a broken server says what is no message
            raise _GoneError from None


class _GoneError(Exception):
    """The server process has ended, or does not answer."""


def _broken(error: str) -> CandidateEvaluation:
    return CandidateEvaluation(result=EvalFailure(ok=False, oom=False, error=error))


def _how_ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"exited with {code} and no answer"
