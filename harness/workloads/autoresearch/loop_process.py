"""A loop as a separate process: ``python -m harness.workloads.autoresearch.loop_process FOLDER``.

``session.json`` in the folder holds the settings, the other files its progress.
A second argument is the folder of a packed corpus; without one tokens are drawn from a source. So
the process may be killed at any moment, and the same command resumes it. `complete` starts it and
brings it to its end; where it is asked to, it kills it on the way, as a power cut would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

from harness.errors import HarnessError, HostError
from harness.probes.energy import energy_counter
from harness.reading import read_json
from harness.records import from_json, to_json
from harness.workloads.api.context import Context
from harness.workloads.api.steps import Step
from harness.workloads.autoresearch.bandit import BanditProposer
from harness.workloads.autoresearch.evaluator import Bench, Evaluator
from harness.workloads.autoresearch.guardrails import Guardrails
from harness.workloads.autoresearch.llm_proposer import (
    PROMPT_CHARACTERS,
    ChatProposer,
    structured_outputs,
)
from harness.workloads.autoresearch.loop import TRAJECTORY_FILE, Loop, Parts, Session
from harness.workloads.autoresearch.parent_death import end_with_parent
from harness.workloads.autoresearch.prompt import Proposer
from harness.workloads.autoresearch.proposers import (
    HostileProposer,
    ReplayProposer,
    UniformProposer,
)
from harness.workloads.inference.chat import Endpoint

_LOOP = "harness.workloads.autoresearch.loop_process"
_POLL_S = 0.01
_LATEST_S = 0.5  # a kill comes up to so much after the line that it waits for
PACKED = "packed"
SESSION_FILE = "session.json"
REFUSAL_FILE = "refused.json"  # why this machine cannot do the loop


def complete(session: Session, folder: Path, corpus: str = "") -> int:
    """Bring the loop in a folder to its end, and return how often it was killed on the way.

    Args:
        session: the settings.
        folder: its state.
        corpus: folder of a packed corpus; empty draws tokens from a source.

    Raises:
        HostError: the loop cannot be done here.
        HarnessError: it broke.
    """
    (folder / SESSION_FILE).write_text(json.dumps(to_json(session)), encoding="utf-8")
    command = [sys.executable, "-m", _LOOP, str(folder), *([corpus] if corpus else [])]
    random = Random(session.seed)  # noqa: S311 - moments, not secrets
    kills = 0
    for number in range(1, session.params.kills + 1):
        line = 1 + number * session.params.iterations // (session.params.kills + 1)
        kills += _killed(command, folder / TRAJECTORY_FILE, line, random.uniform(0.0, _LATEST_S))
    with _started(command) as process:
        code = process.wait()
    refusal = folder / REFUSAL_FILE
    if code and refusal.exists():
        raise HostError(**read_json(refusal.read_bytes()))
    if code:  # standard error has the cause
        message = f"the loop exited with {code}"
        raise HarnessError(message)
    return kills


def searched(context: Context, name: str, session: Session, corpus: Step | None) -> Step:
    """Return a step of a run that does a whole loop; a loop that was killed goes on.

    Its facts say how often the loop was killed because it was to be.

    Args:
        context: of the run.
        name: the step's.
        session: the settings.
        corpus: the step that packed a corpus into `PACKED`; None draws tokens from a source.

    Raises:
        HostError: the loop cannot be done here.
        HarnessError: it broke.
    """
    with context.steps.step(
        name,
        decides={
            "settings": session.settings,
            "proposer": session.params.proposer,
            "seed": session.seed,
        },
        reads={} if corpus is None else {"corpus": corpus.digest()},
        code=(_LOOP,),
        keeps=("*",),
    ) as step:
        if step.is_new:
            packed = "" if corpus is None else str(corpus.folder / PACKED)
            step.facts["kills"] = complete(session, step.folder, packed)
    return step


def _killed(command: list[str], path: Path, line: int, delay_s: float) -> bool:
    """Start the loop and kill it soon after it has written so many lines; False: it was faster."""
    with _started(command) as process:
        while process.poll() is None:
            if path.exists() and path.read_bytes().count(b"\n") >= line:
                break
            time.sleep(_POLL_S)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        code = process.wait()
    return code == -signal.SIGKILL


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def main(arguments: list[str]) -> int:
    """Do the loop of a folder, and return the exit code."""
    end_with_parent(os.getppid())
    folder, corpus = Path(arguments[0]), "".join(arguments[1:])
    session = from_json(Session, read_json((folder / SESSION_FILE).read_bytes()))
    try:
        with (
            Evaluator(bench_of(session, corpus)) as evaluator,
            energy_counter(session.params.device) as energy_j,
        ):
            parts = Parts(proposer=proposer_of(session), evaluator=evaluator, energy_j=energy_j)
            Loop(session, folder, parts).run()
    except HostError as error:
        refusal = {"message": error.message, "remedy": error.remedy}
        (folder / REFUSAL_FILE).write_text(json.dumps(refusal), encoding="utf-8")
        return error.exit_code
    return 0


def proposer_of(session: Session) -> Proposer:
    """Return who proposes.

    Raises:
        HostError: the proposer is a model without a server.
    """
    params, space = session.params, session.search_space
    if params.proposer == "random":
        return UniformProposer(space=space, seed=session.seed)
    if params.proposer == "replay":
        return ReplayProposer(space=space)
    if params.proposer == "bandit":
        return BanditProposer(space=space, seed=session.seed)
    if params.proposer == "hostile":
        return HostileProposer(space)
    endpoint = Endpoint(
        base_url=params.proposer_base_url,
        model=params.proposer_model,
        timeout_s=params.answer_timeout_s,
        attempts=1,  # an iteration without an answer is a result
    )
    chat = ChatProposer(
        endpoint=endpoint,
        temperature=params.temperature,
        max_new_tokens=params.max_new_tokens,
        seed=session.seed,
    )
    if params.proposer == "served":
        form = structured_outputs(space)
        chat = replace(chat, form=form, most_characters=PROMPT_CHARACTERS)
    chat.require()
    return chat


def bench_of(session: Session, corpus_folder: str = "") -> Bench:
    """Return what candidates are evaluated on; a source is drawn as long as any of them reads."""
    params, space = session.params, session.search_space
    baseline, knobs = space.baseline, space.knobs
    rows, length = (
        max(value for value in knobs[name].choices if isinstance(value, int))
        for name in ("batch_size", "seq_len")
    )
    return Bench(
        device=params.device,
        num_threads=params.num_threads,
        dropout=params.dropout,
        memory_gib=params.memory_gib,
        published_held_out=session.guardrails is Guardrails.PUBLISHED,
        corpus_folder=corpus_folder,
        vocabulary=baseline.vocab_size,
        training_tokens=baseline.steps * rows * length + rows * (length + 1),
        held_out_tokens=max(baseline.val_chunk_tokens, rows * length) + rows * (length + 1),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
