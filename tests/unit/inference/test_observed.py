"""What an engine was asked for, seen where it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.workloads.api.emit import EventWriter, read_events
from harness.workloads.inference.engine import BASE, Reply, SamplingParams
from harness.workloads.inference.observed import (
    REQUEST_METRICS,
    REQUESTS,
    ObservedEngine,
    report_requests,
    requests_in,
)

COLD = SamplingParams(temperature=0.2, max_new_tokens=64, seed=1)


class _Engine:
    """Answers with its weights' number."""

    identity, max_model_len = "a test", 100

    def __init__(self) -> None:
        self.served = BASE

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        return Reply(tokens=(len(prompt), sampling.seed), logprobs=(0.0, 0.0))

    def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
        return (0.0,) * (len(tokens) - behind)

    def wait_until_ready(self) -> None:
        pass

    def refresh(self, adapter: Path | None) -> None:
        self.served = adapter.name if adapter else BASE


def test_requests_are_counted_as_they_are_made(tmp_path: Path) -> None:
    engine = ObservedEngine(_Engine())
    engine.note_in(tmp_path / REQUESTS)
    assert engine.reply((1, 2), COLD).tokens == (2, 1)
    engine.reply((1, 2), replace(COLD, seed=2))
    engine.reply((1, 2, 3), COLD)
    engine.refresh(Path("adapters/grpo-1"))
    engine.reply((1, 2), COLD)  # the same again, of other weights
    engine.reply((1, 2), replace(COLD, temperature=1.0, max_new_tokens=24))
    with EventWriter(tmp_path / "events.jsonl", REQUEST_METRICS) as emit:
        report_requests(emit, [tmp_path, tmp_path / "a step that asked nothing"])
    rows = [e.payload for e in read_events(tmp_path / "events.jsonl") if e.kind == "measured"]
    found = {(row["metric"], *row["where"].values()): row["value"] for row in rows}
    assert {name for name, *_ in found} == {metric.name for metric in REQUEST_METRICS}
    assert found["requests.count",] == 5
    assert found["requests.temperature", "lowest"] == 0.2
    assert found["requests.temperature", "highest"] == 1.0
    assert found["requests.max_new_tokens", "lowest"] == 24
    assert found["requests.max_new_tokens", "highest"] == 64
    assert (found["requests.top_p", "lowest"], found["requests.top_k", "highest"]) == (1.0, 0)
    assert found["requests.seeds",] == 2
    assert found["requests.repeated",] == 1  # the last asks for the luck of the one before
    assert found["requests.weights",] == 2
    assert (engine.served, engine.max_model_len) == ("grpo-1", 100)
    assert engine.score((1, 2, 3)) == (0.0, 0.0)


def test_what_a_killed_attempt_asked_is_counted_once(tmp_path: Path) -> None:
    file = tmp_path / REQUESTS
    killed = ObservedEngine(_Engine())
    killed.note_in(file)
    for seed in (1, 2, 3):
        killed.reply((1, 2), replace(COLD, seed=seed))
    with file.open("ab") as torn:
        torn.write(b'["base", 12')
    # the next attempt keeps the rollout of seed 1 and plays the others again, and one more
    after = ObservedEngine(_Engine())
    after.note_in(file)
    for seed in (2, 3, 4):
        after.reply((1, 2), replace(COLD, seed=seed))
    found = requests_in(file)
    assert sorted(request.seed for request in found) == [1, 2, 3, 4]
    assert set(found.values()) == {1}
