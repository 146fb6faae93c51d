from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HostError, InputError
from harness.experiments.a32_34 import printed
from harness.experiments.a32_34.tasks_evidence import read
from harness.records import Event, Profile, RunSpec
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.api.registry import workload
from harness.workloads.envs.files.environment import FileEpisode
from harness.workloads.envs.files.task_json import read_tasks
from harness.workloads.rl.rollout import RolloutLog


def spec(name: str, evidence: dict[str, str] | None = None, **params: Any) -> RunSpec:
    values = {**defaults_of(workload(name).params), **params}
    return RunSpec(
        scenario="a32-clawgym-on-spark",
        profile=Profile.CPU,
        workload=name,
        params=values,
        seed=42,
        evidence=evidence or {},
    )


def figures(out: Path) -> dict[str, Any]:
    return {
        " ".join([event.payload["metric"], *map(str, event.payload["where"].values())]): (
            event.payload["value"]
        )
        for event in events(out)
        if event.kind == "measured"
    }


def events(out: Path) -> tuple[Event, ...]:
    return read_events(out / EVENTS_FILE)


def test_tasks_are_written_linted_and_played(tmp_path: Path) -> None:
    run("clawgym.tasks", spec("clawgym.tasks", per_persona=2), tmp_path)
    found = figures(tmp_path)
    assert found["tasks.count"] == 16
    assert found["lint.tasks"] == 0
    assert found["baseline.pass_rate nothing held-out all"] == 0.0
    assert found["baseline.pass_rate oracle held-out all"] == 100.0
    assert 0 < found["baseline.assertion_pass_rate nothing held-out all"] < 60
    assert len(read_tasks(tmp_path / "tasks.jsonl")) == 16
    assert len(RolloutLog(tmp_path / "oracle.jsonl", FileEpisode).read()) == 16


def test_the_same_seed_leaves_the_same_tasks(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        run("clawgym.tasks", spec("clawgym.tasks", per_persona=1), tmp_path / name)
        digests += [e.payload["sha256"] for e in events(tmp_path / name) if e.kind == "artefact"]
    assert digests[0] == digests[1]


def test_an_author_that_cannot_be_reached_is_the_hosts_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("time.sleep", lambda _: None)
    asked = spec("clawgym.tasks", author="llm", author_base_url="http://127.0.0.1:9/v1")
    with pytest.raises(HostError, match="does not answer"):
        run("clawgym.tasks", asked, tmp_path)


SEEDED = {
    "synth-indie-game-dev-01": {
        "seed": 43,
        "binary_sizes": {"assets/enemy_bowser.png": 2694, "assets/enemy_koopa.png": 2315},
    }
}
AT_START = {
    "assets/hero.png": 2200,
    "assets/enemy_bowser.png": 2694,
    "assets/enemy_koopa.png": 2315,
}
MOVED = {"assets/hero.png": 2200, "e/enemy_bowser.png": 2694, "assets/enemy_koopa.png": 2315}
RUNS = {
    "x/qwen-base": {"synth-indie-game-dev-01": AT_START},
    "x/qwen-sft": {"synth-indie-game-dev-01": MOVED},
    "x/step-001": {
        "synth-indie-game-dev-19__rollout-0": {"a.png": 1},
        "synth-indie-game-dev-19__rollout-1": {"a.png": 2},
        "synth-technical-writer-04__rollout-0": {"images/diag.png": 5400},
    },
}


def recount(
    folder: Path, seeded: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    names = {"sizes": "sizes.json", "end_states": "end.json"}
    digests = {}
    for name, document in zip(names.values(), (seeded, runs), strict=True):
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
        digests[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setenv(EVIDENCE_VARIABLE, str(folder))
    (folder / "out").mkdir()
    name = "clawgym.task_evidence"
    run(name, spec(name, digests, **names), folder / "out")
    return figures(folder / "out")


def test_end_states_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recount(tmp_path, SEEDED, RUNS, monkeypatch)
    assert found["workspace.matched indie-game-dev"] == 1
    assert found["sprites.displaced x/qwen-base"] == 0
    assert found["sprites.displaced x/qwen-sft"] == 1
    assert found["sprites.at_start x/qwen-sft"] == 1
    assert found["layout.differing x/qwen-base x/qwen-sft"] == 1
    assert found["group.end_states x/step-001 synth-indie-game-dev-19"] == 2
    assert found["pool.samples synth-indie-game-dev-19"] == 1
    assert found["split.wrong"] == 1  # a held-out writer's task among the draws
    assert "sprites.tasks x/step-001" not in found


def test_another_size_is_no_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"synth-indie-game-dev-01": {"seed": 43, "binary_sizes": {"assets/enemy_boo.png": 1}}}
    assert recount(tmp_path, other, RUNS, monkeypatch)["workspace.matched indie-game-dev"] == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"a": {"seed": 1}}', '{"a": {"b": 1}}'])
def test_a_file_of_another_form_is_named(tmp_path: Path, text: str) -> None:
    sizes, end_states = tmp_path / "sizes.json", tmp_path / "end.json"
    sizes.write_text(text)
    end_states.write_text("{}")
    with pytest.raises(InputError, match=r"sizes.json"):
        read(sizes, end_states)


def test_the_schedule_begins_with_a_step_that_does_nothing() -> None:
    rates = printed.learning_rates()
    assert len(rates) == 11
    assert rates[0] == 0.0
    assert rates[1:] == pytest.approx([2e-4 * left / 10 for left in range(10, 0, -1)])


def test_the_adapter_has_its_published_size() -> None:
    assert printed.adapter_parameters() == 40_370_176
