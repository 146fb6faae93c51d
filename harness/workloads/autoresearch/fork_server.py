"""``python -m harness.workloads.autoresearch.fork_server``: evaluate candidates, a process each.

The first line of standard input has the evaluation's settings, each further one is a candidate.
Answers are lines of JSON on standard output; what torch prints goes to standard error. This
process never computes: threads that torch starts would not survive a fork, nor would CUDA.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from typing import Any, NoReturn

import torch

from harness.errors import InputError
from harness.reading import read_json
from harness.records import from_json, to_json
from harness.workloads.autoresearch import candidate as training
from harness.workloads.autoresearch.evaluator import Bench, CandidateEvaluation
from harness.workloads.autoresearch.parent_death import end_with_parent
from harness.workloads.autoresearch.trajectory import EvalFailure, TrainConfig
from harness.workloads.data.split import TokenStream

_BYTES_PER_GIB = 1024**3
_BYTES_PER_KIB = 1024
_TRACE_CHARACTERS = 1000  # twice that, escaped, still goes through a pipe at once
_NO_MEMORY = "can't allocate memory"  # of torch's allocator on a CPU


def main() -> None:
    """Serve until standard input closes."""
    end_with_parent(os.getppid())
    answers = os.dup(1)
    os.dup2(2, 1)
    bench = from_json(Bench, read_json(sys.stdin.readline()))
    try:
        corpus = training.corpus_of(bench)
    except InputError as error:
        _say(answers, {"refused": str(error)})
        return
    # making the first optimizer imports a second's worth of modules
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], fused=True)
    _say(answers, {"least_bits": corpus.entropy_floor_bits})
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _evaluate(bench, corpus, read_json(line), answers)
        _say(answers, {"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say(answers, {"ended": status})


def _evaluate(bench: Bench, corpus: TokenStream, request: dict[str, Any], answers: int) -> NoReturn:
    """Do one evaluation in this process, and end it."""
    end_with_parent(os.getppid())
    if bench.device == "cpu":
        # limit the growth of this process's data; the kernel refuses more
        used_kib = next(
            int(line.split()[1])
            for line in open("/proc/self/status", encoding="ascii")  # noqa: SIM115, PTH123 - ends with us
            if line.startswith("VmData:")
        )
        limit = used_kib * _BYTES_PER_KIB + int(bench.memory_gib * _BYTES_PER_GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        cfg = from_json(TrainConfig, request["cfg"])
        evaluation = training.evaluate(cfg, corpus, bench, request["seed"], request["most_flop"])
    except Exception as error:  # noqa: BLE001 - whatever breaks here is a fact about the candidate
        text = f"{type(error).__name__}: {error}"
        no_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or _NO_MEMORY in text
        failure = EvalFailure(
            ok=False,
            oom=no_memory,
            error=text[:_TRACE_CHARACTERS],
            trace=traceback.format_exc()[-_TRACE_CHARACTERS:],
            timed_out=isinstance(error, training.OverBudgetError),
        )
        evaluation = CandidateEvaluation(result=failure)
    _say(answers, {"answer": to_json(evaluation)})
    os._exit(0)


def _say(answers: int, message: dict[str, Any]) -> None:
    os.write(answers, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
