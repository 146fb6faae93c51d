"""A server that dies in the middle of a run leaves no figure: in both environments, whenever it is.

Once three right answers of ten made an exact match of 1.0, as the rest counted nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft", reason="needs peft: use nox -s rl")

from harness.errors import HostError
from harness.records import Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.api.registry import workload
from harness.workloads.inference.engine import EngineError, Reply
from harness.workloads.inference.transformers_engine import TransformersEngine
from harness.workloads.rl import runner

_ANSWERED = 3  # rollouts that end before the server does
SEARCH = {
    "engine": "transformers",
    "train_questions": 4,
    "num_eval_examples": 10,
    "prompts_per_step": 4,
    "num_generations": 3,
    "num_minibatches": 1,
    "max_steps": 1,
    "max_concurrency": 1,
}
FILES = {
    "engine": "transformers",
    "sandbox": "memory",
    "max_concurrency": 1,
    "per_persona": 2,
    "num_eval_examples": 8,
    "max_steps": 1,
    "prompts_per_step": 2,
    "num_generations": 2,
}


def spec(name: str, params: dict[str, Any]) -> RunSpec:
    declared = workload(name)
    values = {**defaults_of(declared.params), **params}
    return RunSpec(
        scenario="a36",
        profile=Profile.CPU,
        workload=name,
        params=values,
        seed=1,
        sandbox=declared.sandbox(build(declared.params, values)) if declared.sandbox else None,
    )


def metrics(out: Path) -> list[str]:
    events = read_events(out / EVENTS_FILE)
    return [each.payload["metric"] for each in events if each.kind == "measured"]


@pytest.mark.parametrize(
    ("name", "params", "policy", "never"),
    [
        ("search.a2tgpo", SEARCH, "held-out@0", "search.exact_match"),
        ("search.a2tgpo", SEARCH, "full-1", "train.exact_match"),
        ("agent.grpo", FILES, "base", "serve.engine"),
        ("agent.grpo", FILES, "grpo-1", "train.reward"),
    ],
)
def test_a_server_that_dies_breaks_the_run(
    name: str,
    params: dict[str, Any],
    policy: str,
    never: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = 0
    really_play, really_reply = runner.run_episode, TransformersEngine.reply

    def play(player: Any, *rest: Any) -> Any:
        nonlocal begun
        begun += player.name == policy
        return really_play(player, *rest)

    def reply(engine: TransformersEngine, *rest: Any) -> Reply:
        if begun > _ANSWERED:
            message = "the server has gone"
            raise EngineError(message)
        return really_reply(engine, *rest)

    monkeypatch.setattr(runner, "run_episode", play)
    monkeypatch.setattr(TransformersEngine, "reply", reply)
    with pytest.raises(HostError, match=f"rollouts of {policy} broke.*the server has gone"):
        run(name, spec(name, params), tmp_path)
    assert begun == _ANSWERED + 1
    assert never not in metrics(tmp_path)
