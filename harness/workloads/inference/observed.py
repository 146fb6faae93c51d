"""An engine whose requests are counted as they are made: what was asked for, and of which weights.

An experiment's params say how replies should be sampled. What the engine was told says how they
were: a cap, a temperature or a seed that never reaches it shows here and nowhere else.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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


class ObservedEngine:
    """Passes everything on to another engine.

    Args:
        engine: who answers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._settings: dict[str, set[float]] = {
            name: set() for name in ("temperature", "max_new_tokens", "top_p", "top_k")
        }
        self._draws: Counter[tuple[str, int, int]] = Counter()  # weights, prompt, seed
        self._seeds: set[int] = set()
        self._served: set[str] = set()

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

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        """Draw one reply, and note how it was asked for."""
        served = self._engine.served
        with self._lock:
            for name, seen in self._settings.items():
                seen.add(getattr(sampling, name))
            self._seeds.add(sampling.seed)
            self._draws[served, hash(tuple(prompt)), sampling.seed] += 1
            self._served.add(served)
        return self._engine.reply(prompt, sampling)

    def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """Return the log-probability of every token after the first."""
        return self._engine.score(tokens)

    def refresh(self, adapter: Path | None) -> None:
        """Answer with this LoRA adapter from now on."""
        self._engine.refresh(adapter)

    def report(self, emit: EventWriter) -> None:
        """Report what the requests were; see `REQUEST_METRICS`."""
        emit.measured("requests.count", self._draws.total())
        for name, seen in self._settings.items():
            for end, value in (("lowest", min(seen)), ("highest", max(seen))) if seen else ():
                emit.measured(f"requests.{name}", value, where={"end": end})
        emit.measured("requests.seeds", len(self._seeds))
        emit.measured("requests.repeated", sum(count - 1 for count in self._draws.values()))
        emit.measured("requests.weights", len(self._served))
