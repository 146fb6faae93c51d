"""An engine whose requests are counted as they are made: what was asked for, and of which weights.

An experiment's params say how replies should be sampled. What the engine was told says how they
were: a cap, a temperature or a seed that never reaches it shows here and nowhere else.

Requests of a step are noted in the step's folder, so a run that goes on after a kill, or takes the
step of another run, reports them as if it had made them itself.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.reading import read_json
from harness.workloads.api.declare import Metric
from harness.workloads.api.emit import EventWriter
from harness.workloads.inference.engine import Engine, Reply, SamplingParams

REQUEST_METRICS = (
    Metric(name="requests.count", unit="count", doc="replies that the engine was asked for"),
    # where: end (lowest or highest) of all that it was asked for
    Metric(name="requests.temperature", unit="1", doc="asked for; where: end"),
    Metric(name="requests.max_new_tokens", unit="token", doc="cap asked for; where: end"),
    Metric(name="requests.top_p", unit="1", doc="asked for; where: end"),
    Metric(name="requests.top_k", unit="1", doc="asked for, 0 for all; where: end"),
    Metric(name="requests.seeds", unit="count", doc="different seeds"),
    Metric(
        name="requests.repeated",
        unit="count",
        doc="that asked the same weights for a reply to the same prompt with the same seed again",
    ),
    Metric(name="requests.weights", unit="count", doc="versions of the weights that answered"),
)
CHAT_METRICS = (
    Metric(
        name="chat.engine",
        unit="text",
        doc="what served a further model of the run, with its version; where: role",
    ),
)

REQUESTS = "requests.jsonl"  # in the folder of a step that asks for replies


class Request(NamedTuple):
    """What one reply was asked for; `prompt` is a hash of its tokens."""

    weights: str
    prompt: int
    seed: int
    temperature: float
    max_new_tokens: int
    top_p: float
    top_k: int


class ObservedEngine:
    """Passes everything on to another engine, and notes each reply that is asked for.

    Args:
        engine: who answers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._is_new_attempt = False

    @property
    def identity(self) -> str:
        """What serves, with its version."""
        return self._engine.identity

    @property
    def max_model_len(self) -> int:
        """Prompt and reply together, at most."""
        return self._engine.max_model_len

    @property
    def served(self) -> str:
        """Which weights answer."""
        return self._engine.served

    def note_in(self, file: Path) -> None:
        """Note requests in a file from now on, as one more attempt at the step that it is of."""
        with self._lock:
            self._file, self._is_new_attempt = file, True

    def wait_until_ready(self) -> None:
        """Return once the other engine can answer."""
        self._engine.wait_until_ready()

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        """Draw one reply, and note how it was asked for."""
        request = Request(
            weights=self._engine.served,
            prompt=hash(tuple(prompt)),
            seed=sampling.seed,
            temperature=sampling.temperature,
            max_new_tokens=sampling.max_new_tokens,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
        )
        with self._lock:
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as lines:
                    if self._is_new_attempt:
                        lines.write("\nnull\n")  # a line of its own behind a torn one
                    lines.write(json.dumps(request) + "\n")
                self._is_new_attempt = False
        return self._engine.reply(prompt, sampling)

    def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
        """Return the log-probability of each token of ``tokens[behind:]``."""
        return self._engine.score(tokens, behind)

    def refresh(self, adapter: Path | None) -> None:
        """Answer with this LoRA adapter from now on."""
        self._engine.refresh(adapter)


def requests_in(file: Path) -> Counter[Request]:
    """Return the requests of a step, each as often as one attempt at it made it.

    An attempt that was killed asked for replies that the next one asks for again, with the same
    seeds: those are no further requests of the experiment. So of each the largest count is taken.
    """
    attempts: list[Counter[Request]] = [Counter()]
    for line in file.read_bytes().splitlines():
        try:
            written = read_json(line)
        except ValueError:  # the torn end of an attempt that was killed
            continue
        if written is None:
            attempts.append(Counter())
        else:
            attempts[-1][Request(*written)] += 1
    most: Counter[Request] = Counter()
    for attempt in attempts:
        most |= attempt
    return most


def report_requests(emit: EventWriter, steps: Iterable[Path]) -> None:
    """Report what was asked for in all steps of a run, by their folders; see `REQUEST_METRICS`."""
    asked: Counter[Request] = Counter()
    for folder in steps:
        if (folder / REQUESTS).exists():
            asked += requests_in(folder / REQUESTS)
    emit.measured("requests.count", asked.total())
    for name in ("temperature", "max_new_tokens", "top_p", "top_k"):
        seen = {getattr(request, name) for request in asked}
        for end, value in (("lowest", min(seen)), ("highest", max(seen))) if seen else ():
            emit.measured(f"requests.{name}", value, where={"end": end})
    emit.measured("requests.seeds", len({request.seed for request in asked}))
    draws: Counter[tuple[str, int, int]] = Counter()
    for request, count in asked.items():
        draws[request.weights, request.prompt, request.seed] += count
    emit.measured("requests.repeated", sum(count - 1 for count in draws.values()))
    emit.measured("requests.weights", len({request.weights for request in asked}))
